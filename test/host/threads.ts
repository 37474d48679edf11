// What the tests of ends share: how busy-thread.ts is started, and what it has left open.
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { programOf } from '../support/program.js';

const BUSY = new URL('./busy-thread.ts', import.meta.url);

/** Starts it as a process, and waits until it has ended. */
export function runBusy(engine: string, folder: string, what: string): SpawnSyncReturns<string> {
  const words = [programOf(BUSY), engine, folder, what];
  return spawnSync(process.execPath, words, { encoding: 'utf8', timeout: 30000 });
}

/** Starts it as a thread. */
export function startBusy(engine: string, folder: string, what: string): Worker {
  return new Worker(programOf(BUSY), { workerData: [engine, folder, what] });
}

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
