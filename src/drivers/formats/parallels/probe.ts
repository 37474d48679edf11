// How an image of Parallels is recognised: by either magic, of version 2.

import { hasMagic } from '../../../util/magic.js';

const MAGICS = ['WithoutFreeSpace', 'WithouFreSpacExt'];
const VERSION = '\x02\0\0\0';

export function probeParallels(head: Uint8Array): number {
  return MAGICS.some((magic) => hasMagic(head, magic)) && hasMagic(head, VERSION, 16) ? 100 : 0;
}
