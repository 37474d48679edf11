// How an image of VMware is recognised: by the magic of a sparse extent, or by the text of a descriptor.

import { hasMagic, latin1 } from '../../../util/magic.js';

/** A comment, a blank, an empty line, `version`. */
const DESCRIPTOR_STARTS: readonly number[] = [...'# \r\nv'].map((first) => first.charCodeAt(0));

export function probeVmdk(head: Uint8Array): number {
  return hasMagic(head, 'KDMV') || hasMagic(head, 'COWD') || isDescriptor(head) ? 100 : 0;
}

/** Comments and lines of blanks (an empty one does not count), then its version. */
function isDescriptor(head: Uint8Array): boolean {
  if (!DESCRIPTOR_STARTS.includes(head[0])) return false;
  return /^(?:(?:#[^\n]*| +\r?)\n)*version=[123]\r?\n/.test(latin1(head, 0, head.length));
}
