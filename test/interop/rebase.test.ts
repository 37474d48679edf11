// rebase, with qemu-img: command lines from a seed on copies of the same images say the same, and leave images with the same content, which both check.

import { cpSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Random } from '../../src/host/sim/random.js';
import { openRealHost, Workspace } from '../../src/index.js';
import { outcomeOf, pooled } from '../support/beside.js';
import { asOurs, type Outcome, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { repeats, seedOf, timeLimit } from '../support/sample.js';

const SEED = seedOf(3);
const COMMANDS = repeats(12, 1500);

/** Name, options, size and backing file of the overlays. */
const OVERLAYS: readonly (readonly [string, string, string, string])[] = [
  ['plain', 'cluster_size=64k', '3M', 'base'],
  ['v2', 'compat=0.10,cluster_size=4k', '3M', 'base'],
  ['small', 'cluster_size=512', '2M', 'base'],
  ['extended', 'extended_l2=on,cluster_size=32k', '3M', 'base'],
  ['onraw', 'cluster_size=16k', '3M', 'base.raw'],
  ['long', 'cluster_size=64k', '5000k', 'base'],
  ['short', 'cluster_size=2M', '1500k', 'base'],
  ['mid', 'cluster_size=8k', '2500k', 'base'],
  ['high', 'cluster_size=64k', '3500k', 'mid'],
  ['apart', 'cluster_size=64k,data_file=apart.data', '3M', 'base'],
  ['rawdata', 'cluster_size=64k,data_file=rawdata.data,data_file_raw=on', '1M', ''],
  ['alone', 'cluster_size=64k', '3M', ''],
  ['alone2', 'compat=0.10', '3M', ''],
];
const BACKINGS = [
  'base',
  'base',
  'base.raw',
  'mid',
  'new',
  'new',
  'new.raw',
  'new.raw',
  'tiny',
  '',
  '',
  'gone',
  'json:{}',
  'sub/new',
];

function commandFor(random: Random): { image: string; words: string[] } {
  const [image] = random.pick(OVERLAYS);
  const backing = random.pick(BACKINGS);
  const words = ['rebase'];
  if (random.chance(0.15)) words.push('-u');
  if (random.chance(0.95)) words.push('-b', backing);
  const format = backing.endsWith('.raw') ? 'raw' : 'qcow2';
  if (random.chance(0.9)) words.push('-F', random.chance(0.95) ? format : random.pick(['foo', 'raw', '']));
  if (random.chance(0.2)) words.push('-f', random.chance(0.7) ? 'qcow2' : random.pick(['raw', 'foo']));
  if (random.chance(0.2)) words.push('-t', random.pick(['none', 'writeback', 'unsafe', 'foo']));
  if (random.chance(0.2)) words.push('-T', random.pick(['none', 'writeback', 'directsync', 'foo']));
  if (random.chance(0.1)) words.push('-U');
  if (random.chance(0.2)) words.push('-q');
  words.push(random.chance(0.03) ? 'gone' : image);
  return { image, words };
}

describe('rebase, beside qemu-img', function () {
  this.timeout(timeLimit(120_000));
  let shop: Workshop;
  let workspace: Workspace;

  before(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
    workspace = new Workspace(await openRealHost());
    mkdirSync(shop.path('origin/sub'), { recursive: true });
    const make = (name: string, options: object, writes: readonly (readonly [number, number, number])[]) =>
      made(join(shop.folder, 'origin', name), options, writes);
    const BASE = [
      [1, 0, 1 << 20],
      [2, 2 << 20, 300_000],
    ] as const;
    await make('base', { driver: 'qcow2', size: 3 << 20 }, BASE);
    await make('base.raw', { driver: 'raw', size: 3 << 20 }, BASE);
    const NEW = [
      [1, 0, 700_000],
      [3, 1_500_000, 100_000],
      [2, 2 << 20, 4096],
    ] as const;
    await make('new', { driver: 'qcow2', size: 2_900_992, 'cluster-size': 4096 }, NEW);
    await make('sub/new', { driver: 'qcow2', size: 3 << 20 }, NEW);
    await make('new.raw', { driver: 'raw', size: 4 << 20 }, [...NEW, [4, 3_300_000, 5000]]);
    await make('tiny', { driver: 'qcow2', size: 100 * 512 }, [[9, 0, 51_200]]);
    const folder = shop.path('origin');
    for (const [name, options, size, backing] of OVERLAYS) {
      const below = backing === '' ? [] : ['-b', backing, '-F', backing.endsWith('.raw') ? 'raw' : 'qcow2'];
      const { code, stderr } = await outcomeOf(
        'qemu-img',
        ['create', '-q', '-f', 'qcow2', '-o', options, ...below, name, size],
        folder,
      );
      expect(code, stderr).to.equal(0);
      const image = await workspace.open(join(folder, name), { format: 'qcow2' });
      await image.write(123_000, Buffer.alloc(50_000, 7));
      await image.writeZeroes(700_000, 100_000);
      await image.write(1_000_000, Buffer.alloc(600, 8));
      await image.close();
    }
  });
  after(async () => {
    await workspace?.close();
    shop?.remove();
  });

  async function made(
    path: string,
    options: object,
    writes: readonly (readonly [number, number, number])[],
  ): Promise<void> {
    await workspace.create(path, options as Parameters<Workspace['create']>[1]);
    const image = await workspace.open(path, { format: path.endsWith('.raw') ? 'raw' : 'qcow2' });
    for (const [value, offset, length] of writes) await image.write(offset, Buffer.alloc(length, value));
    await image.close();
  }

  /** What both leave: what was said, the name of the backing file, the content, and whether it is sound. */
  async function left(folder: string, image: string, { code, stdout, stderr }: Outcome): Promise<object> {
    const path = join(folder, image);
    const info = await workspace.info(path, { format: 'qcow2' });
    const { findings } = await workspace.check(path, { format: 'qcow2' });
    const opened = await workspace.open(path, { format: 'qcow2', readOnly: true }).catch((error: Error) => error.name);
    let content = 'cannot be opened';
    if (typeof opened !== 'string') {
      content = Buffer.from(await opened.read(0, opened.size)).toString('base64');
      await opened.close();
    }
    const { 'backing-filename': name, 'backing-filename-format': format } = info;
    return { code, stdout, stderr, name, format, content, findings };
  }

  it(`${COMMANDS} command lines do the same (seed ${SEED})`, async () => {
    const random = new Random(SEED);
    const commands = Array.from({ length: COMMANDS }, () => commandFor(random));
    const before = new Map<string, object>();
    for (const [name] of OVERLAYS) {
      before.set(name, await left(shop.path('origin'), name, { code: 0, stdout: '', stderr: '' }));
    }
    await pooled(commands, async ({ image, words }, index) => {
      const sides: object[] = [];
      for (const own of [true, false]) {
        const folder = shop.path(`${own ? 'ours' : 'theirs'}${index}`);
        cpSync(shop.path('origin'), folder, { recursive: true });
        const program = own ? process.execPath : 'qemu-img';
        const outcome = await outcomeOf(program, own ? [shop.bundle, ...words] : words, folder);
        sides.push(await left(folder, image, own ? outcome : asOurs(outcome, 'rebase')));
        rmSync(folder, { recursive: true });
      }
      const [ours, theirs] = sides as { content: string; code: number }[];
      const command = words.join(' ');
      // What is large is compared, not printed.
      expect(ours.content === theirs.content, `${command}: the content is another than qemu-img's`).to.equal(true);
      if (!words.includes('-u')) {
        const same = ours.content === (before.get(image) as { content: string }).content;
        expect(same, `${command}: the content is another than before`).to.equal(true);
      }
      expect({ ...ours, content: '' }, command).to.deep.equal({ ...theirs, content: '' });
    });
  });

  it('an image with internal snapshots, which would read otherwise, is refused and left as it is', () => {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'origin/base', '-F', 'qcow2', 'kept', '3M');
    shop.must('qemu-img', 'snapshot', '-c', 'one', 'kept');
    const refused = shop.ours('rebase', '-b', 'origin/new', '-F', 'qcow2', 'kept');
    expect(refused.code).to.equal(1);
    expect(refused.stderr).to.contain('internal snapshots (1)');
    // The same backing file by another name is no change for them.
    expect(shop.ours('rebase', '-b', './origin/base', '-F', 'qcow2', 'kept').code).to.equal(0);
  });

  it('an image does not get a backing chain that leads to itself', () => {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'lower', '3M');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'lower', '-F', 'qcow2', 'upper');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'upper', '-F', 'qcow2', 'uppermost');
    const before = readFileSync(shop.path('lower'));
    for (const name of ['upper', 'uppermost']) {
      const refused = shop.ours('rebase', '-U', '-b', name, '-F', 'qcow2', 'lower');
      expect(refused.code).to.equal(1);
      expect(refused.stderr).to.contain('leads to the image itself');
      expect(readFileSync(shop.path('lower')).equals(before)).to.equal(true);
    }
  });

  it('-c compresses what is written', () => {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'origin/base', '-F', 'qcow2', 'packed', '3M');
    expect(shop.ours('rebase', '-c', '-b', '', 'packed')).to.deep.include({ code: 0, stderr: '' });
    expect(shop.must('qemu-img', 'compare', '-s', 'packed', 'packed')).to.contain('identical');
    expect(shop.must('qemu-img', 'compare', 'packed', 'origin/base')).to.contain('identical');
    expect(shop.must('qemu-img', 'check', 'packed')).to.match(/100\.00% compressed/);
  });
});
