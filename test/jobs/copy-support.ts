// What the tests of the copy jobs share: a chain of three layers, and short ways to look at a job and a layer.

import { expect } from 'chai';
import type { Job } from '../../src/jobs/job.js';
import { BlockError } from '../../src/util/errors.js';
import type { MemoryNode } from './memory-node.js';
import { pattern } from './memory-node.js';
import { KiB, MiB, World } from './world.js';

export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    expect(error).to.be.instanceOf(BlockError);
    return (error as BlockError).code;
  }
  throw new Error('it did not fail');
}

/** base <- mid <- top, 64 KiB clusters: each layer has one of its own and one that the layer above hides. */
export function threeLayers(options: { filters?: boolean } = {}): World {
  const world = new World(options);
  const base = world.node('base', MiB, { readOnly: true });
  base.poke(0, pattern(0, 256 * KiB, 1));
  const mid = world.node('mid', MiB, { backing: base, readOnly: true });
  mid.poke(64 * KiB, pattern(64 * KiB, 128 * KiB, 2));
  mid.pokeZero(512 * KiB, 64 * KiB);
  const top = world.node('top', MiB, { backing: mid });
  top.poke(128 * KiB, pattern(128 * KiB, 64 * KiB, 3));
  world.layers.push(base, mid, top);
  world.plug();
  return world;
}

export function readyOf(job: Job): Promise<void> {
  return new Promise((resolve, reject) => {
    job.on('BLOCK_JOB_READY', () => resolve());
    job.done.catch(reject);
  });
}

export function allocated(node: MemoryNode): number[] {
  return [...node.clusters.keys()].sort((a, b) => a - b);
}
