// 4 KiB random reads and writes of a qcow2 image with extended L2 entries, beside one with ordinary entries and beside qemu-img bench. Operations a second.
// Everything is allocated: what is measured is the look-up of subclusters.

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { type DataSet, once } from '../lib/data.js';
import type { Case } from '../lib/measure.js';
import { worker } from '../lib/worker.js';
import { allocatedImages, qemuBench } from './random.js';

/** Of the rate with ordinary entries: at most 15 % is lost. */
const AIM_BESIDE_ORDINARY = 0.85;

export function extendedL2Cases(data: DataSet): Case[] {
  const ordinary = allocatedImages(data).qcow2;
  const path = once(join(data.folder, 'random.extended.qcow2'), (made) => {
    const how = ['-f', 'raw', '-O', 'qcow2', '-S', '0', '-o', 'extended_l2=on'];
    execFileSync('qemu-img', ['convert', ...how, data.fsRaw, made]);
  });
  const cases: Case[] = [];
  for (const write of [false, true]) {
    for (const depth of [1, 32]) {
      const shape = {
        ...{ format: 'qcow2' as const, write, direct: false, depth },
        operations: depth === 1 ? 150_000 : 400_000,
      };
      cases.push({
        name: ['random', 'extended-l2', write ? 'write4k' : 'read4k', `d${depth}`, 'hot'].join('.'),
        bytes: 0,
        aim: 1,
        ours: { name: 'diskwright', run: () => worker('random', { ...shape, path }) },
        peers: [
          {
            name: 'diskwright, ordinary entries',
            aim: AIM_BESIDE_ORDINARY,
            run: () => worker('random', { ...shape, path: ordinary }),
          },
          { name: 'qemu-img bench -i io_uring', run: qemuBench(data, path, shape) },
        ],
      });
    }
  }
  return cases;
}
