// How a compressed loop image is recognised: it begins as a shell script.

import { hasMagic } from '../../../util/magic.js';

const SCRIPT = '#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n';

export function probeCloop(head: Uint8Array): number {
  return hasMagic(head, SCRIPT) ? 2 : 0;
}
