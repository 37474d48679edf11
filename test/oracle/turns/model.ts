// What an image that two programs change in turns must hold: bytes, snapshots and bitmaps, as plain as they can be.

/** Bytes that are all the same. */
export interface Run {
  offset: number;
  length: number;
  byte: number;
}

export class Model {
  content: Buffer;
  readonly snapshots = new Map<string, Buffer>();
  /** Whether each records. */
  readonly bitmaps = new Map<string, boolean>();
  /** Name of the backing file. */
  backing: string | null;
  /** Version 3 of the format. */
  modern = true;

  constructor(content: Buffer, backing: string | null) {
    this.content = content;
    this.backing = backing;
  }

  fill(offset: number, length: number, byte: number): void {
    this.content.fill(byte, offset, offset + length);
  }

  /** What is new reads as zeroes. */
  resize(bytes: number): void {
    const next = Buffer.alloc(bytes);
    this.content.copy(next);
    this.content = next;
  }

  /** The first `most` runs of a range. */
  runs(offset: number, length: number, most: number): Run[] {
    const end = Math.min(offset + length, this.content.length);
    const found: Run[] = [];
    for (let at = offset; at < end && found.length < most; ) {
      const byte = this.content[at];
      let next = at + 1;
      while (next < end && this.content[next] === byte) next++;
      found.push({ offset: at, length: next - at, byte });
      at = next;
    }
    return found;
  }
}
