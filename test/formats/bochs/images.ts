// Growing images of Bochs, encoded as its documentation says.

const SECTOR = 512;
const HEADER = 512;
const NONE = 0xffff_ffff;

export interface BochsShape {
  version: 1 | 2;
  extentBytes: number;
  /** Bytes of the disk: whole sectors. */
  size: number;
}

/** An image with these sectors of the disk; all others are zeroes. */
export function bochsImage(shape: BochsShape, sectors: ReadonlyMap<number, Uint8Array>): Buffer {
  const { version, extentBytes, size } = shape;
  const entries = Math.ceil(size / extentBytes);
  const bitmapBytes = Math.ceil(extentBytes / SECTOR / 8);
  const bitmapRoom = Math.ceil(bitmapBytes / SECTOR) * SECTOR;
  const head = Buffer.alloc(HEADER);
  head.write('Bochs Virtual HD Image', 0, 'latin1');
  head.write('Redolog', 32, 'latin1');
  head.write('Growing', 48, 'latin1');
  head.writeUInt32LE(version * 0x10000, 64);
  head.writeUInt32LE(HEADER, 68);
  head.writeUInt32LE(entries, 72);
  head.writeUInt32LE(bitmapBytes, 76);
  head.writeUInt32LE(extentBytes, 80);
  head.writeBigUInt64LE(BigInt(size), version === 1 ? 84 : 88);
  const catalog = Buffer.alloc(entries * 4, 0xff);
  const places: Buffer[] = [];
  const perExtent = extentBytes / SECTOR;
  for (const [sector, content] of sectors) {
    const extent = Math.floor(sector / perExtent);
    let place = catalog.readUInt32LE(4 * extent);
    if (place === NONE) {
      place = places.push(Buffer.alloc(bitmapRoom + extentBytes)) - 1;
      catalog.writeUInt32LE(place, 4 * extent);
    }
    const within = sector % perExtent;
    places[place][within >> 3] |= 1 << (within & 7);
    places[place].set(content, bitmapRoom + within * SECTOR);
  }
  return Buffer.concat([head, catalog, ...places]);
}
