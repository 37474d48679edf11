// One mutant of an image: bits, bytes, words and pointers changed where something has a meaning, or the file cut.

import type { MadeMutant, MutantKind } from '../formats/fixture.js';

type Choose = (below: number) => number;

/** Values at which sizes and counts go wrong. */
const EDGES = [
  0n,
  1n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  1n << 53n,
  1n << 62n,
  (1n << 63n) - 1n,
  (1n << 64n) - 1n,
];

/** Another image, of the same length or shorter. */
export function mutate(
  image: Buffer,
  { places, byteOrder }: Pick<MadeMutant, 'places'> & Pick<MutantKind, 'byteOrder'>,
  choose: Choose,
): Buffer {
  if (choose(12) === 0) return Buffer.from(image.subarray(0, choose(image.length)));
  const mutant = Buffer.from(image);
  for (let count = 1 + choose(4); count > 0; count--) {
    const [start, end] = places[choose(places.length)];
    change(mutant, start + choose(end - start), [start, end], byteOrder, choose);
  }
  return mutant;
}

function change(
  image: Buffer,
  at: number,
  [start, end]: readonly [number, number],
  byteOrder: MutantKind['byteOrder'],
  choose: Choose,
): void {
  const view = new DataView(image.buffer, image.byteOffset, image.length);
  const little = byteOrder === 'little';
  const word = Math.min(at - (at % 8), image.length - 8);
  const half = Math.min(at - (at % 4), image.length - 4);
  switch (choose(9)) {
    case 0:
      image[at] ^= 1 << choose(8);
      return;
    case 1:
      image.fill(0xff, at, Math.min(at + 8, end));
      return;
    case 2:
      image.fill(0, word, word + 8);
      return;
    case 3:
      view.setBigUint64(word, BigInt(choose(2 ** 31)) * 512n, little);
      return;
    case 4:
      view.setBigUint64(word, EDGES[choose(EDGES.length)], little);
      return;
    case 5:
      view.setUint32(half, Number(EDGES[choose(EDGES.length)] & 0xffff_ffffn), little);
      return;
    case 6:
      view.setUint32(half, (view.getUint32(half, little) + (choose(2) === 0 ? 1 : 0xffff_ffff)) % 2 ** 32, little);
      return;
    case 7: {
      // A pointer, or whatever it is, that stands elsewhere in the same table.
      const other = start + 8 * choose(Math.max(1, Math.floor((end - start) / 8)));
      if (other + 8 <= image.length) image.copy(image, word, other, other + 8);
      return;
    }
    default:
      image[at] = choose(256);
  }
}
