// The four jobs on random chains, by us and by qemu-storage-daemon on a copy: afterwards every image of the chain holds the same, the
// headers name the same backing files, and `qemu-img check` finds no error and no leak.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect } from 'chai';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { JobManager } from '../../src/jobs/manager.js';
import { findJobType } from '../../src/jobs/registry.js';
import { startJob } from '../../src/jobs/start.js';

import { parseBlockdevOptions } from '../../src/schema/options.js';
import { requirePeer } from '../support/peers.js';
import { type Json, StorageDaemon } from '../support/qmp.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { type Layer, makeChain, seeded } from './chain-maker.js';
import { FIRST_SEED, qemuCheck, qemuImg, useBench } from './support.js';

const SEEDS = seedsOf({ first: FIRST_SEED, fixed: 8, daily: 3, soak: 200 });

/** A job as QMP has it; both sides get the same arguments. */
interface Task {
  command: 'block-stream' | 'block-commit' | 'blockdev-mirror' | 'blockdev-backup';
  words: Json;
  target: boolean;
}

const level = (index: number) => `level${index}`;

function tasks(depth: number, random: (below: number) => number): Task[] {
  const top = depth - 1;
  const device = level(top);
  const sync = depth > 1 && random(2) === 0 ? 'top' : 'full';
  const list: Task[] = [
    { command: 'blockdev-mirror', words: { device, target: 'target', sync }, target: true },
    { command: 'blockdev-backup', words: { device, target: 'target', sync }, target: true },
  ];
  if (depth === 1) return list;
  const base = random(depth - 1);
  const streamed = random(3) === 0 ? {} : { 'base-node': level(base) };
  list.push({ command: 'block-stream', words: { device, ...streamed }, target: false });
  const from = base + 1 + random(top - base);
  const words = { device, 'top-node': level(from), 'base-node': level(base) };
  list.push({ command: 'block-commit', words, target: false });
  return list;
}

/** qemu writes `json:{...}` where the base's own options (`backing: null`) differ from what its name alone would open. */
function backingName(name: string | undefined): string | null {
  if (name === undefined) return null;
  const file = name.startsWith('json:') ? JSON.parse(name.slice(5)).file.filename : name;
  return basename(file);
}

/** `blockdev-add` options of a chain in `folder`, base first. */
function nodeOptions(folder: string, layers: readonly Layer[], target: boolean): Json[] {
  const options: Json[] = layers.map((layer, index) => ({
    driver: layer.format,
    'node-name': level(index),
    'read-only': index < layers.length - 1,
    file: { driver: 'file', filename: join(folder, basename(layer.path)) },
    ...(layer.format === 'raw' ? {} : { backing: index === 0 ? null : level(index - 1) }),
  }));
  if (target) {
    const file = { driver: 'file', filename: join(folder, 'target') };
    options.push({ driver: 'qcow2', 'node-name': 'target', file, backing: null });
  }
  return options;
}

/** What must read as before: the copy, or every image above those that were merged. As origin, name, formats of both. */
function kept(task: Task, layers: readonly Layer[]): [string, string, [string, string]][] {
  const top = layers[layers.length - 1];
  if (task.target) return [[top.path, 'target', [top.format, 'qcow2']]];
  const from = layers.findIndex((_, index) => level(index) === task.words['top-node']);
  const above = task.command === 'block-commit' && from < layers.length - 1 ? layers.slice(from + 1) : [top];
  return above.map(({ path, format }) => [path, basename(path), [format, format]]);
}

/**
 * A commit of an image that is shorter than its base: its overlays read zeroes behind its end, so that we make the base's tail
 * zero, which qemu does not.
 */
function zeroesTail(task: Task, layers: readonly Layer[]): boolean {
  if (task.command !== 'block-commit') return false;
  const size = (name: unknown) => layers.find((_, index) => level(index) === name)?.size ?? 0;
  return size(task.words['top-node']) < size(task.words['base-node']);
}

describe('jobs on random chains', function () {
  this.timeout(timeLimit(1_200_000));
  const bench = useBench('chain-jobs');

  before(function () {
    for (const peer of ['qemu-img', 'qemu-io', 'qemu-storage-daemon']) requirePeer(this, peer);
  });

  async function ours(nodes: Json[], task: Task): Promise<void> {
    const graph = new Graph(bench.host);
    try {
      for (const options of nodes) await openNode(graph, parseBlockdevOptions(options));
      const env = { graph, manager: new JobManager(bench.host.clock) };
      const words = { ...task.words, 'job-id': 'job0' };
      const type = findJobType(task.command.replace(/^block(dev)?-/, ''));
      const job = await startJob(env, type, words as never);
      job.on('BLOCK_JOB_READY', () => void job.complete());
      await job.done;
    } finally {
      await graph.closeAll();
    }
  }

  async function theirs(nodes: Json[], task: Task): Promise<void> {
    const daemon = await StorageDaemon.start(
      join(bench.folder, 'qmp.sock'),
      nodes.flatMap((node) => ['--blockdev', JSON.stringify(node)]),
    );
    try {
      await daemon.job(task.command, { ...task.words, 'job-id': 'job0' });
    } finally {
      await daemon.quit();
    }
  }

  function same(a: string, b: string, formatA: string, formatB: string): boolean {
    return spawnSync('qemu-img', ['compare', '-q', '-f', formatA, '-F', formatB, a, b]).status === 0;
  }

  function expectSame(a: string, b: string, layer: { name: string; format: string }, context: string): void {
    const { name, format } = layer;
    const compare = spawnSync('qemu-img', ['compare', '-f', format, '-F', format, join(a, name), join(b, name)], {
      encoding: 'utf8',
    });
    expect(compare.status, `${context} ${name}: ${compare.stdout}${compare.stderr}`).to.equal(0);
    if (format === 'raw') return;
    const header = (folder: string) => {
      const info = JSON.parse(qemuImg('info', '--output=json', join(folder, name)));
      return {
        backing: backingName(info['backing-filename']),
        format: info['backing-filename-format'] ?? null,
        size: info['virtual-size'],
      };
    };
    expect(header(a), `${context} ${name}`).to.deep.equal(header(b));
    expectClean(join(a, name), format, context);
  }

  function expectClean(path: string, format: string, context: string): void {
    if (format === 'raw') return;
    const check = qemuCheck(path);
    expect(check.status, `${context} ${basename(path)}: ${check.text}`).to.equal(0);
  }

  it(`leave what qemu's leave (${spanOf(SEEDS)})`, async () => {
    let total = 0;
    let refused = 0;
    let wrong = 0;
    for (const seed of SEEDS) {
      const origin = join(bench.folder, 'origin');
      mkdirSync(origin);
      const layers = makeChain(origin, seed);
      for (const task of tasks(layers.length, seeded(seed ^ 0x5eed))) {
        const context = `seed ${seed} ${task.command} ${JSON.stringify(task.words)}`;
        const folders = ['a', 'b'].map((name) => join(bench.folder, name));
        for (const folder of folders) {
          cpSync(origin, folder, { recursive: true });
          if (task.target) qemuImg('create', '-q', '-f', 'qcow2', join(folder, 'target'), String(layers.at(-1)?.size));
        }
        const [a, b] = folders;
        const refusal = await theirs(nodeOptions(b, layers, task.target), task).catch((error: Error) => error);
        const failure = await ours(nodeOptions(a, layers, task.target), task).catch((error: Error) => error);
        total++;
        if (refusal instanceof Error) refused++;
        else if (failure instanceof Error) throw new Error(`${context}: ${failure.stack}`);
        const images = layers.map(({ path, format }) => ({ name: basename(path), format: format as string }));
        if (task.target) images.push({ name: 'target', format: 'qcow2' });
        // qemu 7.2 cannot do everything (commit into a shorter image above a longer one), and does some things wrong: a stream past a
        // short image lets the base show through. There we need not be alike, only right.
        const right = (folder: string) =>
          task.words['sync'] === 'top' ||
          kept(task, layers).every(([path, name, formats]) => same(path, join(folder, name), ...formats));
        if (refusal instanceof Error || !right(b) || zeroesTail(task, layers)) {
          if (!(failure instanceof Error)) expect(right(a), context).to.equal(true);
          if (!(refusal instanceof Error || right(b))) wrong++;
          for (const image of images) expectClean(join(a, image.name), image.format, context);
        } else {
          // qemu's target of a mirror with sync=top has the top's data alone; ours names what it was put over, and so reads as the source.
          const named = task.command === 'blockdev-mirror' && task.words['sync'] === 'top';
          for (const image of images.filter(({ name }) => !(named && name === 'target'))) {
            expectSame(a, b, image, context);
          }
          if (named) {
            const top = layers[layers.length - 1];
            expect(same(top.path, join(a, 'target'), top.format, 'qcow2'), `${context} reads as the source`).to.equal(
              true,
            );
            expectClean(join(a, 'target'), 'qcow2', context);
          }
        }
        for (const folder of folders) rmSync(folder, { recursive: true });
      }
      rmSync(origin, { recursive: true });
    }
    console.log(`      ${total} jobs, of which qemu refused ${refused} and did ${wrong} wrong`);
    expect(refused + wrong).to.be.below(total / 5);
  });
});
