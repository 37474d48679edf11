// The compare step of the simulated host: for each slice reads of both sides and a comparison, each read a request of the simulation.

import { toBlockError } from '../../util/errors.js';
import type { Compared, CompareRequest } from '../host.js';
import type { SimMemory } from './memory.js';

const SLICE_BYTES = 256 << 10;

/** See `Host.compare`. */
export async function compareNow(memory: SimMemory, { pieces }: CompareRequest): Promise<Compared> {
  const longest = pieces.reduce((most, { length }) => Math.max(most, length), 0);
  const buffers = [memory.allocate(Math.min(longest, SLICE_BYTES)), memory.allocate(Math.min(longest, SLICE_BYTES))];
  let at = 0;
  let side: 'a' | 'b' = 'a';
  try {
    for (const { a, b, aOffset, bOffset, length } of pieces) {
      for (let done = 0; done < length; ) {
        const [left, right] = buffers.map((buffer) => buffer.subarray(0, Math.min(length - done, SLICE_BYTES)));
        side = 'a';
        if (a === null) left.fill(0);
        else await a.read(aOffset + done, left);
        side = 'b';
        if (b === null) right.fill(0);
        else await b.read(bOffset + done, right);
        const found = memory.firstDifference(left, right);
        if (found >= 0) return { difference: at + found, fault: null };
        done += left.length;
        at += left.length;
      }
    }
    return { difference: -1, fault: null };
  } catch (error) {
    return { difference: -1, fault: { error: toBlockError(error), side, at } };
  } finally {
    for (const buffer of buffers) memory.free(buffer);
  }
}
