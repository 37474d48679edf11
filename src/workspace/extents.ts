// The extents of an open image, over its whole chain, while requests and jobs go on.
//
//   device --a request, some hundred runs--> top: allocated? --no--> backing file: allocated? --no--> ...
//
// One request collects a limited number of extents, so that a drained section never waits long, and no long list is held in memory.

import { determiningStatus } from '../block/chain.js';
import { type Device, inspectDevice } from '../block/device.js';
import type { BlockNode } from '../block/node/node.js';

const RUNS_OF_A_REQUEST = 256;

/** A run of an image's bytes with the same block status. */
export interface ImageExtent {
  /** Bytes from the image's start. */
  offset: number;
  /** Bytes. */
  length: number;
  /** The run may hold something else than zeroes. */
  data: boolean;
  /** The run reads as zeroes. */
  zero: boolean;
  /** The image itself holds the run, not one of its backing files. */
  allocated: boolean;
}

/**
 * The extents of bytes [from, to), each as long as possible. Where the image becomes shorter meanwhile, they end with it. Rejects with `closed`,
 * `io`, `corrupt-image`.
 */
export async function* extentsOf(
  device: Device,
  from: number,
  to: number,
): AsyncGenerator<ImageExtent, void, undefined> {
  let current: ImageExtent | null = null;
  for (let at = from; at < to; ) {
    const runs = await inspectDevice(device, ({ node }) => runsFrom(node, at, to));
    // The image has become shorter meanwhile.
    if (runs.length === 0) break;
    for (const run of runs) {
      at = run.offset + run.length;
      if (current !== null && isAlike(current, run)) {
        current.length += run.length;
        continue;
      }
      if (current !== null) yield current;
      current = run;
    }
  }
  if (current !== null) yield current;
}

function isAlike(a: ImageExtent, b: ImageExtent): boolean {
  return a.zero === b.zero && a.allocated === b.allocated;
}

/** At most `RUNS_OF_A_REQUEST` runs from `from` on. The image may become shorter between two of them. */
async function runsFrom(top: BlockNode, from: number, to: number): Promise<ImageExtent[]> {
  const runs: ImageExtent[] = [];
  for (let at = from; runs.length < RUNS_OF_A_REQUEST; ) {
    const end = Math.min(to, top.length);
    if (at >= end) break;
    const run = await runAt(top, at, end - at);
    runs.push(run);
    at += run.length;
  }
  return runs;
}

/** The run at `offset`, by the status of the layer that determines it. */
async function runAt(top: BlockNode, offset: number, wanted: number): Promise<ImageExtent> {
  const { status, layer } = await determiningStatus(top, offset, wanted);
  const { length, zero } = status;
  const allocated = status.allocated && status.inherited !== true && layer === top;
  return { offset, length, data: !zero, zero, allocated };
}
