// A daemon at rest: its jobs are ended, every disk is one file again, and nodes that nobody uses are gone. What it holds then is the same each
// time, whatever it has done before: that is how a leak is seen.
//
//   commands ... --> settle --> stream each disk into its top --> blockdev-del what is free --> count descriptors, nodes, memory
//                                                                                           --> check and remove the files that are free

import { readdirSync, readFileSync, rmSync } from 'node:fs';
import type { Workshop } from '../support/cli.js';
import type { Json, StorageDaemon } from '../support/qmp.js';

/** What a daemon held at a rest. */
export interface Figures {
  descriptors: number;
  nodes: number;
  threads: number;
  residentMiB: number;
}

export interface Soaked {
  daemon: StorageDaemon;
  shop: Workshop;
  folder: string;
  /** The node that each export is on. */
  tops: Map<string, string>;
  /** Files that each disk has been in. */
  files: Map<string, Set<string>>;
}

/** Memory that may come on top of a warm daemon's: garbage, caches of images. */
const MOST_GROWTH_MIB = 64;

/** Brings a daemon to rest and measures it. Images that are not consistent are added to `faults`. */
export async function rest(soaked: Soaked, faults: string[]): Promise<Figures> {
  const { daemon, shop, folder, tops, files } = soaked;
  await settle(daemon);
  await lookAround(daemon, tops, files);
  for (const [disk, node] of tops) await daemon.ask(streamOf(disk, node));
  while (((await daemon.execute('query-jobs')) as Json[]).length > 0);
  await deleteFreeNodes(daemon);
  const nodes = (await daemon.execute('query-named-block-nodes', { flat: true })) as Json[];
  const used = new Set(nodes.map((node) => String(node['file'])));
  // A file that is written to may look torn to who checks it: those that are free are checked. Their backing files may be in use.
  const free = imagesIn(folder).filter((file) => !used.has(file));
  faults.push(...checkImages(shop, free));
  for (const file of free) {
    rmSync(file);
    for (const known of files.values()) known.delete(file);
  }
  return measure(daemon.pid, nodes.length);
}

/** What grew from rest to rest: descriptors and nodes from the first one, memory from the second one, when all has been used once. */
export function leaks(rests: readonly Figures[]): string[] {
  const [first, warm] = rests;
  const last = rests[rests.length - 1];
  const faults: string[] = [];
  if (last.nodes > first.nodes) faults.push(`${first.nodes} nodes became ${last.nodes}`);
  if (last.descriptors > first.descriptors) faults.push(`${first.descriptors} descriptors became ${last.descriptors}`);
  if (last.residentMiB > warm.residentMiB + MOST_GROWTH_MIB)
    faults.push(`${warm.residentMiB} MiB became ${last.residentMiB}`);
  return faults;
}

/** Which node each export is on, and which file that is. A job that pivots at this moment, or later, is one of `files` already. */
export async function lookAround(
  daemon: StorageDaemon,
  tops: Map<string, string>,
  files: Map<string, Set<string>>,
): Promise<void> {
  const exports_ = (await daemon.execute('query-block-exports')) as Json[];
  const nodes = (await daemon.execute('query-named-block-nodes', { flat: true })) as Json[];
  const fileOf = new Map(nodes.map((node) => [String(node['node-name']), String(node['file'])]));
  for (const { id, 'node-name': node } of exports_) {
    tops.set(String(id), String(node));
    const known = files.get(String(id)) as Set<string>;
    // The newest comes last.
    const file = fileOf.get(String(node));
    if (file !== undefined && !file.startsWith('json:')) {
      known.delete(file);
      known.add(file);
    }
  }
}

/** Ends all jobs: each completes, or is cancelled, and is dismissed. */
async function settle(daemon: StorageDaemon): Promise<void> {
  for (;;) {
    const jobs = (await daemon.execute('query-jobs')) as Json[];
    if (jobs.length === 0) return;
    for (const { id, status } of jobs) {
      await daemon.ask({ execute: 'job-resume', arguments: { id } });
      const verb = status === 'concluded' ? 'job-dismiss' : status === 'pending' ? 'job-finalize' : 'job-cancel';
      await daemon.ask({ execute: verb, arguments: { id } });
    }
  }
}

function streamOf(disk: string, node: string): Json {
  return { execute: 'block-stream', arguments: { 'job-id': `rest-${disk}`, device: node } };
}

/** From the top down: with each node those below it become free. What is in use is refused. */
async function deleteFreeNodes(daemon: StorageDaemon): Promise<void> {
  for (;;) {
    const nodes = (await daemon.execute('query-named-block-nodes', { flat: true })) as Json[];
    let deleted = 0;
    for (const node of nodes) {
      const answer = await daemon.ask({ execute: 'blockdev-del', arguments: { 'node-name': node['node-name'] } });
      if ('return' in answer) deleted++;
    }
    if (deleted === 0) return;
  }
}

function measure(pid: number, nodes: number): Figures {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const figure = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]);
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    nodes,
    threads: figure('Threads'),
    residentMiB: Math.round(figure('VmRSS') / 1024),
  };
}

export const imagesIn = (folder: string): string[] =>
  readdirSync(folder)
    .filter((entry) => entry.endsWith('.qcow2'))
    .map((entry) => `${folder}/${entry}`);

/** Images that are not consistent. Leaks are allowed: after a crash they are there. */
export function checkImages(shop: Workshop, files: readonly string[]): string[] {
  const faults: string[] = [];
  for (const file of files) {
    const { code, stdout, stderr } = shop.run('qemu-img', 'check', '-U', '-f', 'qcow2', file);
    // 3: leaked clusters only.
    if (code !== 0 && code !== 3) faults.push(`${file}: check says ${code}: ${(stdout + stderr).slice(0, 300)}`);
  }
  return faults;
}
