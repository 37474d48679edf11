// Compact of one image of each kind that qcow2 has, made by qemu-img and qemu-io: afterwards `qemu-img check` finds nothing, not even lost space, the disk and its snapshots
// read as before, bitmaps mark the same, and the file is as short as what it holds.
//
//   made so, in clusters   | 0 a | 1 b | 2 a | 3 b | ...      a: kept; b: discarded afterwards, so that every second cluster of the file is free

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Image, openRealHost, Workspace } from '../../src/index.js';
import { requirePeer } from '../support/peers.js';

const SECRET = 'secret,id=sec0,data=astrochicken';

interface Kind {
  name: string;
  cluster: number;
  /** Guest clusters that are written; 32. */
  clusters?: number;
  options?: string;
  encrypted?: boolean;
  /** A backing file, of which every fourth cluster is equal to the disk's. */
  backing?: boolean;
  /** Every cluster is written as compressed data. */
  compressed?: boolean;
  snapshots?: boolean;
  bitmaps?: boolean;
  /** The content lies in a file of its own. */
  external?: boolean;
  dedupe?: boolean;
  /** Is not longer than a copy that `qemu-img convert` makes. */
  beside?: boolean;
}

const KINDS: readonly Kind[] = [
  {
    name: 'external data file',
    cluster: 512,
    clusters: 1024,
    options: 'data_file=disk.data',
    external: true,
    bitmaps: true,
  },
  {
    name: 'external raw data file, bitmaps',
    cluster: 512,
    clusters: 1024,
    options: 'data_file=disk.data,data_file_raw=on',
    external: true,
    bitmaps: true,
  },
  { name: 'LUKS, snapshots', cluster: 16384, encrypted: true, snapshots: true },
  { name: 'extended L2', cluster: 16384, options: 'extended_l2=on', beside: true },
  { name: 'extended L2, snapshots', cluster: 16384, options: 'extended_l2=on', snapshots: true },
  { name: 'compressed', cluster: 16384, compressed: true },
  { name: 'compressed by zstd', cluster: 16384, options: 'compression_type=zstd', compressed: true },
  { name: 'compressed, snapshots', cluster: 4096, compressed: true, snapshots: true },
  { name: 'snapshots and bitmaps', cluster: 4096, snapshots: true, bitmaps: true },
  { name: 'refcounts of 1 bit', cluster: 4096, options: 'refcount_bits=1', bitmaps: true },
  { name: 'refcounts of 64 bits, snapshots', cluster: 4096, options: 'refcount_bits=64', snapshots: true },
  { name: 'clusters of 512 bytes', cluster: 512, clusters: 512, snapshots: true, bitmaps: true },
  { name: 'clusters of 2 MiB', cluster: 2 << 20, clusters: 6, snapshots: true },
  { name: 'backing file, --dedupe-backing', cluster: 4096, backing: true, dedupe: true },
  {
    name: 'backing file, extended L2, --dedupe-backing',
    cluster: 16384,
    options: 'extended_l2=on',
    backing: true,
    dedupe: true,
  },
  { name: 'version 2', cluster: 4096, options: 'compat=0.10', beside: true },
  { name: 'version 2, snapshots', cluster: 4096, options: 'compat=0.10', snapshots: true },
];

/** Of `qemu-img create`. */
function optionsOf({ cluster, options }: Kind): string {
  return [`cluster_size=${cluster}`, ...(options === undefined ? [] : [options])].join(',');
}

/** Clusters of the file that have no refcount, by its refcount table and blocks. */
function freeClusters(file: Buffer): number {
  const size = 1 << file.readUInt32BE(20);
  const bits = file.readUInt32BE(4) === 3 ? 1 << file.readUInt32BE(96) : 16;
  const table = Number(file.readBigUInt64BE(48));
  const perBlock = (size * 8) / bits;
  let free = 0;
  for (let cluster = 0; cluster * size < file.length; cluster++) {
    const block = Number(file.readBigUInt64BE(table + Math.floor(cluster / perBlock) * 8));
    const bit = (cluster % perBlock) * bits;
    const used =
      block !== 0 &&
      (bits < 8
        ? (file[block + (bit >> 3)] >> (bit & 7)) & ((1 << bits) - 1)
        : file.subarray(block + bit / 8, block + (bit + bits) / 8).some((byte) => byte !== 0));
    if (!used) free++;
  }
  return free;
}

describe('compact, by kind of image', function () {
  this.timeout(30_000);
  let folder: string;
  let workspace: Workspace;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    folder = mkdtempSync(join(tmpdir(), 'diskwright-kinds-'));
    workspace = new Workspace(await openRealHost());
    await workspace.addObject(SECRET);
  });
  after(async () => {
    await workspace?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const run = (program: string, ...words: string[]): string =>
    execFileSync(program, words, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const path = (name: string): string => join(folder, name);
  const at = ({ encrypted }: Kind): string[] => [
    '--object',
    SECRET,
    '--image-opts',
    `driver=qcow2,file.filename=disk${encrypted ? ',encrypt.key-secret=sec0' : ''}`,
  ];
  const img = (kind: Kind, words: readonly string[], last: string[] = []): string =>
    run('qemu-img', ...words, ...at(kind), ...last);
  const io = (kind: Kind, commands: readonly string[]): string =>
    run('qemu-io', '-t', 'unsafe', ...commands.flatMap((one) => ['-c', one]), ...at(kind));

  async function make(kind: Kind): Promise<void> {
    for (const name of ['disk', 'disk.data', 'base']) rmSync(path(name), { force: true });
    const { cluster, clusters = 32 } = kind;
    const size = cluster * clusters;
    // No two clusters are alike, and all can be compressed to two thirds.
    const noise = Buffer.alloc(size);
    for (let i = 0, state = 1; i < size; i++) {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      noise[i] = state >> 26;
    }
    writeFileSync(path('noise'), noise);
    if (kind.backing) writeFileSync(path('base'), Buffer.alloc(size, 170));
    const backing = kind.backing ? ['-b', 'base', '-F', 'raw'] : [];
    // The benchmark of LUKS takes seconds in qemu-img.
    if (kind.encrypted) {
      const encrypt = { format: 'luks' as const, 'key-secret': 'sec0', 'iter-time': 10 };
      await workspace.create(path('disk'), { driver: 'qcow2', size, 'cluster-size': cluster, encrypt });
    } else {
      run(
        'qemu-img',
        'create',
        '-q',
        '--object',
        SECRET,
        '-f',
        'qcow2',
        ...backing,
        '-o',
        optionsOf(kind),
        'disk',
        `${size}`,
      );
    }
    /** A command for each `step`-th cluster from the `first` on, in the first three quarters of the disk. */
    const every = (step: number, first: number, command: (offset: number) => string): string[] => {
      const commands: string[] = [];
      for (let i = first; i < clusters * 0.75; i += step) commands.push(command(i * cluster));
      return commands;
    };
    if (kind.bitmaps) {
      for (const name of ['gone', 'kept']) img(kind, ['bitmap', '--add', '-g', '512'], [name]);
    }
    // qemu-io compresses the clusters of one request side by side, and so puts them into the file in any order: one request for each.
    const piece = kind.compressed ? cluster : size;
    const writes: string[] = [];
    for (let offset = 0; offset < size; offset += piece) {
      if (kind.compressed) writeFileSync(path(`noise${offset}`), noise.subarray(offset, offset + piece));
      writes.push(
        kind.compressed ? `write -q -c -s noise${offset} ${offset} ${piece}` : `write -q -s noise ${offset} ${piece}`,
      );
    }
    io(kind, writes);
    if (kind.snapshots) {
      img(kind, ['snapshot', '-c', 'gone']);
      io(
        kind,
        every(3, 0, (offset) => `write -q -P 5 ${offset} ${cluster}`),
      );
      img(kind, ['snapshot', '-c', 'kept']);
    }
    io(kind, [
      ...every(8, 2, (offset) => `write -q -z -u ${offset} ${cluster}`),
      ...every(8, 4, (offset) => `write -q -P ${kind.backing ? 170 : 0} ${offset} ${cluster}`),
      ...every(16, 6, (offset) => `write -q -P 9 ${offset} ${cluster / 2}`),
      ...(kind.external
        ? [`discard ${size / 4} ${size / 4}`]
        : every(2, 1, (offset) => `discard ${offset} ${cluster}`)),
    ]);
    if (kind.bitmaps) img(kind, ['bitmap', '--remove'], ['gone']);
    if (kind.snapshots) img(kind, ['snapshot', '-d', 'gone']);
  }

  /** What the disk and its snapshot hold, and the bitmaps. */
  async function contentOf(kind: Kind): Promise<Buffer[]> {
    const read = (...words: string[]): Buffer => {
      run('qemu-img', 'convert', '-O', 'raw', ...words, ...at(kind), 'raw');
      return readFileSync(path('raw'));
    };
    await using image = await open(kind, true);
    const marks = image.bitmaps.map((bitmap) => [bitmap.name, bitmap.granularity, [...bitmap.runs()]]);
    return [read(), ...(kind.snapshots ? [read('-l', 'kept')] : []), Buffer.from(JSON.stringify(marks))];
  }

  const open = ({ encrypted }: Kind, readOnly: boolean): Promise<Image> =>
    workspace.open(
      {
        driver: 'qcow2',
        file: { driver: 'file', filename: path('disk') },
        ...(encrypted && { encrypt: { format: 'luks', 'key-secret': 'sec0' } }),
      },
      { readOnly },
    );
  for (const kind of KINDS) {
    it(kind.name, async () => {
      await make(kind);
      const before = await contentOf(kind);
      const data = kind.external ? readFileSync(path('disk.data')) : null;
      const settings = { dedupeBacking: kind.dedupe === true };
      const looked = await open(kind, true);
      const plan = await workspace.planCompact(looked, settings).finally(() => looked.close());
      const image = await open(kind, false);
      try {
        await (await workspace.compact(image, settings)).done;
      } finally {
        await image.close();
      }
      img(kind, ['check', '-q']);
      for (const [i, now] of (await contentOf(kind)).entries())
        assert.ok(now.equals(before[i]), `content ${i} is another one`);
      if (data !== null) assert.ok(readFileSync(path('disk.data')).equals(data), 'the data file has changed');
      const file = readFileSync(path('disk'));
      assert.equal(file.length, plan.after);
      assert.equal(freeClusters(file), 0);
      assert.ok(plan.after < plan.before, 'nothing was won');
      if (kind.beside) {
        run('qemu-img', 'convert', '-O', 'qcow2', '-o', optionsOf(kind), 'disk', 'copy');
        assert.ok(file.length <= statSync(path('copy')).size, 'a copy by qemu-img is shorter');
      }
    });
  }
});
