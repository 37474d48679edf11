// This build beside another one of Diskwright, an earlier commit's: what must not become slower. Above 1 this build is faster.

import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { DataSet } from '../lib/data.js';
import type { Case, Contender } from '../lib/measure.js';
import { loaded, ourServer, startServer, warmCache } from '../lib/nbd.js';
import { worker } from '../lib/worker.js';
import { allocatedImages } from './random.js';

/** What is within this of the other build is as fast, on machines that are as noisy as ours. */
const SAME = 0.97;

interface Shape {
  format: 'raw' | 'qcow2';
  write: boolean;
  depth: number;
  blockBytes: number;
}

function* shapes(blocks: readonly number[]): Generator<Shape> {
  for (const format of ['raw', 'qcow2'] as const) {
    for (const write of [false, true]) {
      for (const blockBytes of blocks) {
        for (const depth of blockBytes === 4096 ? [1, 32] : [8]) yield { format, write, depth, blockBytes };
      }
    }
  }
}

function nameOf(kind: string, { format, write, depth, blockBytes }: Shape): string {
  return `${kind}.${format}.${write ? 'write' : 'read'}${blockBytes === 4096 ? '4k' : '1m'}.d${depth}`;
}

/** `other` is the folder of the other build, with its `dist/`. */
export function againstCases(data: DataSet, here: string, other: string, quick: boolean): Case[] {
  const images = allocatedImages(data);
  const cases = (kind: string, blocks: readonly number[], run: (folder: string, shape: Shape) => Contender['run']) =>
    [...shapes(blocks)].map((shape): Case => {
      const contender = (name: string, folder: string): Contender => ({
        name,
        prepare: () => warmCache(images[shape.format]),
        run: run(folder, shape),
      });
      const [ours, theirs] = [contender('this build', here), contender('the other build', other)];
      return { name: nameOf(kind, shape), bytes: 0, aim: SAME, ours, peers: [theirs] };
    });

  const random = cases('library', [4096], (folder, { format, write, depth }) => {
    const library = pathToFileURL(join(folder, 'dist/lib/index.js')).href;
    const operations = (depth === 1 ? 100_000 : 400_000) / (quick ? 10 : 1);
    return () => worker('image', { library, path: images[format], format, depth, operations, write, direct: false });
  });
  const nbd = cases('nbd', [4096, 1 << 20], (folder, shape) => {
    const kind = ourServer([process.execPath, join(folder, 'dist/cli.cjs')]);
    const load = {
      ...shape,
      sequential: shape.blockBytes > 4096,
      seconds: quick ? 0.5 : 1,
      client: 'nbdload' as const,
    };
    return async () => {
      const disk = { path: images[shape.format], format: shape.format, direct: false };
      const server = await startServer(data.folder, kind, disk);
      try {
        return loaded(data.folder, server, load);
      } finally {
        await server.end();
      }
    };
  });
  return [...random, ...nbd];
}
