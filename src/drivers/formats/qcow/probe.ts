// How an image of the format qcow, version 1 of what became qcow2, is recognised.

import { hasMagic } from '../../../util/magic.js';

export function probeQcow(head: Uint8Array): number {
  return hasMagic(head, 'QFI\xfb\0\0\0\x01') ? 100 : 0;
}
