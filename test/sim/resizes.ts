// Changes of the disk's size between a guest's requests. One that fails, or that power loss ends, leaves the old size or the new one on the
// disk until the next flush; what a shrink would have cut off may be gone, so that what lies below shows.

import type { Random } from '../../src/host/sim/index.js';
import { Violation } from './guest.js';
import { type GuestModel, SECTOR } from './model.js';

/** What can be resized. */
interface Resizable {
  readonly length: number;
  truncate(size: number): Promise<void>;
}

/** The largest disk, in sectors. */
const LARGEST = 12_000;

export class Resizes {
  readonly #model: GuestModel;
  /** What the next layer holds, by sector. */
  readonly #below: readonly number[];
  /** Lengths that the image may have on the disk, in sectors. */
  readonly #possible = new Set<number>();

  constructor(model: GuestModel, below: readonly number[]) {
    this.#model = model;
    this.#below = below;
    this.known();
  }

  /** The size that the guest sees is on the disk. */
  known(): void {
    this.#possible.clear();
    this.#possible.add(this.#model.sectors);
  }

  /** A smaller or larger size, at random. Nothing else goes on meanwhile. Rejects as `truncate`, with what is possible then noted. */
  async random(disk: Resizable, random: Random): Promise<void> {
    const model = this.#model;
    const old = model.sectors;
    const sectors = random.chance(0.5)
      ? random.between(1, old)
      : Math.min(LARGEST, old + random.pick([1, random.below(200), random.below(2 * old)]));
    const gone = Math.max(0, old - sectors);
    const changes = [
      model.begin(sectors, Array(gone).fill(0), true),
      model.begin(
        sectors,
        Array.from({ length: gone }, (_, i) => this.#below[sectors + i] ?? 0),
        true,
      ),
    ];
    this.#possible.add(sectors);
    try {
      await disk.truncate(sectors * SECTOR);
    } catch (error) {
      for (const change of changes) model.end(change, 'maybe');
      this.#expectLength(disk, old);
      throw error;
    }
    this.#expectLength(disk, sectors);
    model.resize(sectors);
    this.known();
  }

  #expectLength({ length }: Resizable, sectors: number): void {
    if (length !== sectors * SECTOR)
      throw new Violation('content', `the disk has ${length} bytes, not ${sectors} sectors`);
  }

  /** What was found on the disk has this many bytes: the model goes on with that. */
  found(bytes: number): void {
    const sectors = bytes / SECTOR;
    if (!this.#possible.has(sectors)) {
      throw new Violation('content', `the image has ${sectors} sectors, possible: ${[...this.#possible].join(' ')}`);
    }
    if (sectors !== this.#model.sectors) this.#model.resize(sectors);
    this.known();
  }
}
