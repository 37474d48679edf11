// Jobs and overlays with persistent bitmaps, in our daemon and in qemu-storage-daemon: the same commands, the same writes. Afterwards QEMU reads the same from all
// images of both: content, bitmaps, flags and bits.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { cliBundle } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { type Json, StorageDaemon } from '../support/qmp.js';
import { listed } from './bitmap-images.js';
import { qemuCheck, qemuImg, useBench } from './support.js';

const BITMAPS = ['kept', 'cleared', 'frozen', 'same'] as const;

/** A daemon that has the disk open as `disk`, and what a client of its export writes. */
interface Bed {
  daemon: StorageDaemon;
  /** Bytes in KiB. */
  write(...ranges: (readonly [offset: number, length: number])[]): void;
  open(node: string, file: string, more?: Json): Promise<void>;
  /** Runs a job to its end. */
  job(command: string, words: Json): Promise<Json>;
}

interface Scenario {
  name: string;
  /** The images that are compared; the first is the disk. */
  images: readonly string[];
  run(bed: Bed): Promise<void>;
}

const SCENARIOS: readonly Scenario[] = [
  {
    name: 'backups with bitmaps, in all modes',
    images: ['disk', 'incremental', 'differential', 'always'],
    async run({ daemon, open, job, write }) {
      for (const name of ['incremental', 'differential', 'always']) await open(name, name);
      write([100, 8], [2000, 64]);
      const backup = (target: string, bitmap: string, mode: string) =>
        job('blockdev-backup', { device: 'disk', target, sync: 'bitmap', bitmap, 'bitmap-mode': mode });
      await job('blockdev-backup', { device: 'disk', target: 'incremental', sync: 'incremental', bitmap: 'cleared' });
      write([512, 4]);
      await backup('differential', 'kept', 'never');
      await backup('always', 'same', 'always');
      write([700, 4]);
      await daemon.execute('block-dirty-bitmap-disable', { node: 'disk', name: 'frozen' });
      write([900, 4]);
    },
  },
  {
    name: 'a backup that fails leaves its bitmap',
    images: ['disk'],
    async run({ daemon, open, job, write }) {
      const error = { event: 'none', iotype: 'write', errno: 5, once: false };
      await daemon.execute('blockdev-add', {
        driver: 'blkdebug',
        'node-name': 'broken',
        'inject-error': [error],
        image: { driver: 'null-co', size: 3 << 20 },
      });
      write([1500, 8]);
      const words = { device: 'disk', target: 'broken', sync: 'incremental', bitmap: 'cleared' };
      expect(await job('blockdev-backup', words)).to.have.property('error');
      await open('incremental', 'incremental');
      expect(
        await job('blockdev-backup', { ...words, target: 'incremental', sync: 'bitmap', 'bitmap-mode': 'never' }),
      ).to.not.have.property('error');
      write([64, 8]);
    },
  },
  {
    name: 'an overlay with a bitmap of the same name as its base, then a commit',
    images: ['disk', 'overlay'],
    async run({ daemon, open, write }) {
      write([10, 1]);
      await open('overlay', 'overlay', { backing: null });
      await daemon.execute('blockdev-snapshot', { node: 'disk', overlay: 'overlay' });
      const bitmap = { node: 'overlay', name: 'same', persistent: true, granularity: 4096 };
      await daemon.execute('block-dirty-bitmap-add', bitmap);
      write([1000, 100], [40, 4]);
      const names = { 'job-id': 'commit', device: 'overlay', 'top-node': 'overlay', 'base-node': 'disk' };
      await daemon.execute('block-commit', names);
      await daemon.event('BLOCK_JOB_READY');
      await daemon.execute('job-complete', { id: 'commit' });
      await daemon.event('BLOCK_JOB_COMPLETED');
      write([2800, 4]);
    },
  },
  {
    name: 'a bitmap gets another name in an overlay',
    images: ['disk', 'overlay'],
    async run({ daemon, open, write }) {
      write([300, 4]);
      await open('overlay', 'overlay', { backing: null });
      await daemon.execute('block-dirty-bitmap-add', {
        node: 'overlay',
        name: 'other',
        persistent: true,
        disabled: true,
      });
      const bitmaps = ['cleared', 'kept'].map((name) => ({ node: 'disk', name }));
      await daemon.execute('transaction', {
        actions: [
          { type: 'block-dirty-bitmap-merge', data: { node: 'overlay', target: 'other', bitmaps } },
          { type: 'blockdev-snapshot', data: { node: 'disk', overlay: 'overlay' } },
        ],
      });
      write([400, 4]);
    },
  },
];

describe('jobs and overlays with persistent bitmaps, beside qemu-storage-daemon', function () {
  this.timeout(120_000);
  const bench = useBench('bitmap-jobs');
  let reader: StorageDaemon;
  let programs: Record<'ours' | 'theirs', readonly string[]>;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io', 'qemu-storage-daemon']) requirePeer(this, peer);
    programs = { ours: [process.execPath, await cliBundle(), 'daemon'], theirs: ['qemu-storage-daemon'] };
    reader = await StorageDaemon.start(join(bench.folder, 'reader'));
    makeImages(join(bench.folder, 'origin'));
  });
  after(() => reader?.quit());

  for (const [i, { name, images, run }] of SCENARIOS.entries()) {
    it(name, async () => {
      const folders: string[] = [];
      for (const [side, program] of Object.entries(programs)) {
        const folder = join(bench.folder, `${side}${i}`);
        cpSync(join(bench.folder, 'origin'), folder, { recursive: true });
        folders.push(folder);
        const bed = await lay(folder, program);
        await run(bed);
        await bed.daemon.quit();
      }
      const [ours, theirs] = folders;
      for (const image of images) {
        const [our, their] = [join(ours, image), join(theirs, image)];
        expect(listed(our), `bitmaps of ${image}`).to.deep.equal(listed(their));
        expect(await digests(reader, our), `bits of ${image}`).to.deep.equal(await digests(reader, their));
        expect(qemuCheck(our).status, `check of ${image}`).to.equal(0);
        qemuImg('compare', '-U', our, their);
      }
    });
  }

  it('after kill -9 they are as at the last flush, or marked', async () => {
    const folder = join(bench.folder, 'killed');
    cpSync(join(bench.folder, 'origin'), folder, { recursive: true });
    const before = await digests(reader, join(folder, 'disk'));
    const bed = await lay(folder, programs.ours);
    await bed.open('incremental', 'incremental');
    const words = { device: 'disk', target: 'incremental', sync: 'incremental', bitmap: 'cleared' };
    expect(await bed.job('blockdev-backup', words)).to.not.have.property('error');
    bed.write([2500, 4]);
    bed.daemon.signal('SIGKILL');
    await bed.daemon.end();
    const left = await digests(reader, join(folder, 'disk'));
    const flags = listed(join(folder, 'disk')) as { name: string; flags: string[] }[];
    for (const { name, flags: of } of flags) {
      // The client has flushed when it went. A bitmap that says the same as before the write would miss it.
      if (!of.includes('in-use') && of.includes('auto')) expect(left[name], name).to.not.equal(before[name]);
    }
    expect(qemuCheck(join(folder, 'disk')).status).to.not.equal(2);
  });
});

function makeImages(folder: string): void {
  mkdirSync(folder);
  const path = (name: string) => join(folder, name);
  const create = (name: string) => qemuImg('create', '-q', '-f', 'qcow2', path(name), '3M');
  for (const name of ['disk', 'incremental', 'differential', 'always', 'overlay']) create(name);
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -q -P 1 0 3M', path('disk')]);
  for (const [i, name] of BITMAPS.entries()) qemuImg('bitmap', '--add', '-g', `${4 << i}k`, path('disk'), name);
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -q -P 2 200k 70k', path('disk')]);
}

async function lay(folder: string, program: readonly string[]): Promise<Bed> {
  const daemon = await StorageDaemon.start(join(folder, 'qmp'), [], program);
  const socket = join(folder, 'nbd');
  let value = 0;
  let jobs = 0;
  const bed: Bed = {
    daemon,
    write: (...ranges) => {
      value++;
      const commands = ranges.flatMap(([offset, length]) => ['-c', `write -q -P ${value} ${offset}k ${length}k`]);
      execFileSync('qemu-io', ['-f', 'raw', ...commands, '-c', 'flush', `nbd+unix:///disk?socket=${socket}`]);
    },
    open: async (node, name, more = {}) => {
      const file = { driver: 'file', filename: join(folder, name) };
      await daemon.execute('blockdev-add', { driver: 'qcow2', 'node-name': node, file, ...more });
    },
    job: async (command, words) => {
      await daemon.execute(command, { 'job-id': `job${jobs++}`, ...words });
      return daemon.event('BLOCK_JOB_COMPLETED');
    },
  };
  await bed.open('disk', 'disk');
  await daemon.execute('nbd-server-start', { addr: { type: 'unix', data: { path: socket } } });
  const disk = { type: 'nbd', id: 'export', 'node-name': 'disk', name: 'disk', writable: true };
  await daemon.execute('block-export-add', disk);
  return bed;
}

/** The digest of each bitmap, as QEMU reads it. */
async function digests(reader: StorageDaemon, path: string): Promise<Record<string, string>> {
  const file = { driver: 'file', filename: path };
  const found: Record<string, string> = {};
  await reader.execute('blockdev-add', { driver: 'qcow2', 'node-name': 'a', 'read-only': true, backing: null, file });
  for (const { name, flags } of listed(path) as { name: string; flags: string[] }[]) {
    if (flags.includes('in-use')) found[name] = 'in use';
    else {
      const digest = await reader.execute('x-debug-block-dirty-bitmap-sha256', { node: 'a', name });
      found[name] = String((digest as Json)['sha256']);
    }
  }
  await reader.execute('blockdev-del', { 'node-name': 'a' });
  return found;
}
