// Compact, of images that qemu-img and qemu-io have made from a seed: versions, cluster sizes, widths of refcounts, backing files, internal snapshots, bitmaps, compressed
// and encrypted clusters. QEMU finds no error afterwards, the disk, each snapshot and each bitmap are as before, and the file is as long as the dry run has said.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '../../src/host/sim/index.js';
import { type Image, openRealHost, Workspace } from '../../src/index.js';
import { requirePeer } from '../support/peers.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';

const SEEDS = seedsOf({ fixed: 4, daily: 1, soak: 400 });
const SECRET = 'secret,id=sec0,data=astrochicken';

interface Shape {
  version: 2 | 3;
  clusterBytes: number;
  size: number;
  refcountBits: number;
  extended: boolean;
  lazy: boolean;
  encrypted: boolean;
  backing: boolean;
  snapshots: number;
  bitmaps: number;
  compressed: boolean;
  dedupe: boolean;
}

function shapeOf(random: Random): Shape {
  const pick = <T>(...values: readonly T[]): T => values[random.below(values.length)];
  const version = pick<2 | 3>(3, 3, 3, 2);
  const clusterBytes = pick(512, 512, 4096, 16384, 65536, 2 << 20);
  const refcountBits = version === 2 ? 16 : pick(1, 2, 4, 8, 16, 16, 32, 64);
  const backing = pick(true, false);
  const encrypted = version === 3 && pick(true, false, false, false);
  return {
    version,
    clusterBytes,
    size: clusterBytes === 512 ? 3 << 20 : clusterBytes > 65536 ? 40 << 20 : clusterBytes * 300,
    refcountBits,
    extended: version === 3 && clusterBytes >= 16384 && pick(true, false),
    lazy: version === 3 && pick(true, false, false),
    encrypted,
    backing,
    snapshots: refcountBits === 1 ? 0 : Math.min(pick(0, 0, 1, 2, 3), 2 ** refcountBits - 2),
    bitmaps: version === 3 ? pick(0, 0, 1, 2) : 0,
    compressed: !encrypted && pick(true, false),
    dedupe: backing && pick(true, false),
  };
}

describe(`compact (${spanOf(SEEDS)})`, function () {
  this.timeout(timeLimit(60_000));
  let folder: string;
  let workspace: Workspace;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    folder = mkdtempSync(join(tmpdir(), 'diskwright-compact-'));
    workspace = new Workspace(await openRealHost());
    await workspace.addObject(SECRET);
  });
  after(async () => {
    await workspace?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const run = (program: string, ...words: string[]): string =>
    execFileSync(program, words, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const named = (shape: Shape, name: string): string =>
    `driver=qcow2,file.filename=${name}${shape.encrypted ? ',encrypt.key-secret=sec0' : ''}`;
  const io = (shape: Shape, ...commands: string[]): string =>
    run(
      'qemu-io',
      '-t',
      'unsafe',
      '--object',
      SECRET,
      '--image-opts',
      ...commands.flatMap((one) => ['-c', one]),
      named(shape, 'disk'),
    );

  /** Commands of a guest that leave holes, zeroes, and the backing file's content behind. */
  function guest(random: Random, { size, clusterBytes, compressed }: Shape, count: number): string[] {
    const commands: string[] = [];
    for (let i = 0; i < count; i++) {
      const long = Math.min(size, clusterBytes * random.between(1, 24));
      const at = random.below(Math.floor((size - long) / 512) + 1) * 512;
      const [whole, length] = [at - (at % clusterBytes), Math.min(long, 1 << 20)];
      switch (random.below(9)) {
        case 0:
          commands.push(`discard ${at} ${long}`);
          break;
        case 1:
          commands.push(`write -q -z ${random.below(2) === 0 ? '-u ' : ''}${at} ${length}`);
          break;
        case 2:
          commands.push(`write -q -P 0 ${whole} ${length}`);
          break;
        case 3:
          commands.push(`write -q -P 170 ${whole} ${length}`);
          break;
        case 4:
        case 5:
          if (compressed && whole + clusterBytes <= size) {
            // Of a file of noise, so that the data does not become very short.
            const noisy = Math.max(clusterBytes, length - (length % clusterBytes));
            if (whole + noisy <= size) commands.push(`write -q -c -s noise ${whole} ${noisy}`);
            break;
          }
          commands.push(`write -q -s noise ${at} ${length}`);
          break;
        default:
          commands.push(`write -q -P ${random.between(1, 255)} ${at} ${length}`);
      }
    }
    return commands;
  }

  function make(random: Random, shape: Shape): void {
    for (const name of ['disk', 'before', 'base']) rmSync(join(folder, name), { force: true });
    const noise = new Uint8Array(64 << 10);
    for (let i = 0; i < noise.length; i++) noise[i] = random.below(16) * (random.below(3) + 1);
    writeFileSync(join(folder, 'noise'), noise);
    writeFileSync(join(folder, 'base'), new Uint8Array(shape.size - shape.clusterBytes * 3).fill(170));
    const options = [
      `compat=${shape.version === 3 ? '1.1' : '0.10'},cluster_size=${shape.clusterBytes}`,
      ...(shape.version === 3
        ? [
            `refcount_bits=${shape.refcountBits},lazy_refcounts=${shape.lazy ? 'on' : 'off'},extended_l2=${shape.extended ? 'on' : 'off'}`,
          ]
        : []),
      ...(shape.encrypted ? ['encrypt.format=luks,encrypt.key-secret=sec0,encrypt.iter-time=10'] : []),
    ].join(',');
    const backing = shape.backing ? ['-b', 'base', '-F', 'raw'] : [];
    run(
      'qemu-img',
      'create',
      '--object',
      SECRET,
      '-q',
      '-f',
      'qcow2',
      ...backing,
      '-o',
      options,
      'disk',
      `${shape.size}`,
    );
    for (let i = 0; i < shape.bitmaps; i++) {
      run(
        'qemu-img',
        'bitmap',
        '--object',
        SECRET,
        '--image-opts',
        '--add',
        '-g',
        i === 0 ? '512' : '65536',
        named(shape, 'disk'),
        `bits${i}`,
      );
    }
    // What cannot be (compressed data where data is, a refcount that would overflow) is not made.
    const attempt = (action: () => void): void => {
      try {
        action();
      } catch (error) {
        if ((error as { status?: unknown }).status !== 1) throw error;
      }
    };
    const snapshot = (what: string, name: string): void =>
      attempt(() => run('qemu-img', 'snapshot', '--object', SECRET, '--image-opts', what, name, named(shape, 'disk')));
    for (let i = 0; i < shape.snapshots; i++) {
      attempt(() => io(shape, ...guest(random, shape, 12)));
      snapshot('-c', `snap${i}`);
    }
    attempt(() => io(shape, ...guest(random, shape, 30)));
    if (shape.snapshots > 1) snapshot('-d', 'snap0');
    copyFileSync(join(folder, 'disk'), join(folder, 'before'));
  }

  const open = (shape: Shape, name: string, readOnly: boolean): Promise<Image> =>
    workspace.open(
      {
        driver: 'qcow2',
        file: { driver: 'file', filename: join(folder, name) },
        ...(shape.encrypted && { encrypt: { format: 'luks', 'key-secret': 'sec0' } }),
      },
      { readOnly },
    );

  async function bitsOf(shape: Shape, name: string): Promise<string> {
    const image = await open(shape, name, true);
    try {
      return JSON.stringify(image.bitmaps.map((bitmap) => [bitmap.name, bitmap.granularity, [...bitmap.runs()]]));
    } finally {
      await image.close();
    }
  }

  /** `qemu-img check` finds nothing but lost space. */
  function isSound(shape: Shape): boolean {
    try {
      run('qemu-img', 'check', '-q', '--object', SECRET, '--image-opts', named(shape, 'disk'));
      return true;
    } catch (error) {
      return (error as { status?: unknown }).status === 3;
    }
  }

  function snapshotsIn(shape: Shape, name: string): { name: string }[] {
    const words = ['info', '--object', SECRET, '--output=json', '--image-opts', named(shape, name)];
    return (JSON.parse(run('qemu-img', ...words)) as { snapshots?: { name: string }[] }).snapshots ?? [];
  }

  function compare(shape: Shape): void {
    const pair = [named(shape, 'before'), named(shape, 'disk')];
    run('qemu-img', 'compare', '-q', '--object', SECRET, '--image-opts', ...pair);
    const snapshots = snapshotsIn(shape, 'disk');
    assert.deepEqual(snapshots, snapshotsIn(shape, 'before'));
    for (const { name } of snapshots) {
      for (const of of ['before', 'disk']) {
        run(
          'qemu-img',
          'convert',
          '--object',
          SECRET,
          '--image-opts',
          '-O',
          'raw',
          '-l',
          name,
          named(shape, of),
          `${of}.raw`,
        );
      }
      const same = readFileSync(join(folder, 'before.raw')).equals(readFileSync(join(folder, 'disk.raw')));
      assert.ok(same, `snapshot ${name} reads otherwise`);
    }
  }

  for (const seed of SEEDS) {
    it(`keeps all that an image has, seed ${seed}`, async () => {
      const random = new Random(seed);
      const shape = shapeOf(random);
      const told = JSON.stringify(shape);
      make(random, shape);
      // QEMU may have made errors where a snapshot failed.
      const sound = isSound(shape);
      const settings = { dedupeBacking: shape.dedupe };
      const looked = await open(shape, 'disk', true);
      const planned = workspace.planCompact(looked, settings).finally(() => looked.close());
      if (!sound) return assert.rejects(planned, { code: 'corrupt-image' });
      const plan = await planned;
      assert.deepEqual(
        readFileSync(join(folder, 'disk')),
        readFileSync(join(folder, 'before')),
        'a dry run has written',
      );
      const image = await open(shape, 'disk', false);
      try {
        await (await workspace.compact(image, settings)).done;
      } finally {
        await image.close();
      }
      try {
        run('qemu-img', 'check', '-q', '--object', SECRET, '--image-opts', named(shape, 'disk'));
        compare(shape);
        assert.equal(await bitsOf(shape, 'disk'), await bitsOf(shape, 'before'));
        assert.equal(Math.ceil(statSync(join(folder, 'disk')).size / 512) * 512, plan.after);
        const again = await open(shape, 'disk', true);
        const rest = await workspace.planCompact(again, settings).finally(() => again.close());
        assert.equal(rest.dropped, 0);
        // It goes on as an image that is used.
        io({ ...shape }, ...guest(random, { ...shape, compressed: false }, 5));
        run('qemu-img', 'check', '-q', '--object', SECRET, '--image-opts', named(shape, 'disk'));
      } catch (error) {
        throw new Error(`${told}: ${(error as Error).message}${(error as { stdout?: string }).stdout ?? ''}`, {
          cause: error,
        });
      }
    });
  }
});
