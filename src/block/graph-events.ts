// What nodes tell monitors of: events of QAPI.

import type { QapiEvents } from '../schema/generated/types.js';

const NAMES = [
  'BLOCK_IMAGE_CORRUPTED',
  'BLOCK_WRITE_THRESHOLD',
  'QUORUM_FAILURE',
  'QUORUM_REPORT_BAD',
] as const satisfies readonly (keyof QapiEvents)[];

export type GraphEvents = Pick<QapiEvents, (typeof NAMES)[number]>;

/** All of them. */
export const GRAPH_EVENTS: readonly (keyof GraphEvents)[] = NAMES;
