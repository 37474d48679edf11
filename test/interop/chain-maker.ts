// Seeded random backing chains, made by qemu-img and qemu-io: depth 1 to 6, mixed cluster sizes and versions, sizes that differ along the
// chain and are no multiple of the cluster, holes, zero and compressed clusters, a raw base now and then.

import { execFileSync } from 'node:child_process';
import { basename, join } from 'node:path';

export interface Layer {
  path: string;
  format: 'raw' | 'qcow2';
  size: number;
}

/** Small deterministic generator (mulberry32): one seed, one chain. */
export function seeded(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const CLUSTER_BITS = [9, 10, 12, 12, 14, 16, 16, 16, 18, 21];

/** Makes the chain of `seed` in `folder`; base first. */
export function makeChain(folder: string, seed: number): Layer[] {
  const random = seeded(seed);
  const depth = 1 + random(6);
  const layers: Layer[] = [];
  for (let level = 0; level < depth; level++) {
    const size = 512 * (256 + random(level % 2 === 0 ? 9000 : 5000));
    const raw = level === 0 && random(4) === 0;
    const layer: Layer = { path: join(folder, `level${level}`), format: raw ? 'raw' : 'qcow2', size };
    create(layer, layers.at(-1), random);
    layers.push(layer);
  }
  return layers;
}

function create(layer: Layer, below: Layer | undefined, random: (below: number) => number): void {
  const clusterBits = CLUSTER_BITS[random(CLUSTER_BITS.length)];
  const old = random(4) === 0;
  const zstd = !old && random(3) === 0;
  const refcountBits = old ? 16 : [1, 8, 16, 16, 32, 64][random(6)];
  const options = [
    `compat=${old ? '0.10' : '1.1'}`,
    `cluster_size=${2 ** clusterBits}`,
    `refcount_bits=${refcountBits}`,
    ...(zstd ? ['compression_type=zstd'] : []),
  ];
  const words =
    layer.format === 'raw'
      ? ['create', '-q', '-f', 'raw', layer.path, String(layer.size)]
      : [
          ...['create', '-q', '-f', 'qcow2', '-o', options.join(',')],
          ...(below === undefined ? [] : ['-b', basename(below.path), '-F', below.format]),
          ...[layer.path, String(layer.size)],
        ];
  execFileSync('qemu-img', words, { stdio: ['ignore', 'ignore', 'inherit'] });
  const commands = [
    ...(layer.format === 'raw' || refcountBits === 1 ? [] : compressedWrites(layer, 2 ** clusterBits, random)),
    ...Array.from({ length: 3 + random(10) }, () => change(layer, random)),
  ];
  execFileSync('qemu-io', ['-f', layer.format, '-d', 'unmap', ...commands.flatMap((one) => ['-c', one]), layer.path], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/**
 * Compressed clusters come first: qemu-io refuses to compress into a cluster that has data. They share host clusters, which
 * 1-bit refcounts cannot count.
 */
function compressedWrites(layer: Layer, cluster: number, random: (below: number) => number): string[] {
  const clusters = Math.floor(layer.size / cluster);
  if (clusters === 0) return [];
  const chosen = new Set(Array.from({ length: random(7) }, () => random(clusters)));
  return [...chosen].map((index) => `write -q -c -P ${1 + random(254)} ${index * cluster} ${cluster}`);
}

/** One qemu-io command: data, zeroes or a hole somewhere. */
function change(layer: Layer, random: (below: number) => number): string {
  const sectors = layer.size / 512;
  const start = random(sectors);
  const offset = start * 512;
  const length = 512 * (1 + random(Math.min(sectors - start, random(3) === 0 ? 2048 : 96)));
  switch (random(6)) {
    case 0:
      return `write -q -z ${offset} ${length}`;
    case 1:
      return `write -q -z -u ${offset} ${length}`;
    case 2:
      return `discard -q ${offset} ${length}`;
    default:
      return `write -q -P ${1 + random(254)} ${offset} ${length}`;
  }
}
