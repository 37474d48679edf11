// How much a copy will move, counted before it begins, so that the time that is left can be told: holes take none.

import type { BlockNode } from '../block/node/node.js';
import { toBlockError } from '../util/errors.js';
import { type Classify, Plan } from './copy-plan.js';

/** Counting must not be felt. What takes longer (an image with very many pieces, on a slow disk) is not known then. */
const PATIENCE_MS = 200;
const MAX_PIECE_BYTES = 2 ** 40;

/**
 * Bytes of data that `classify` finds in the chain of `source` down to (without) `base`. Undefined where that would take too long, or cannot be read: then the
 * copy itself reports it.
 */
export async function dataAhead(
  source: BlockNode,
  base: BlockNode | null,
  classify: Classify,
  signal?: AbortSignal,
): Promise<number | undefined> {
  const { clock } = source.host;
  const untilMs = clock.now() + PATIENCE_MS;
  // Nothing is merged: where each status takes a while, the time is looked at after each.
  const how = { source, base, classify, align: 1, maxPieceBytes: MAX_PIECE_BYTES, mergedRuns: 0 };
  const plan = new Plan(how, 0, source.length);
  let bytes = 0;
  try {
    for (let piece = await plan.next(); piece !== null; piece = await plan.next()) {
      if (piece.kind === 'data') bytes += piece.length;
      if (clock.now() > untilMs || signal?.aborted) return undefined;
    }
    return bytes;
  } catch (error) {
    if (toBlockError(error).code === 'internal') throw error;
    return undefined;
  }
}
