// The mapping of an image with extended L2 entries: the hot path goes by subclusters. It is a class of its own, so that ordinary images pay nothing for it.

import type { Qcow2Image } from './image.js';
import { BELOW, MISS } from './l2-codec.js';
import { ExtendedL2Codec } from './l2-extended.js';
import { Mapping } from './mapping.js';
import { bitsOf } from './subclusters.js';
import type { GuestOffset } from './types.js';

export class ExtendedMapping extends Mapping {
  readonly #codec: ExtendedL2Codec;
  readonly #image: Qcow2Image;
  readonly #clusterSize: number;
  readonly #subclusterSize: number;
  readonly #l2Span: number;

  constructor(image: Qcow2Image, cacheTables: number) {
    const { clusterBits, clusterSize, subclusterSize, l2Span } = image.geometry;
    const codec = new ExtendedL2Codec(clusterBits, image.math, image.data.isExternal);
    super(image, cacheTables, codec);
    this.#codec = codec;
    this.#image = image;
    this.#clusterSize = clusterSize;
    this.#subclusterSize = subclusterSize;
    this.#l2Span = l2Span;
  }

  override mapSync(offset: GuestOffset, length: number, owned: boolean): number {
    const index = Math.floor(offset / this.#l2Span);
    const within = offset - index * this.#l2Span;
    if (within + length > this.#l2Span) return MISS;
    const table = this.cache.get(index);
    if (table === undefined) return this.l1.target(index) === 0 ? BELOW : MISS;
    const size = this.#clusterSize;
    const { view } = table;
    const slot = Math.floor(within / size);
    const lead = within - slot * size;
    const end = lead + length;
    const host = this.#codec.directSubclusters(view, slot, this.#touched(lead, end < size ? end : size), owned);
    if (host >= 0) {
      if (host % size !== 0 || host + end > this.#image.data.length) return MISS;
    } else if (host === MISS) return MISS;
    // The clusters behind the first one: the same of all of them, one behind the other where they have places.
    for (let next = 1, left = end - size; left > 0; next++, left -= size) {
      const expected = host < 0 ? host : host + next * size;
      const wanted = this.#touched(0, left < size ? left : size);
      if (this.#codec.directSubclusters(view, slot + next, wanted, owned) !== expected) return MISS;
    }
    return host < 0 ? host : host + lead;
  }

  /** Bitmap of the subclusters that bytes [from, to) of a cluster touch. */
  #touched(from: number, to: number): number {
    const first = Math.floor(from / this.#subclusterSize);
    return bitsOf(first, Math.ceil(to / this.#subclusterSize) - first);
  }
}

/** The same with an external data file: a cluster that is not at its guest offset is left to the slow path, which says what is wrong. */
export class ExternalExtendedMapping extends ExtendedMapping {
  override mapSync(offset: GuestOffset, length: number, owned: boolean): number {
    const host = super.mapSync(offset, length, owned);
    return host >= 0 && host !== offset ? MISS : host;
  }
}
