// qemu-storage-daemon as the peer of our jobs: one daemon a run, time from the job's command to its end.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Json, StorageDaemon } from '../../test/support/qmp.js';
import type { Sample } from './measure.js';

/** User and system seconds of a process, all its threads, ended ones too (10 ms steps). */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

export function peakMiB(pid: number): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}

export interface QsdJob {
  /** `--blockdev` options, as JSON. */
  nodes: Json[];
  command: string;
  arguments: Json;
}

/** One job in a fresh daemon; `program` is its command line without options. Default: qemu-storage-daemon. */
export async function qsdJob(folder: string, job: QsdJob, program?: readonly string[]): Promise<Sample> {
  const nodes = job.nodes.flatMap((node) => ['--blockdev', JSON.stringify(node)]);
  const daemon = await StorageDaemon.start(join(folder, 'qmp.sock'), nodes, program);
  try {
    const cpuBefore = cpuSeconds(daemon.pid);
    const before = performance.now();
    await daemon.job(job.command, { 'job-id': 'job0', ...job.arguments });
    const wall = (performance.now() - before) / 1000;
    return { wall, cpu: cpuSeconds(daemon.pid) - cpuBefore, peakMiB: peakMiB(daemon.pid) };
  } finally {
    await daemon.quit();
  }
}
