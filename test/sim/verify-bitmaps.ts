// The part of the independent reader (verify-qcow2.ts) that is about persistent bitmaps.

export interface VerifiedBitmap {
  name: string;
  inUse: boolean;
  auto: boolean;
  granularity: number;
  extra: Uint8Array;
  /** One for each granule; empty where the bitmap is in use. */
  bits: Uint8Array;
}

interface Image {
  version: number;
  clusterSize: number;
  size: number;
}

interface Checks {
  error(text: string): void;
  /** Counts a reference to a table; false where it cannot be read. */
  table(owner: 'bitmap directory' | 'bitmap table' | 'bitmap', offset: number, length: number, what: string): boolean;
}

const EXTENSION = 0x23852875;

export function verifyBitmaps(file: Uint8Array, image: Image, checks: Checks): VerifiedBitmap[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const found: VerifiedBitmap[] = [];
  if (image.version < 3) return found;
  const isValid = (view.getBigUint64(88) & 1n) !== 0n;
  const extension = findExtension(view, image.clusterSize, checks);
  if (!isValid) return found;
  if (extension < 0) {
    checks.error('the bit of the bitmaps extension is set, and there is none');
    return found;
  }
  const count = view.getUint32(extension);
  const length = Number(view.getBigUint64(extension + 8));
  const offset = Number(view.getBigUint64(extension + 16));
  if (count === 0 || view.getUint32(extension + 4) !== 0) checks.error(`bitmaps extension with ${count} bitmaps`);
  if (!checks.table('bitmap directory', offset, length, 'bitmap directory')) return found;
  let at = offset;
  while (at < offset + length) {
    const nameLength = view.getUint16(at + 18);
    const extraLength = view.getUint32(at + 20);
    const end = at + Math.ceil((24 + extraLength + nameLength) / 8) * 8;
    if (end > offset + length) {
      checks.error('the bitmap directory ends within an entry');
      return found;
    }
    found.push(verifyBitmap(file, view, at, image, checks));
    at = end;
  }
  if (found.length !== count) checks.error(`${found.length} bitmaps in the directory, ${count} in the extension`);
  if (new Set(found.map(({ name }) => name)).size !== found.length) checks.error('two bitmaps have one name');
  return found;
}

/** Offset of the data of the extension; -1: there is none. */
function findExtension(view: DataView, clusterSize: number, checks: Checks): number {
  const nameAt = Number(view.getBigUint64(8));
  const end = nameAt === 0 ? clusterSize : nameAt;
  let found = -1;
  for (let at = view.getUint32(100); at + 8 <= end; ) {
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    if (type === 0) break;
    if (at + 8 + length > end) checks.error(`header extension at ${at} is too long`);
    if (type === EXTENSION) {
      if (found >= 0 || length !== 24) checks.error(`bitmaps extension at ${at} of ${length} bytes`);
      found = at + 8;
    }
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return found;
}

function verifyBitmap(file: Uint8Array, view: DataView, at: number, image: Image, checks: Checks): VerifiedBitmap {
  const tableOffset = Number(view.getBigUint64(at));
  const tableSize = view.getUint32(at + 8);
  const flags = view.getUint32(at + 12);
  const granularity = 2 ** view.getUint8(at + 17);
  const extraLength = view.getUint32(at + 20);
  const nameAt = at + 24 + extraLength;
  const name = new TextDecoder().decode(file.subarray(nameAt, nameAt + view.getUint16(at + 18)));
  const extra = file.slice(at + 24, nameAt);
  const inUse = (flags & 1) !== 0;
  const auto = (flags & 2) !== 0;
  const what = `bitmap '${name}'`;
  if (view.getUint8(at + 16) !== 1 || (flags & ~7) !== 0) checks.error(`${what} has flags ${flags}`);
  const granules = Math.ceil(image.size / granularity);
  const bits = new Uint8Array(inUse ? 0 : granules);
  const bitmap = { name, inUse, auto, granularity, extra, bits };
  if (!inUse && tableSize !== Math.ceil(granules / 8 / image.clusterSize)) {
    checks.error(`${what} has a table of ${tableSize} entries`);
  }
  if (tableSize === 0) return bitmap;
  if (!checks.table('bitmap table', tableOffset, tableSize * 8, `table of ${what}`)) return bitmap;
  for (let entry = 0; entry < tableSize; entry++) {
    const value = view.getBigUint64(tableOffset + entry * 8);
    const offset = Number(value & 0x00fffffffffffe00n);
    if ((value & 0xff000000000001fen) !== 0n || (offset !== 0 && (value & 1n) !== 0n)) {
      checks.error(`${what} has table entry ${value}`);
    }
    if (offset !== 0 && !checks.table('bitmap', offset, image.clusterSize, `bits of ${what}`)) continue;
    for (let i = 0; i < image.clusterSize * 8; i++) {
      const set = offset === 0 ? (value & 1n) !== 0n : ((file[offset + (i >> 3)] >> (i & 7)) & 1) !== 0;
      const granule = entry * image.clusterSize * 8 + i;
      if (granule < bits.length) bits[granule] = set ? 1 : 0;
      else if (set && !inUse) checks.error(`${what} has bit ${granule} set, beyond its end`);
    }
  }
  return bitmap;
}
