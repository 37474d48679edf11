// What the tests of ends share: how busy-thread.ts is started, and what it has left open.
import { readdirSync, readlinkSync } from 'node:fs';

export const BUSY = new URL('./busy-thread.ts', import.meta.url);

/** Code of a thread that runs it. TypeScript in a thread: tsx is not handed down to it. */
export const START_BUSY = `import('tsx/esm/api').then(({ tsImport }) => tsImport('${BUSY}', '${BUSY}'))`;

/** How many descriptors of this process lead to what begins with `target`: a folder, or `socket:`. */
export function openTo(target: string): number {
  let count = 0;
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`).startsWith(target)) count++;
    } catch {
      // The descriptor that read the folder is gone by now.
    }
  }
  return count;
}
