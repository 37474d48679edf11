// QEMU's tools and ours change one image in turns, as a random walk. Each turn opens the image and closes it:
//
//   turn     one process of qemu-io with a few requests, each read back,   or   one command of qemu-img
//   then     `check` of both is clean; the other program reads what was touched
//   at times all bytes, of the disk and of each snapshot, and the list of bitmaps, are compared with the model

import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Random } from '../../../src/host/sim/random.js';
import type { Outcome } from '../../support/cli.js';
import { Model } from './model.js';

const KiB = 1024;
const MOST_SNAPSHOTS = 4;
const MOST_BITMAPS = 4;
/** Runs that are read back of a range. */
const MOST_RUNS = 6;
/** So many turns, and everything is compared. */
const WHOLE_EVERY = 40;

/** A program by two names. */
export interface Tools {
  name: string;
  img(words: readonly string[]): Promise<Outcome>;
  io(words: readonly string[]): Promise<Outcome>;
}

interface Setting {
  create: string;
  cluster: number;
  backing: 'raw' | 'qcow2' | null;
}

const SETTINGS: readonly Setting[] = [
  { create: 'cluster_size=64k', cluster: 64 * KiB, backing: 'qcow2' },
  { create: 'cluster_size=4k,refcount_bits=32', cluster: 4 * KiB, backing: null },
  { create: 'cluster_size=16k,extended_l2=on', cluster: 16 * KiB, backing: 'raw' },
  { create: 'cluster_size=512,lazy_refcounts=on', cluster: 512, backing: 'qcow2' },
  { create: 'cluster_size=8k,compression_type=zstd', cluster: 8 * KiB, backing: 'qcow2' },
];

export class TurnSession {
  readonly #random: Random;
  readonly #folder: string;
  readonly #tools: readonly Tools[];
  readonly #setting: Setting;
  readonly #model: Model;
  /** The last turns, for a message. */
  readonly #log: string[] = [];
  /** What the last turn has touched. */
  #touched: [offset: number, length: number][] = [];
  #turns = 0;
  #named = 0;
  /** Of each kind of step. */
  readonly tally = new Map<string, number>();
  steps = 0;

  private constructor(random: Random, folder: string, tools: readonly Tools[], setting: Setting, model: Model) {
    this.#random = random;
    this.#folder = folder;
    this.#tools = tools;
    this.#setting = setting;
    this.#model = model;
  }

  /** Makes the images in `folder`, with the first of the tools. */
  static async start(random: Random, folder: string, tools: readonly Tools[]): Promise<TurnSession> {
    const setting = random.pick(SETTINGS);
    const bytes = random.between(16, 48) * 64 * KiB;
    const content = Buffer.alloc(bytes);
    const session = new TurnSession(random, folder, tools, setting, new Model(content, null));
    const [first] = tools;
    for (const name of ['base0', 'base1']) {
      const format = setting.backing ?? 'qcow2';
      await session.#must(first, 'img', ['create', '-q', '-f', format, name, String(bytes)]);
    }
    const { backing } = setting;
    const below = backing === null ? [] : ['-b', 'base0', '-F', backing];
    if (backing !== null) {
      session.#model.backing = 'base0';
      session.#model.fill(64 * KiB, 300 * KiB, 9);
      await session.#must(first, 'io', ['-f', backing, '-c', 'write -P 9 64k 300k', 'base0']);
    }
    await session.#must(first, 'img', [
      'create',
      '-q',
      '-f',
      'qcow2',
      '-o',
      setting.create,
      ...below,
      'disk',
      String(bytes),
    ]);
    return session;
  }

  /** Goes on until so many steps were done. Rejects with what differs. */
  async run(steps: number): Promise<void> {
    while (this.steps < steps) await this.#turn();
    await this.#compareAll(this.#tools[0]);
    await this.#compareAll(this.#tools[1]);
  }

  async #turn(): Promise<void> {
    const random = this.#random;
    const tools = random.pick(this.#tools);
    this.#turns++;
    if (random.chance(0.55)) await this.#requests(tools);
    else await this.#command(tools);
    for (const by of this.#tools) await this.#must(by, 'img', ['check', '-q', 'disk']);
    if (this.#turns % WHOLE_EVERY === 0) await this.#compareAll(random.pick(this.#tools));
  }

  // ---- requests ----------------------------------------------------------------------------------------------

  async #requests(tools: Tools): Promise<void> {
    const random = this.#random;
    // What the turn before has touched, as this program reads it.
    const commands = this.#touched.flatMap(([offset, length]) => this.#readings(offset, length));
    this.#touched = [];
    for (let left = random.between(1, 10); left > 0; left--) commands.push(...this.#request());
    await this.#must(tools, 'io', [
      '-f',
      'qcow2',
      '-d',
      'unmap',
      ...commands.flatMap((command) => ['-c', command]),
      'disk',
    ]);
  }

  #request(): string[] {
    const random = this.#random;
    const model = this.#model;
    const size = model.content.length;
    const { cluster } = this.#setting;
    const kind = random.pick(['write', 'write', 'write', 'zero', 'zero', 'unmap', 'discard']);
    const whole = kind === 'discard' || random.chance(0.3);
    const unit = whole ? cluster : random.pick([1, 512]);
    const offset = random.below(Math.ceil(size / unit)) * unit;
    const length = Math.min(size - offset, random.between(1, whole ? 6 : Math.floor((96 * KiB) / unit)) * unit);
    const byte = kind === 'write' ? random.between(1, 255) : 0;
    model.fill(offset, length, byte);
    const touched = [Math.max(0, offset - 512), length + 1024] as const;
    this.#touched.push([...touched]);
    this.#count(kind);
    const flags = kind === 'unmap' ? ' -z -u' : kind === 'zero' ? ' -z' : ` -P ${byte}`;
    return [
      kind === 'discard' ? `discard ${offset} ${length}` : `write${flags} ${offset} ${length}`,
      ...this.#readings(...touched),
    ];
  }

  /** Commands that read a range: each run of bytes by its pattern. */
  #readings(offset: number, length: number): string[] {
    const runs = this.#model.runs(offset, length, MOST_RUNS);
    return runs.map((run) => `read -P ${run.byte} ${run.offset} ${run.length}`);
  }

  // ---- commands ----------------------------------------------------------------------------------------------

  async #command(tools: Tools): Promise<void> {
    const random = this.#random;
    const { snapshots, bitmaps } = this.#model;
    const kinds = [
      'create',
      'apply',
      'delete',
      'add',
      'remove',
      'mark',
      'merge',
      'resize',
      'amend',
      'commit',
      'rebase',
    ];
    const kind = random.pick(kinds);
    const snapshot = random.pick([...snapshots.keys(), undefined]);
    const bitmap = random.pick([...bitmaps.keys(), undefined]);
    switch (kind) {
      case 'create':
        return snapshots.size < MOST_SNAPSHOTS ? this.#snapshot(tools) : undefined;
      case 'apply':
        return snapshot === undefined ? undefined : this.#apply(tools, snapshot);
      case 'delete':
        if (snapshot === undefined) return;
        await this.#img(tools, kind, ['snapshot', '-d', snapshot, 'disk']);
        snapshots.delete(snapshot);
        return;
      case 'resize':
        return this.#resize(tools);
      case 'amend':
        return this.#amend(tools);
      case 'commit':
      case 'rebase':
        return this.#layers(tools, kind);
      default:
        return this.#bitmap(tools, kind, bitmap);
    }
  }

  async #snapshot(tools: Tools): Promise<void> {
    const name = `s${this.#named++}`;
    await this.#img(tools, 'create', ['snapshot', '-c', name, 'disk']);
    this.#model.snapshots.set(name, Buffer.from(this.#model.content));
  }

  /** qemu-img refuses it where a bitmap records. */
  async #apply(tools: Tools, name: string): Promise<void> {
    if (this.#model.bitmaps.size > 0) return;
    await this.#img(tools, 'apply', ['snapshot', '-a', name, 'disk']);
    this.#model.content = Buffer.from(this.#model.snapshots.get(name)!);
    this.#touched = [[0, this.#model.content.length]];
  }

  async #bitmap(tools: Tools, kind: string, name: string | undefined): Promise<void> {
    const random = this.#random;
    const { bitmaps, modern } = this.#model;
    if (kind === 'add') {
      if (!modern || bitmaps.size >= MOST_BITMAPS) return;
      const added = `b${this.#named++}`;
      const disabled = random.chance(0.3);
      const granularity = random.pick(['4k', '64k', '1M']);
      await this.#img(tools, kind, [
        'bitmap',
        '--add',
        '-g',
        granularity,
        ...(disabled ? ['--disable'] : []),
        'disk',
        added,
      ]);
      bitmaps.set(added, !disabled);
      return;
    }
    if (name === undefined) return;
    if (kind === 'remove') {
      await this.#img(tools, kind, ['bitmap', '--remove', 'disk', name]);
      bitmaps.delete(name);
      return;
    }
    if (kind === 'merge') {
      const source = random.pick([...bitmaps.keys()]);
      await this.#img(tools, kind, ['bitmap', '--merge', source, 'disk', name]);
      return;
    }
    const mark = random.pick(['clear', 'enable', 'disable']);
    await this.#img(tools, mark, ['bitmap', `--${mark}`, 'disk', name]);
    if (mark !== 'clear') bitmaps.set(name, mark === 'enable');
  }

  /** In whole clusters: where a disk is cut within one and grows again, qemu-img brings the old data back. */
  async #resize(tools: Tools): Promise<void> {
    const random = this.#random;
    const model = this.#model;
    const unit = 64 * KiB;
    const size = model.content.length;
    const shrink = random.chance(0.4) && model.snapshots.size === 0 && size > 8 * unit;
    const next = shrink ? size - random.between(1, 4) * unit : size + random.between(1, 4) * unit;
    if (next > 64 * unit) return;
    await this.#img(tools, shrink ? 'shrink' : 'grow', [
      'resize',
      '-q',
      ...(shrink ? ['--shrink'] : []),
      'disk',
      String(next),
    ]);
    model.resize(next);
    this.#touched = [[Math.min(size, next) - unit, 2 * unit]];
  }

  async #amend(tools: Tools): Promise<void> {
    const random = this.#random;
    const model = this.#model;
    const options = ['refcount_bits=16', 'refcount_bits=32', 'refcount_bits=64'];
    if (model.modern) options.push('lazy_refcounts=on', 'lazy_refcounts=off');
    else options.push('compat=1.1');
    // Version 2 has no bitmaps, no subclusters and no zstd; qemu-img leaves errors where there are snapshots.
    const plain = !/extended|zstd/.test(this.#setting.create);
    if (model.modern && plain && model.backing === null && model.bitmaps.size === 0 && model.snapshots.size === 0)
      options.push('compat=0.10,refcount_bits=16');
    const chosen = model.modern ? random.pick(options) : 'compat=1.1';
    await this.#img(tools, 'amend', ['amend', '-o', chosen, 'disk']);
    if (chosen.startsWith('compat=')) model.modern = chosen === 'compat=1.1';
  }

  /** The snapshots would read something else afterwards. */
  async #layers(tools: Tools, kind: 'commit' | 'rebase'): Promise<void> {
    const model = this.#model;
    const format = this.#setting.backing;
    if (format === null || model.snapshots.size > 0 || !model.modern) return;
    if (kind === 'commit') {
      // A bitmap that records is held as in use by a commit.
      if (model.backing === null || model.bitmaps.size > 0) return;
      await this.#img(tools, kind, ['commit', '-q', 'disk']);
      return;
    }
    const next = this.#random.pick(['', 'base0', 'base1']);
    await this.#img(tools, kind, ['rebase', '-b', next, ...(next === '' ? [] : ['-F', format]), 'disk']);
    model.backing = next === '' ? null : next;
  }

  // ---- both --------------------------------------------------------------------------------------------------

  async #img(tools: Tools, kind: string, words: readonly string[]): Promise<void> {
    this.#count(kind);
    await this.#must(tools, 'img', words);
  }

  #count(kind: string): void {
    this.steps++;
    this.tally.set(kind, (this.tally.get(kind) ?? 0) + 1);
  }

  async #must(tools: Tools, program: 'img' | 'io', words: readonly string[]): Promise<Outcome> {
    this.#log.push(`${tools.name} qemu-${program} ${words.join(' ')}`);
    if (this.#log.length > 12) this.#log.shift();
    const said = await tools[program](words);
    if (said.code === 0 && said.stderr === '' && !/fail/.test(said.stdout)) return said;
    throw this.#fault(`ended with ${said.code}: ${said.stderr}${said.stdout.match(/^.*fail.*$/m)?.[0] ?? ''}`);
  }

  #fault(what: string): Error {
    return new Error(
      `step ${this.steps} (${this.#setting.create}): ${what}\n${this.#log.map((line) => `  ${line}`).join('\n')}`,
    );
  }

  async #compareAll(tools: Tools): Promise<void> {
    const { content, snapshots, bitmaps } = this.#model;
    await this.#same(tools, content, []);
    for (const [name, kept] of snapshots) await this.#same(tools, kept, ['-l', name]);
    const info = JSON.parse((await this.#must(tools, 'img', ['info', '--output=json', 'disk'])).stdout);
    const found = ((info['format-specific'].data.bitmaps ?? []) as { name: string; flags: string[] }[]).map(
      ({ name, flags }) => `${name} ${flags.join(' ')}`,
    );
    const wanted = [...bitmaps].map(([name, records]) => `${name} ${records ? 'auto' : ''}`);
    if (found.sort().join() !== wanted.sort().join()) throw this.#fault(`bitmaps: ${found}, and not ${wanted}`);
    const names = ((info.snapshots ?? []) as { name: string }[]).map(({ name }) => name);
    if (names.sort().join() !== [...snapshots.keys()].sort().join()) throw this.#fault(`snapshots: ${names}`);
  }

  async #same(tools: Tools, wanted: Buffer, which: readonly string[]): Promise<void> {
    const copy = join(this.#folder, 'copy');
    rmSync(copy, { force: true });
    await this.#must(tools, 'img', ['convert', ...which, '-O', 'raw', 'disk', 'copy']);
    const found = readFileSync(copy);
    // Of a snapshot of another size, qemu-img reads as much as the disk has now.
    const bytes = Math.min(found.length, wanted.length);
    if (which.length === 0 && found.length !== wanted.length)
      throw this.#fault(`size: ${found.length}, and not ${wanted.length}`);
    if (found.subarray(0, bytes).equals(wanted.subarray(0, bytes))) return;
    let at = 0;
    while (found[at] === wanted[at]) at++;
    throw this.#fault(`byte ${at} ${which.join(' ')} is ${found[at]}, and not ${wanted[at]}`);
  }
}
