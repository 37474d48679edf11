// Changes a few bytes of a table on disk in place, by one write of a sector, which is there as a whole or not at all after power loss.

import type { Qcow2Image } from './image.js';
import { SECTOR } from './types.js';

/**
 * Calls `change` with the bytes from `at` on, up to the end of their sector, and writes that. A commit of the caller makes it durable. Where it fails, each commit
 * begins with it until it succeeds, so `change` may be called again. Rejects with `no-space`, `io`.
 */
export function patchSector(image: Qcow2Image, at: number, change: (view: DataView) => void): Promise<void> {
  const start = at - (at % SECTOR);
  return image.committer.settle(async () => {
    const sector = new Uint8Array(SECTOR);
    await image.file.read(start, sector);
    change(new DataView(sector.buffer, at - start));
    await image.file.write(start, sector);
  });
}
