// Places for what `Host.move` writes into a node, past the driver's `write`. A move does what a plain write does, in three parts:
//
//   prepareMove   the node's own state is checked, and the driver finds a place: what lies in the file already, or room that it allocates now
//   Host.move     reads, tests, writes: one request of the host, which this layer does not see
//   place.done    the driver publishes what was written; dirty bitmaps that were added meanwhile learn of it; the request has ended
//
// A receiver (`MoveReceiver`: a server that the pieces are sent to) takes the place of `Host.move`, in the same three parts.
//
// Where a write would pass a bitmap, an observer or a serialiser on its way, there is no place, and the caller writes.

import type { Extent, MovePlace, WriteFlags } from '../types.js';
import { NodeRequests } from './requests.js';

export abstract class NodeMoving extends NodeRequests {
  /**
   * Finds a place for data that is written to disjoint, ascending extents by `Host.move` or a receiver, whole or in steps of `granule` bytes of which those that are
   * zero are left out. Null where there is none: then the data is to be written by `writeExtents`, which also says what is wrong. Rejects as that
   * where space cannot be had. Whoever gets a place begins the move at once, and calls `done`.
   */
  async prepareMove(extents: readonly Extent[], granule: number, flags: WriteFlags = {}): Promise<MovePlace | null> {
    if (this.held !== null || !this.#takesMoves(flags)) return null;
    const bytes = extents.reduce((sum, { length }) => sum + length, 0);
    if (bytes === 0 || this.checkExtents('write', extents, bytes) !== null) return null;
    const epoch = this.enter();
    let place: MovePlace | null = null;
    try {
      place = await this.doPrepareMove(extents, granule);
    } finally {
      if (place === null) this.leave(epoch);
    }
    if (place === null) return null;
    const done: MovePlace['done'] = (moved) => {
      try {
        place.done(moved);
      } finally {
        // Also where the driver could not take in what was written.
        for (const { offset, length } of extents) this.recordAgain(offset, length);
        this.leave(epoch);
      }
    };
    if (!this.#takesMoves(flags)) {
      done(null);
      return null;
    }
    const last = extents[extents.length - 1];
    if (last.offset + last.length > this.noteBeyond) this.noteWrite(last.offset + last.length);
    return { target: place.target, parts: place.parts, run: place.run, slice: place.slice, done };
  }

  #takesMoves({ compressed, fua, serialised }: WriteFlags): boolean {
    // Unlike what is located, it is counted: it may begin while somebody waits for requests.
    if (this.shut || compressed === true || fua === true) return false;
    return this.takesPlainWrites(serialised === true);
  }
}
