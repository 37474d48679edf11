// How an image of Virtual PC is recognised: by the copy of its footer at the begin. One of fixed size has none, and is the bare disk for whoever does not name
// its format, as for QEMU.

import { hasMagic } from '../../../util/magic.js';
import { FOOTER_COOKIE } from './footer.js';

export function probeVpc(head: Uint8Array): number {
  return hasMagic(head, FOOTER_COOKIE) ? 100 : 0;
}
