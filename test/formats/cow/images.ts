// cow images of user-mode-linux, encoded as the tables of its header say.

const SECTOR = 512;
const MAGIC = 0x4f4f4f4d;

export type CowKind = 'version 1' | 'version 2' | 'version 3' | 'version 3, 64 bits';

export interface CowShape {
  kind: CowKind;
  /** Bytes of the backing file. */
  size: number;
  backing: string;
  /** When that was changed last, in seconds since 1970. */
  date: number;
}

export interface MadeCow {
  image: Buffer;
  /** Bytes in the file. */
  bitmap: number;
  data: number;
}

function headOf({ kind, size, backing, date }: CowShape): Buffer {
  const [words, name] = [Buffer.alloc(40), Buffer.from(backing, 'latin1')];
  words.writeUInt32BE(MAGIC, 0);
  switch (kind) {
    case 'version 1': {
      const head = Buffer.alloc(280);
      // The program that wrote it left its numbers in the order of its machine.
      head.writeUInt32LE(MAGIC, 0);
      head.writeUInt32LE(1, 4);
      name.copy(head, 8);
      head.writeUInt32LE(date, 264);
      head.writeBigUInt64LE(BigInt(size), 268);
      head.writeUInt32LE(SECTOR, 276);
      return head;
    }
    case 'version 2': {
      const head = Buffer.alloc(4120);
      words.copy(head);
      head.writeUInt32BE(2, 4);
      name.copy(head, 8);
      head.writeUInt32BE(date, 4104);
      head.writeBigUInt64BE(BigInt(size), 4108);
      head.writeUInt32BE(SECTOR, 4116);
      return head;
    }
    case 'version 3':
    case 'version 3, 64 bits': {
      const isWide = kind !== 'version 3';
      const head = Buffer.alloc(8192);
      words.copy(head);
      head.writeUInt32BE(3, 4);
      if (isWide) head.writeBigUInt64BE(BigInt(date), 8);
      else head.writeUInt32BE(date, 8);
      head.writeBigUInt64BE(BigInt(size), isWide ? 16 : 12);
      head.writeUInt32BE(SECTOR, isWide ? 24 : 20);
      head.writeUInt32BE(4096, isWide ? 28 : 24);
      name.copy(head, isWide ? 36 : 32);
      return head;
    }
  }
}

/** An image with these sectors, by their number; all others are the backing file's. */
export function cowImage(shape: CowShape, sectors: ReadonlyMap<number, Uint8Array>): MadeCow {
  const head = headOf(shape);
  const bitmap = head.length;
  const isAligned = shape.kind.startsWith('version 3');
  const unit = isAligned ? 4096 : SECTOR;
  const bits = Math.ceil(shape.size / SECTOR) / 8;
  const data = Math.ceil((bitmap + (isAligned ? Math.ceil(bits) : Math.floor(bits))) / unit) * unit;
  const image = Buffer.alloc(data + shape.size);
  head.copy(image);
  for (const [sector, content] of sectors) {
    // Of the first versions, the last sectors may have no bit.
    if (!isAligned && sector >= Math.floor(bits) * 8) continue;
    image[bitmap + (sector >> 3)] |= 1 << (sector & 7);
    image.set(content, data + sector * SECTOR);
  }
  return { image, bitmap, data };
}

export const COW_KINDS: readonly CowKind[] = ['version 1', 'version 2', 'version 3', 'version 3, 64 bits'];
