// How an image of VirtualBox is recognised.

import { hasMagic } from '../../../util/magic.js';

export function probeVdi(head: Uint8Array): number {
  return hasMagic(head, '\x7f\x10\xda\xbe', 64) ? 100 : 0;
}
