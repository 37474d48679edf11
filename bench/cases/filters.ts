// Filters. Those that have nothing to do, against no filter: 4 KiB random reads, 32 at a time, from the page cache. And throttle: the rate that was
// asked for against the one that came out, where the peer is the rate that was asked for.

import type { ThrottleLimits } from '../../src/schema/generated/types.js';
import type { DataSet } from '../lib/data.js';
import type { Case, Contender } from '../lib/measure.js';
import { worker } from '../lib/worker.js';
import { allocatedImages } from './random.js';

const KIB = 1024;
const MIB = 1024 * KIB;

function idleCases(data: DataSet, quick: boolean): Case[] {
  const { raw, qcow2 } = allocatedImages(data);
  const file = (filename: string) => ({ driver: 'file', filename });
  const images = {
    raw: { driver: 'raw', file: file(raw) },
    // All of it is in the overlay.
    overlay: {
      driver: 'qcow2',
      file: file(qcow2),
      backing: { driver: 'raw', 'read-only': true, file: file(data.fsRaw) },
    },
  };
  const operations = quick ? 40_000 : 400_000;
  const shape = { format: 'raw', depth: 32, operations, direct: false, write: false };
  const reader = (name: string, options: object): Contender => ({
    name,
    run: () => worker('random', { ...shape, options }),
  });
  return Object.entries(images).flatMap(([image, below]) =>
    [{ driver: 'throttle', 'throttle-group': 'g' }, { driver: 'copy-on-read' }].map((filter) => ({
      name: `filters.idle.${filter.driver}.${image}.read4k.d32`,
      bytes: 0,
      aim: 0.9,
      ours: reader(filter.driver, { ...filter, file: below }),
      peers: [reader('no filter', below)],
    })),
  );
}

interface Rate {
  name: string;
  limits: ThrottleLimits;
  blockBytes: number;
  /** Requests a second. */
  asked: number;
  /** Measured from the first request on, for so many seconds; left out: a rate that goes on. */
  burstSeconds?: number;
}

const RATES: readonly Rate[] = [
  { name: 'iops.4k', limits: { 'iops-total': 5000 }, blockBytes: 4 * KIB, asked: 5000 },
  { name: 'iops.1m', limits: { 'iops-total': 100 }, blockBytes: MIB, asked: 100 },
  { name: 'bps.4k', limits: { 'bps-total': 40 * MIB }, blockBytes: 4 * KIB, asked: 10_240 },
  { name: 'bps.1m', limits: { 'bps-total': 200 * MIB }, blockBytes: MIB, asked: 200 },
  { name: 'iops-size.16k', limits: { 'iops-total': 8000, 'iops-size': 4096 }, blockBytes: 16 * KIB, asked: 2000 },
  {
    name: 'burst.iops.4k',
    limits: { 'iops-total': 500, 'iops-total-max': 5000, 'iops-total-max-length': 2 },
    blockBytes: 4 * KIB,
    // A tenth of a second's worth may go at once.
    asked: 5000 * (1 + 0.1 / 2),
    burstSeconds: 2,
  },
  {
    name: 'burst.bps.1m',
    limits: { 'bps-total': 20 * MIB, 'bps-total-max': 200 * MIB, 'bps-total-max-length': 2 },
    blockBytes: MIB,
    asked: 200 * (1 + 0.1 / 2),
    burstSeconds: 2,
  },
];

function rateCases(quick: boolean): Case[] {
  return RATES.map(({ name, limits, blockBytes, asked, burstSeconds }) => {
    const seconds = burstSeconds ?? (quick ? 1 : 10);
    const task = { limits, blockBytes, seconds, warmUpSeconds: burstSeconds === undefined ? 1 : 0, depth: 16 };
    return {
      name: `filters.throttle.${name}`,
      bytes: 0,
      aim: 0.98,
      ours: { name: 'got', run: () => worker('throttle', task) },
      peers: [{ name: 'asked', run: () => ({ wall: seconds, cpu: 0, peakMiB: 0, rate: asked }) }],
    };
  });
}

export function filterCases(data: DataSet, quick: boolean): Case[] {
  return [...idleCases(data, quick), ...rateCases(quick)];
}
