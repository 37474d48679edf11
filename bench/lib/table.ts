// One table of a run: medians with their spread, CPU, memory, and the ratio of medians (above 1: we are faster).

import type { Case, Result, Sample } from './measure.js';
import { median } from './measure.js';

export interface Row {
  case: string;
  peer: string;
  ours: Figures;
  theirs: Figures;
  /** Peer's wall by ours, or our rate by the peer's. */
  ratio: number;
  /** Lowest and highest ratio of runs that stood beside each other. */
  ratioRange: [number, number];
  /** Our CPU seconds by the peer's. */
  cpuRatio: number;
  aim?: number;
}

export interface Figures {
  wall: number;
  wallRange: [number, number];
  cpu: number;
  peakMiB: number;
  rate?: number;
  p50us?: number;
  p99us?: number;
}

function figures(samples: readonly Sample[]): Figures {
  const walls = samples.map((sample) => sample.wall);
  const medianOf = (name: 'rate' | 'p50us' | 'p99us') => {
    const found = samples.flatMap((sample) => sample[name] ?? []);
    return found.length > 0 ? { [name]: median(found) } : {};
  };
  return {
    wall: median(walls),
    wallRange: [Math.min(...walls), Math.max(...walls)],
    cpu: median(samples.map((sample) => sample.cpu)),
    peakMiB: Math.max(...samples.map((sample) => sample.peakMiB)),
    ...medianOf('rate'),
    ...medianOf('p50us'),
    ...medianOf('p99us'),
  };
}

export function rowsOf(one: Case, results: readonly Result[]): Row[] {
  const [ours, ...peers] = results;
  return peers.map((peer, index) => {
    const aim = one.peers[index].aim ?? one.aim;
    const a = figures(ours.samples);
    const b = figures(peer.samples);
    const pairs = ours.samples.map((sample, i) => pairRatio(sample, peer.samples[i]));
    return {
      case: one.name,
      peer: peer.contender,
      ours: a,
      theirs: b,
      ratio: a.rate !== undefined && b.rate !== undefined ? a.rate / b.rate : b.wall / a.wall,
      ratioRange: [Math.min(...pairs), Math.max(...pairs)],
      cpuRatio: b.cpu === 0 ? 0 : a.cpu / b.cpu,
      ...(aim === undefined ? {} : { aim }),
    };
  });
}

function pairRatio(ours: Sample, theirs: Sample): number {
  return ours.rate !== undefined && theirs.rate !== undefined ? ours.rate / theirs.rate : theirs.wall / ours.wall;
}

function seconds(value: number): string {
  return value < 0.1 ? `${(value * 1000).toFixed(1)} ms` : `${value.toFixed(2)} s`;
}

function cost(one: Figures): string {
  if (one.rate !== undefined) {
    const latency = one.p50us === undefined ? '' : ` (p50 ${one.p50us.toFixed(0)}, p99 ${one.p99us?.toFixed(0)} us)`;
    return `${(one.rate / 1000).toFixed(1)}k/s${latency}`;
  }
  return `${seconds(one.wall)} (${seconds(one.wallRange[0])}..${seconds(one.wallRange[1])})`;
}

export const TABLE_HEAD = [
  '| case | peer | ours | theirs | ratio (range) | aim | CPU ours / theirs | peak ours / theirs |',
  '|---|---|---|---|---|---|---|---|',
].join('\n');

export function markdown(row: Row): string {
  const [low, high] = row.ratioRange;
  return `| ${[
    row.case,
    row.peer,
    cost(row.ours),
    cost(row.theirs),
    `**${row.ratio.toFixed(2)}** (${low.toFixed(2)}..${high.toFixed(2)})`,
    row.aim === undefined ? '' : `${row.aim}`,
    `${seconds(row.ours.cpu)} / ${seconds(row.theirs.cpu)}`,
    `${row.ours.peakMiB.toFixed(0)} / ${row.theirs.peakMiB.toFixed(0)} MiB`,
  ].join(' | ')} |`;
}
