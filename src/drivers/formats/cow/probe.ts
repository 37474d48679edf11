// How a cow image is recognised.

import { hasMagic } from '../../../util/magic.js';

export function probeCow(head: Uint8Array): number {
  const isBigEndian = hasMagic(head, 'OOOM\0\0\0') && head.length > 7 && head[7] >= 1 && head[7] <= 3;
  const isLittleEndian = hasMagic(head, 'MOOO\x01\0\0\0');
  return isBigEndian || isLittleEndian ? 100 : 0;
}
