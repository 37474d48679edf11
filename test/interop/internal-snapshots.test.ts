// Internal snapshots that qemu-img and we make, apply, delete and read in turns, in images of many kinds, beside a model. After each of our steps qemu-img must
// find the image sound.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Graph } from '../../src/block/graph.js';
import type { InternalSnapshots } from '../../src/block/internal-snapshots.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { Random } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';
import { roundUp } from '../../src/util/numbers.js';
import { amendImage } from '../../src/workspace/amend.js';
import { linkTo, readNode } from '../drivers/support.js';
import { requirePeer } from '../support/peers.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { differenceAt, FIRST_SEED, qemuCheck, qemuImg, useBench } from './support.js';

const SEEDS = seedsOf({ first: FIRST_SEED, fixed: 1, soak: 40 });
const STEPS = 16;
const KIB = 1024;

interface Kind {
  options: string;
  sizeKiB: number;
  backing?: boolean;
  compressed?: boolean;
  /** Refcounts may overflow: with many snapshots, or where many compressed clusters lie in one. */
  narrow?: boolean;
}

const KINDS: readonly Kind[] = [
  { options: 'cluster_size=64k', sizeKiB: 4096 },
  { options: 'compat=0.10,cluster_size=4k', sizeKiB: 1024, backing: true },
  { options: 'cluster_size=512', sizeKiB: 100 },
  { options: 'cluster_size=2M,refcount_bits=64', sizeKiB: 9000 },
  { options: 'cluster_size=4k,refcount_bits=2', sizeKiB: 300, narrow: true },
  { options: 'cluster_size=16k,refcount_bits=8,compression_type=zstd', sizeKiB: 1000, compressed: true, narrow: true },
  { options: 'cluster_size=1k,refcount_bits=1', sizeKiB: 200, backing: true, narrow: true },
  { options: 'cluster_size=4k,preallocation=metadata', sizeKiB: 512 },
];

interface Known {
  id: string;
  name: string;
  content: Buffer;
}

describe(`internal snapshots by qemu-img and by us in turns (${spanOf(SEEDS)})`, function () {
  this.timeout(timeLimit(60_000));
  before(function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
  });
  const bench = useBench('internal');

  for (const [index, kind] of KINDS.entries()) {
    it(`${kind.options}${kind.backing ? ', with a backing file' : ''}`, async () => {
      for (const seed of SEEDS) await new Turns(bench, kind, seed + index).run();
    });
  }
});

/** One image, changed by both in turns. */
class Turns {
  readonly #bench: ReturnType<typeof useBench>;
  readonly #kind: Kind;
  readonly #random: Random;
  readonly #seed: number;
  readonly #path: string;
  #content: Buffer;
  /** The image is of version 2. */
  #isOld: boolean;
  #snapshots: Known[] = [];

  constructor(bench: ReturnType<typeof useBench>, kind: Kind, seed: number) {
    this.#bench = bench;
    this.#kind = kind;
    this.#seed = seed;
    this.#random = new Random(seed, 5);
    this.#path = join(bench.folder, 'turns.qcow2');
    this.#content = Buffer.alloc(kind.sizeKiB * KIB);
    this.#isOld = kind.options.startsWith('compat=0.10');
  }

  async run(): Promise<void> {
    const { options, sizeKiB, backing } = this.#kind;
    const base = join(this.#bench.folder, 'base.raw');
    if (backing) {
      qemuImg('create', '-q', '-f', 'raw', base, `${sizeKiB}k`);
      execFileSync('qemu-io', ['-f', 'raw', '-c', `write -P 77 0 ${sizeKiB}k`, base]);
      this.#content.fill(77);
    }
    const over = backing ? ['-b', base, '-F', 'raw'] : [];
    qemuImg('create', '-q', '-f', 'qcow2', '-o', options, ...over, this.#path, `${sizeKiB}k`);
    for (let step = 0; step < STEPS; step++) await this.#step(step);
    await this.#verify();
  }

  async #step(step: number): Promise<void> {
    const random = this.#random;
    const what = random.pick([
      'write',
      'write',
      'write',
      'zero',
      'discard',
      'create',
      'create',
      'apply',
      'delete',
      'resize',
      'amend',
    ] as const);
    const byQemu = random.chance(0.4);
    const where = `seed ${this.#seed}, step ${step}: ${what} by ${byQemu ? 'qemu' : 'us'}`;
    await this.#change(what, byQemu, step);
    const { status, text } = qemuCheck(this.#path);
    // qemu-img leaks where it refuses a snapshot.
    if (status !== 3 || !byQemu) expect(status, `${where}: ${text}`).to.equal(0);
    if (status === 3) qemuImg('check', '-q', '-r', 'leaks', this.#path);
  }

  async #change(what: string, byQemu: boolean, step: number): Promise<void> {
    const random = this.#random;
    const known = this.#snapshots.length > 0 ? random.pick(this.#snapshots) : null;
    switch (what) {
      case 'create': {
        const name = `s${step}`;
        const made = await this.#maybe(
          byQemu,
          () => qemuImg('snapshot', '-c', name, this.#path),
          (snapshots) => snapshots.create({ name }),
        );
        if (made) this.#snapshots.push({ id: await this.#idOf(name), name, content: Buffer.from(this.#content) });
        return;
      }
      case 'apply': {
        if (known === null) return;
        const applied = await this.#maybe(
          byQemu,
          () => qemuImg('snapshot', '-a', known.id, this.#path),
          (snapshots) => snapshots.apply(known.id),
        );
        if (applied) this.#content = Buffer.from(known.content);
        return;
      }
      case 'delete': {
        if (known === null) return;
        if (byQemu) qemuImg('snapshot', '-d', known.name, this.#path);
        else await this.#ours((_, snapshots) => snapshots.remove(known.id));
        this.#snapshots = this.#snapshots.filter((one) => one !== known);
        return;
      }
      case 'resize':
        return this.#resize(byQemu);
      case 'amend':
        return this.#amend(byQemu);
      default:
        return this.#write(what, byQemu, step);
    }
  }

  get #clusterBytes(): number {
    const [, count, unit] = /cluster_size=(\d+)([kM]?)/.exec(this.#kind.options)!;
    return Number(count) * (unit === 'M' ? KIB * KIB : unit === 'k' ? KIB : 1);
  }

  /** False where the width of the refcounts does not allow it. */
  async #maybe(
    byQemu: boolean,
    qemu: () => unknown,
    ours: (snapshots: InternalSnapshots) => Promise<unknown>,
  ): Promise<boolean> {
    try {
      if (byQemu) qemu();
      else await this.#ours((_, snapshots) => ours(snapshots));
      return true;
    } catch (error) {
      if (!this.#kind.narrow || (error instanceof BlockError && error.code !== 'limit')) throw error;
      // qemu-img 7.2 gives the disk the snapshot's size before it refuses to apply it.
      if (byQemu) this.#resized(Number(JSON.parse(qemuImg('info', '--output=json', this.#path))['virtual-size']));
      return false;
    }
  }

  /** To version 2 by us, as qemu-img 7.2 sets copied flags where snapshots share the cluster; back by either. */
  async #amend(byQemu: boolean): Promise<void> {
    if (this.#kind.compressed) return;
    if (!this.#isOld) await this.#ours((node) => amendImage(node, { version: 'v2', 'refcount-bits': 16 }));
    else if (byQemu) qemuImg('amend', '-o', 'compat=1.1', this.#path);
    else await this.#ours((node) => amendImage(node, { version: 'v3', 'refcount-bits': 32 }));
    this.#isOld = !this.#isOld;
  }

  async #resize(byQemu: boolean): Promise<void> {
    if (this.#isOld && this.#snapshots.length > 0) return;
    // Whole clusters: what lies behind the end within one comes to light again where qemu-img makes the disk larger.
    const size = roundUp(this.#random.between(1, this.#kind.sizeKiB * 1.4) * KIB, this.#clusterBytes);
    // qemu-img 7.2 cannot make an image of version 2 larger where its backing file has something there: "Failed to zero out new clusters".
    const refuses = this.#isOld && this.#kind.backing && size > this.#content.length;
    if (byQemu && !refuses) qemuImg('resize', '-q', '--shrink', this.#path, String(size));
    else await this.#ours((node) => node.truncate(size));
    this.#resized(size);
  }

  #resized(size: number): void {
    const content = Buffer.alloc(size);
    this.#content.copy(content);
    this.#content = content;
  }

  async #write(what: string, byQemu: boolean, step: number): Promise<void> {
    const random = this.#random;
    const sectors = this.#content.length / 512;
    const offset = random.below(sectors) * 512;
    const length = Math.min(this.#content.length - offset, random.between(1, sectors / 3 + 1) * 512);
    const value = step + 1;
    if (what === 'discard') {
      if (byQemu) return;
      await this.#ours((node) => node.discard(offset, length));
      // What it reads as afterwards is the format's affair.
      await this.#ours(async (node) => node.read(0, this.#content));
      return;
    }
    const zero = what === 'zero';
    this.#content.fill(zero ? 0 : value, offset, offset + length);
    if (byQemu) {
      const command = zero ? `write -z ${offset} ${length}` : `write -P ${value} ${offset} ${length}`;
      execFileSync('qemu-io', ['-c', command, this.#path]);
    } else if (zero) await this.#ours((node) => node.writeZeroes(offset, length, { mayUnmap: random.chance(0.5) }));
    else if (this.#kind.compressed) await this.#writeCompressed(value);
    else await this.#ours((node) => node.write(offset, Buffer.alloc(length, value)));
  }

  /** All of the disk again, as it is, in compressed clusters. */
  async #writeCompressed(_value: number): Promise<void> {
    const content = Buffer.from(this.#content);
    await this.#ours((node) => node.write(0, content, { compressed: true }));
  }

  async #ours(action: (node: BlockNode, snapshots: InternalSnapshots) => Promise<unknown>): Promise<void> {
    const graph = new Graph(this.#bench.host);
    try {
      const node = await openNode(graph, this.#path, { format: 'qcow2', discard: 'unmap' });
      linkTo(node);
      await action(node, node.abilities.snapshots!);
    } finally {
      await graph.closeAll();
    }
  }

  async #idOf(name: string): Promise<string> {
    const info = JSON.parse(qemuImg('info', '--output=json', this.#path)) as {
      snapshots: { id: string; name: string }[];
    };
    return info.snapshots.find((one) => one.name === name)!.id;
  }

  /** Both read the same of the disk and of each snapshot. */
  async #verify(): Promise<void> {
    const raw = join(this.#bench.folder, 'out.raw');
    const expectSame = (got: Buffer, wanted: Buffer, what: string): void => {
      expect(got.length, `seed ${this.#seed}: size of ${what}`).to.equal(wanted.length);
      expect(differenceAt(got, wanted), `seed ${this.#seed}: ${what}`).to.equal(-1);
    };
    qemuImg('convert', '-O', 'raw', this.#path, raw);
    expectSame(readFileSync(raw), this.#content, 'the disk by qemu');
    expectSame(await this.#read(), this.#content, 'the disk by us');
    for (const { id, content } of this.#snapshots) {
      qemuImg('convert', '-l', `snapshot.id=${id}`, '-O', 'raw', this.#path, raw);
      // qemu-img gives it the size that the disk has now.
      const size = Math.min(content.length, this.#content.length);
      expectSame(readFileSync(raw).subarray(0, size), content.subarray(0, size), `snapshot ${id} by qemu`);
      expectSame(await this.#read(id), content, `snapshot ${id} by us`);
    }
  }

  async #read(id?: string): Promise<Buffer> {
    const graph = new Graph(this.#bench.host);
    try {
      const snapshot = id === undefined ? undefined : { id };
      const node = await openNode(graph, this.#path, { format: 'qcow2', readOnly: true, snapshot });
      const content = Buffer.alloc(node.length);
      await readNode(node, 0, content);
      return content;
    } finally {
      await graph.closeAll();
    }
  }
}
