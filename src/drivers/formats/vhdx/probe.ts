// How an image of Hyper-V is recognised.

import { hasMagic } from '../../../util/magic.js';

export function probeVhdx(head: Uint8Array): number {
  return hasMagic(head, 'vhdxfile') ? 100 : 0;
}
