// An independent reader of qcow2 metadata, written from the format's specification for the simulation's sake: it shares no code
// with the driver. It says what contradicts itself, how many clusters leak, and where each guest cluster lies.
//
//   header -> L1 -> L2 -> data          references counted here
//   header -> snapshot table -> L1 -> L2 -> data    the same
//   header -> refcount table -> refcount blocks   compared with what stands there
//   header extension -> bitmap directory -> tables -> bits (verify-bitmaps.ts)
//
// Of encrypted images, the content: verify-crypt.ts. Content in an external data file is not counted; where it must lie is checked.

import { decompressNow } from '../../src/host/sim/codecs.js';
import { type VerifiedBitmap, verifyBitmaps } from './verify-bitmaps.js';
import { type Decrypt, decryptorOf } from './verify-crypt.js';

export interface GuestCluster {
  kind: 'unallocated' | 'zero' | 'data' | 'compressed';
  /** Host offset of data and compressed clusters, else 0. */
  offset: number;
  /** Bytes of a compressed cluster's input, at most. */
  inputLength: number;
  /** With extended L2 entries: which of the 32 subclusters are data, and which read as zeroes; not of compressed clusters. */
  bits?: { data: number; zeroes: number };
}

export interface VerifiedSnapshot {
  id: string;
  name: string;
  size: number;
  vmStateSize: number;
  clusters: GuestCluster[];
  /** The machine's state, by cluster. */
  vmState: GuestCluster[];
}

export interface Qcow2Report {
  errors: string[];
  /** Clusters whose refcount is higher than their references. */
  leaks: number;
  version: number;
  clusterSize: number;
  size: number;
  compression: 'zlib' | 'zstd';
  backingFile: string | null;
  /** What data clusters lie in: the image, or its external data file. */
  data: Uint8Array;
  /** Null: the content is not encrypted. */
  decrypt: Decrypt | null;
  clusters: GuestCluster[];
  snapshots: VerifiedSnapshot[];
  bitmaps: VerifiedBitmap[];
}

type Owner =
  | 'snapshot table'
  | 'bitmap directory'
  | 'bitmap table'
  | 'bitmap'
  | 'header'
  | 'LUKS header'
  | 'refcount table'
  | 'refcount block'
  | 'L1 table'
  | 'L2 table'
  | 'data'
  | 'compressed';

const MAX_ERRORS = 20;
const OFFSET_MASK = 0x00fffffffffffe00n;

class Verifier {
  readonly report: Qcow2Report;
  private readonly view: DataView;
  private readonly file: Uint8Array;
  private readonly references = new Map<number, { count: number; owner: Owner; tree: number }>();
  private refcountBits = 16;
  private extended = false;
  private external = false;
  /** The data file reads as the disk does. */
  private raw = false;
  private readonly dataFile: Uint8Array | undefined;
  /** Offsets in the data file that something maps. */
  private readonly outside = new Set<number>();
  private readonly blocks: number[] = [];

  constructor(file: Uint8Array, dataFile?: Uint8Array) {
    this.file = file;
    this.dataFile = dataFile;
    this.view = new DataView(file.buffer, file.byteOffset, file.byteLength);
    this.report = {
      errors: [],
      leaks: 0,
      version: 0,
      clusterSize: 0,
      size: 0,
      compression: 'zlib',
      backingFile: null,
      data: dataFile ?? file,
      decrypt: null,
      clusters: [],
      snapshots: [],
      bitmaps: [],
    };
  }

  run(): Qcow2Report {
    if (this.readHeader()) {
      this.walkActive();
      this.walkSnapshots();
      this.walkBitmaps();
      this.walkRefcounts();
      this.compare();
    }
    return this.report;
  }

  private error(text: string): void {
    if (this.report.errors.length < MAX_ERRORS) this.report.errors.push(text);
  }

  private u64(offset: number): number {
    return Number(this.view.getBigUint64(offset));
  }

  private readHeader(): boolean {
    const { report, view, file } = this;
    if (file.length < 72 || view.getUint32(0) !== 0x514649fb) {
      this.error('no qcow2 magic');
      return false;
    }
    report.version = view.getUint32(4);
    report.clusterSize = 2 ** view.getUint32(20);
    report.size = this.u64(24);
    if (report.version !== 2 && report.version !== 3) this.error(`version ${report.version}`);
    if (view.getUint32(20) < 9 || view.getUint32(20) > 21) this.error(`cluster bits ${view.getUint32(20)}`);
    const backingOffset = this.u64(8);
    if (backingOffset !== 0) {
      const length = view.getUint32(16);
      if (length > 1023 || backingOffset + length > Math.min(report.clusterSize, file.length)) {
        this.error(`backing file name at ${backingOffset}, ${length} bytes`);
      } else report.backingFile = new TextDecoder().decode(file.subarray(backingOffset, backingOffset + length));
    }
    if (report.version === 3) {
      const incompatible = this.u64(72);
      if ((incompatible & ~0x1c) !== 0) this.error(`incompatible features ${incompatible}`);
      this.extended = (incompatible & 0x10) !== 0;
      this.external = (incompatible & 4) !== 0;
      this.raw = (this.u64(88) & 2) !== 0;
      if (this.external !== (this.dataFile !== undefined))
        this.error(this.external ? 'there is a data file' : 'there is no data file');
      if (this.raw && !this.external) this.error('the content is raw, in no data file');
      if (this.extended && report.clusterSize < 16384)
        this.error(`extended L2 entries in clusters of ${report.clusterSize}`);
      this.refcountBits = 2 ** view.getUint32(96);
      if (this.refcountBits > 64) this.error(`refcount bits ${this.refcountBits}`);
      if ((incompatible & 8) !== 0) report.compression = view.getUint8(104) === 1 ? 'zstd' : 'zlib';
    }
    this.refer('header', 0, report.clusterSize);
    const method = view.getUint32(32);
    if (method !== 0) this.readEncryption(method);
    return report.errors.length === 0;
  }

  private readEncryption(method: number): void {
    const { report, view, file } = this;
    const end = this.u64(8) || report.clusterSize;
    let pointer: Uint8Array | null = null;
    for (let at = report.version === 2 ? 72 : view.getUint32(100); at + 8 <= end; ) {
      const [type, length] = [view.getUint32(at), view.getUint32(at + 4)];
      if (type === 0) break;
      if (type === 0x0537be77) pointer = file.subarray(at + 8, at + 8 + length);
      at += 8 + Math.ceil(length / 8) * 8;
    }
    if (pointer !== null) {
      const place = new DataView(pointer.buffer, pointer.byteOffset, pointer.byteLength);
      this.refer('LUKS header', Number(place.getBigUint64(0)), Number(place.getBigUint64(8)));
    }
    try {
      report.decrypt = decryptorOf(file, method, pointer);
    } catch (error) {
      this.error(`encryption: ${(error as Error).message}`);
    }
  }

  /** Counts one reference to each cluster of a range, and finds overlaps. */
  private refer(owner: Owner, offset: number, length: number): void {
    const { tree } = this;
    const { clusterSize } = this.report;
    for (let index = Math.floor(offset / clusterSize); index * clusterSize < offset + length; index++) {
      const other = this.references.get(index);
      if (other === undefined) this.references.set(index, { count: 1, owner, tree });
      else if (owner === 'compressed' && other.owner === 'compressed') other.count++;
      else if ((owner === 'data' || owner === 'L2 table') && other.owner === owner && other.tree !== tree) {
        // What the disk and its snapshots share.
        other.count++;
        other.tree = tree;
      } else this.error(`cluster ${index} is used as ${other.owner} and as ${owner}`);
    }
  }

  /** Checks place and size of a table; false where it cannot be read. */
  private table(owner: Owner, offset: number, length: number, what: string): boolean {
    if (offset % this.report.clusterSize !== 0) this.error(`${what} at ${offset} is not aligned`);
    else if (offset === 0 || offset + length > this.file.length) {
      this.error(`${what} at ${offset} (${length} bytes) lies outside of the file of ${this.file.length} bytes`);
    } else {
      this.refer(owner, offset, length);
      return true;
    }
    return false;
  }

  /** Counts the trees: the disk's is 0, the snapshots' follow. */
  private tree = 0;

  private walkActive(): void {
    const { report, view } = this;
    const places = this.walkMapping(this.u64(40), view.getUint32(36), report.size, 'L1 table');
    report.clusters = places.slice(0, Math.ceil(report.size / report.clusterSize));
  }

  private walkSnapshots(): void {
    const { report, view, file } = this;
    const count = view.getUint32(60);
    const start = this.u64(64);
    let at = start;
    for (let i = 0; i < count; i++) {
      at = Math.ceil(at / 8) * 8;
      if (at + 40 > file.length) {
        this.error(`snapshot ${i} lies outside of the file`);
        break;
      }
      const [idLength, nameLength, extra] = [view.getUint16(at + 12), view.getUint16(at + 14), view.getUint32(at + 36)];
      if (report.version === 3 && extra < 16) this.error(`snapshot ${i} has ${extra} bytes of extra data`);
      const text = (from: number, length: number): string =>
        new TextDecoder().decode(file.subarray(from, from + length));
      const idAt = at + 40 + extra;
      const size = extra >= 16 ? this.u64(at + 48) : report.size;
      const vmStateSize = extra >= 8 ? this.u64(at + 40) : view.getUint32(at + 32);
      this.tree = i + 1;
      const places = this.walkMapping(this.u64(at), view.getUint32(at + 8), size, `L1 table of snapshot ${i}`);
      const perTable = report.clusterSize / (this.extended ? 16 : 8);
      const stateAt = Math.ceil(size / report.clusterSize / perTable) * perTable;
      report.snapshots.push({
        id: text(idAt, idLength),
        name: text(idAt + idLength, nameLength),
        size,
        vmStateSize,
        clusters: places.slice(0, Math.ceil(size / report.clusterSize)),
        vmState: places.slice(stateAt),
      });
      at = idAt + idLength + nameLength;
    }
    this.tree = 0;
    if (count > 0) this.table('snapshot table', start, at - start, 'snapshot table');
  }

  /** All clusters that an L1 table maps, behind the end of the disk, too. */
  private walkMapping(l1Offset: number, l1Size: number, size: number, what: string): GuestCluster[] {
    const { report, view } = this;
    const perTable = report.clusterSize / (this.extended ? 16 : 8);
    const guestClusters = Math.ceil(size / report.clusterSize);
    const places = Array.from(
      { length: Math.max(guestClusters, l1Size * perTable) },
      (): GuestCluster => ({ kind: 'unallocated', offset: 0, inputLength: 0 }),
    );
    if (l1Size < Math.ceil(guestClusters / perTable)) this.error(`${what} of ${l1Size} entries is too small`);
    if (l1Size === 0 || !this.table('L1 table', l1Offset, l1Size * 8, what)) return places;
    for (let l1 = 0; l1 < l1Size; l1++) {
      const entry = view.getBigUint64(l1Offset + l1 * 8);
      const l2Offset = Number(entry & OFFSET_MASK);
      if ((entry & ~(OFFSET_MASK | (1n << 63n))) !== 0n) this.error(`L1 entry ${l1} has reserved bits`);
      if (l2Offset === 0 || !this.table('L2 table', l2Offset, report.clusterSize, `L2 table ${l1}`)) continue;
      this.checkCopied(entry, l2Offset, `L2 table ${l1}`);
      for (let l2 = 0; l2 < perTable; l2++) {
        const index = l1 * perTable + l2;
        const at = l2Offset + l2 * (this.extended ? 16 : 8);
        if (this.extended) this.subclusters(at, index, places);
        else this.mapping(view.getBigUint64(at), index, places);
      }
    }
    return places;
  }

  /** An extended entry: an ordinary one without zero flag, and the bitmap of the subclusters. */
  private subclusters(at: number, index: number, places: readonly GuestCluster[]): void {
    const { view } = this;
    const entry = view.getBigUint64(at);
    const zeroes = view.getUint32(at + 8);
    const data = view.getUint32(at + 12);
    const what = `guest cluster ${index}`;
    const compressed = (entry & (1n << 62n)) !== 0n;
    if (compressed && (zeroes | data) !== 0) this.error(`${what} is compressed and has a bitmap`);
    if ((zeroes & data) !== 0) this.error(`${what} has subclusters that are data and zeroes`);
    const hasPlace = (entry & OFFSET_MASK) !== 0n || this.external;
    if (!compressed && !hasPlace && data !== 0) this.error(`${what} has data in no cluster`);
    if (!compressed && (entry & 1n) !== 0n) this.error(`${what} has the zero flag`);
    this.mapping(entry, index, places);
    const place = places[index];
    if (compressed || place === undefined) return;
    place.kind = data !== 0 ? 'data' : zeroes !== 0 ? 'zero' : 'unallocated';
    place.bits = { data, zeroes };
  }

  private mapping(entry: bigint, index: number, places: readonly GuestCluster[]): void {
    const { report } = this;
    const cluster = places[index];
    const what = `guest cluster ${index}`;
    if (entry === 0n) return;
    if (this.external) {
      this.outsideMapping(entry, index, cluster);
      return;
    }
    if ((entry & (1n << 62n)) !== 0n) {
      const bits = BigInt(62 - (Math.log2(report.clusterSize) - 8));
      const offset = Number(entry & ((1n << bits) - 1n));
      const sectors = Number((entry & ((1n << 62n) - 1n)) >> bits);
      const start = offset - (offset % 512);
      const length = (sectors + 1) * 512;
      if ((entry & (1n << 63n)) !== 0n) this.error(`${what} is compressed and COPIED`);
      if (offset >= this.file.length) this.error(`${what}: compressed data at ${offset} behind the end of the file`);
      this.refer('compressed', start, length);
      if (cluster !== undefined)
        Object.assign(cluster, { kind: 'compressed', offset, inputLength: start + length - offset });
      return;
    }
    const offset = Number(entry & OFFSET_MASK);
    const zero = (entry & 1n) !== 0n;
    if ((entry & ~(OFFSET_MASK | (1n << 63n) | 1n)) !== 0n) this.error(`${what} has reserved bits`);
    if (zero && report.version === 2) this.error(`${what} is a zero cluster in a version 2 image`);
    if (offset === 0 && !zero) this.error(`${what} has flags but no offset`);
    if (offset !== 0) {
      if (offset % report.clusterSize !== 0) this.error(`${what} at ${offset} is not aligned`);
      if (offset >= this.file.length) this.error(`${what} at ${offset} behind the end of the file`);
      this.refer('data', offset, report.clusterSize);
      this.checkCopied(entry, offset, what);
    }
    if (cluster !== undefined) Object.assign(cluster, { kind: zero ? 'zero' : 'data', offset });
  }

  /** An entry that points into the data file: its cluster has one user, who may write it in place, and is counted nowhere. */
  private outsideMapping(entry: bigint, index: number, cluster: GuestCluster | undefined): void {
    const offset = Number(entry & OFFSET_MASK);
    const copied = (entry & (1n << 63n)) !== 0n;
    const zero = (entry & 1n) !== 0n;
    const what = `guest cluster ${index}`;
    if ((entry & (1n << 62n)) !== 0n) this.error(`${what} is compressed, in a data file`);
    if ((entry & ~(OFFSET_MASK | (1n << 63n) | 1n)) !== 0n) this.error(`${what} has reserved bits`);
    if (offset % this.report.clusterSize !== 0) this.error(`${what} at ${offset} is not aligned`);
    if (!copied && !(zero && offset === 0)) this.error(`${what} is not COPIED, in a data file`);
    if (copied) {
      if (this.outside.has(offset)) this.error(`${what}: the place ${offset} in the data file is used twice`);
      this.outside.add(offset);
      if (this.raw && offset !== index * this.report.clusterSize) this.error(`${what} lies at ${offset} in a raw file`);
    }
    if (cluster !== undefined) Object.assign(cluster, { kind: zero ? 'zero' : 'data', offset });
  }

  private walkBitmaps(): void {
    const { report, file } = this;
    report.bitmaps = verifyBitmaps(file, report, {
      error: (text) => this.error(text),
      table: (owner, offset, length, what) => this.table(owner, offset, length, what),
    });
  }

  private walkRefcounts(): void {
    const { report, view } = this;
    const offset = this.u64(48);
    const clusters = view.getUint32(56);
    const length = clusters * report.clusterSize;
    if (!this.table('refcount table', offset, length, 'refcount table')) return;
    for (let i = 0; i < length / 8; i++) {
      const entry = this.u64(offset + i * 8);
      if (entry === 0) continue;
      if (this.table('refcount block', entry, report.clusterSize, `refcount block ${i}`)) this.blocks[i] = entry;
    }
  }

  /** The flag says nothing in the tables of snapshots. */
  private checkCopied(entry: bigint, offset: number, what: string): void {
    if (this.tree !== 0) return;
    this.copied.push({ set: (entry & (1n << 63n)) !== 0n, index: offset / this.report.clusterSize, what });
  }
  private readonly copied: { set: boolean; index: number; what: string }[] = [];

  private refcount(index: number): number {
    const perBlock = (this.report.clusterSize * 8) / this.refcountBits;
    const block = this.blocks[Math.floor(index / perBlock)];
    if (block === undefined) return 0;
    const at = index % perBlock;
    const { view, refcountBits } = this;
    if (refcountBits === 64) return this.u64(block + at * 8);
    if (refcountBits === 32) return view.getUint32(block + at * 4);
    if (refcountBits === 16) return view.getUint16(block + at * 2);
    const byte = view.getUint8(block + Math.floor((at * refcountBits) / 8));
    return (byte >> ((at * refcountBits) % 8)) & (2 ** refcountBits - 1);
  }

  private compare(): void {
    const perBlock = (this.report.clusterSize * 8) / this.refcountBits;
    for (const [index, { count, owner }] of this.references) {
      const refcount = this.refcount(index);
      if (refcount < count) this.error(`cluster ${index} (${owner}): refcount ${refcount}, references ${count}`);
    }
    for (let block = 0; block < this.blocks.length; block++) {
      if (this.blocks[block] === undefined) continue;
      for (let i = 0; i < perBlock; i++) {
        const index = block * perBlock + i;
        if (this.refcount(index) > (this.references.get(index)?.count ?? 0)) this.report.leaks++;
      }
    }
    for (const { set, index, what } of this.copied) {
      if (set !== (this.refcount(index) === 1)) {
        this.error(`${what}: COPIED is ${set ? 'set' : 'clear'}, the refcount is ${this.refcount(index)}`);
      }
    }
  }
}

/** `dataFile`: the content of the external data file, where the image has one. */
export function verifyQcow2(file: Uint8Array, dataFile?: Uint8Array): Qcow2Report {
  return new Verifier(file, dataFile).run();
}

/** Reads one guest cluster into `out` (of one cluster); false where the backing file has it. */
export function readGuestCluster(
  file: Uint8Array,
  report: Qcow2Report,
  { kind, offset, inputLength }: GuestCluster,
  guestOffset: number,
  out: Uint8Array,
): boolean {
  out.fill(0);
  if (kind === 'unallocated') return false;
  if (kind === 'data') {
    out.set(report.data.subarray(offset, offset + out.length));
    if (report.decrypt !== null) out.set(report.decrypt(out, offset, guestOffset));
  }
  if (kind === 'compressed') {
    decompressNow(report.compression, file.subarray(offset, offset + inputLength), out);
  }
  return true;
}

/** `size` bytes that `clusters` map, over `below`. */
export function readClusters(
  file: Uint8Array,
  report: Qcow2Report,
  { clusters, size }: { clusters: readonly GuestCluster[]; size: number },
  below: Uint8Array,
): Uint8Array {
  const content = new Uint8Array(size);
  content.set(below.subarray(0, size));
  const cluster = new Uint8Array(report.clusterSize);
  clusters.forEach((place, index) => {
    const at = index * report.clusterSize;
    if (at >= size || !readGuestCluster(file, report, place, at, cluster)) return;
    const parts = place.bits === undefined ? 1 : 32;
    const bytes = report.clusterSize / parts;
    for (let part = 0; part < parts && at + part * bytes < size; part++) {
      const { data, zeroes } = place.bits ?? { data: 1, zeroes: 0 };
      const from = part * bytes;
      const room = content.subarray(at + from, Math.min(size, at + from + bytes));
      if (((data >>> part) & 1) !== 0) room.set(cluster.subarray(from, from + room.length));
      else if (((zeroes >>> part) & 1) !== 0) room.fill(0);
    }
  });
  return content;
}

/** What a guest sees of a chain of qcow2 files, top first; the last may stand on `base` (raw content) or on nothing. */
export function readChain(files: readonly Uint8Array[], base?: Uint8Array): Uint8Array {
  const [file, ...below] = files;
  if (file === undefined) return base ?? new Uint8Array(0);
  const report = verifyQcow2(file);
  return readClusters(file, report, report, readChain(below, base));
}
