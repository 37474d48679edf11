// A process that keeps a view of the arena longer than its host (see memory.test.ts). Run with --expose-gc.
import { loadNative } from '../../src/host/real/binding.js';
import { openRealHost } from '../../src/host/real/index.js';
import { pattern } from './engines.js';

const data = pattern(100000, 42);
const collect = (globalThis as unknown as { gc: () => void }).gc;
let kept: Uint8Array | null = null;

/** Collects until so many slabs are mapped, a limited number of times; the result is how many there are. */
async function mappedAfterCollecting(wanted: number): Promise<number> {
  const native = loadNative();
  for (let i = 0; i < 100; i++) {
    collect();
    await new Promise(setImmediate);
    if (native.mappedSlabs() === wanted && i >= 5) break;
  }
  return native.mappedSlabs();
}

async function useAndClose(): Promise<void> {
  const host = openRealHost({ engine: 'threads' });
  const buffer = host.memory.allocate(100000);
  buffer.set(data);
  kept = buffer.subarray(10);
  await host.close();
}

await useAndClose();
const held = await mappedAfterCollecting(1);
const intact = Buffer.from(kept!).equals(data.subarray(10));
kept = null;
console.log(`held ${held}, intact ${intact}, after ${await mappedAfterCollecting(0)}`);
