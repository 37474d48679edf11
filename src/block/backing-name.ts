// The name of a backing file for an overlay's header.

import { protocolOf } from './filename.js';
import type { BlockNode } from './node.js';

/**
 * The name for the header of the overlay in file `overlay` by which `base` is found again. It is the base's file name, as QEMU writes it; but a
 * relative one counts from the overlay's folder when it is read (QEMU 7.2 writes `dir/base` into `dir/overlay`, which is then
 * `dir/dir/base`).
 */
export async function backingNameFor(overlay: string, base: BlockNode): Promise<string> {
  const name = base.filename;
  if (name.startsWith('/') || protocolOf(name) !== null) return name;
  const own = overlay.startsWith('file:') ? overlay.slice('file:'.length) : overlay;
  if (protocolOf(own) === null) {
    const folder = own.slice(0, own.lastIndexOf('/') + 1);
    if (name.startsWith(folder)) return name.slice(folder.length);
  }
  return base.host.realPath(name);
}
