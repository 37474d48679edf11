// The copy step of the simulated host: reads, a zero test and writes, one after the other, each of them a request of the simulation, so that power may go,
// and an error come, between any two of them.

import { toBlockError } from '../../util/errors.js';
import { FROM_RUN, type Moved, type MoveRequest, type MoveRun } from '../host.js';
import type { SimMemory } from './memory.js';

export class SimRun implements MoveRun {
  next: number;

  constructor(next: number) {
    this.next = next;
  }

  free(): void {}
}

/** What goes to one place in one piece. */
interface Span {
  to: number;
  /** Where it lies in the buffer. */
  from: number;
  length: number;
  piece: number;
}

/** See `Host.move`. */
export async function moveNow(memory: SimMemory, request: MoveRequest): Promise<Moved> {
  const { pieces, bytes, granule, target } = request;
  const moved: Moved = { start: FROM_RUN, taken: 0, map: new Uint8Array(0), fault: null };
  const buffer = memory.allocate(bytes);
  let piece = 0;
  let isRead = true;
  try {
    for (let at = 0; piece < pieces.length; piece++) {
      const { file, offset, length } = pieces[piece];
      const part = buffer.subarray(at, at + length);
      if (file === null) part.fill(0);
      else await file.read(offset, part);
      at += length;
    }
    isRead = false;
    if (granule > 0) {
      moved.map = new Uint8Array(Math.ceil(bytes / granule));
      memory.zeroMap(buffer, granule, moved.map);
    }
    // No other step comes between: the places in the run follow each other.
    const spans = place(request, moved);
    for (const span of spans) {
      piece = span.piece;
      await target.write(span.to, buffer.subarray(span.from, span.from + span.length));
    }
  } catch (error) {
    moved.fault = { error: toBlockError(error), isRead, piece };
  } finally {
    memory.free(buffer);
  }
  return moved;
}

/** The spans that are not zero, with their places, which are taken from the run where a piece has none. */
function place({ pieces, bytes, granule, run }: MoveRequest, moved: Moved): Span[] {
  const step = granule === 0 ? Math.max(bytes, 1) : granule;
  const cursor = run as SimRun;
  const spans: Span[] = [];
  let at = 0;
  for (const [piece, { length, to }] of pieces.entries()) {
    for (let done = 0; done < length; ) {
      const index = Math.floor((at + done) / step);
      const here = Math.min(length - done, (index + 1) * step - (at + done));
      if (granule === 0 || moved.map[index] === 0) {
        let place = to + done;
        if (to === FROM_RUN) {
          place = cursor.next;
          cursor.next += here;
          if (moved.start === FROM_RUN) moved.start = place;
          moved.taken += here;
        }
        const last = spans.at(-1);
        const joins = last !== undefined && last.to + last.length === place && last.from + last.length === at + done;
        if (joins) last.length += here;
        else spans.push({ to: place, from: at + done, length: here, piece });
      }
      done += here;
    }
    at += length;
  }
  return spans;
}
