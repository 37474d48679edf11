// How a qed image is recognised.

import { hasMagic } from '../../../util/magic.js';

export function probeQed(head: Uint8Array): number {
  return hasMagic(head, 'QED\0') ? 100 : 0;
}
