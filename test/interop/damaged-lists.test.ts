// Damaged tables of snapshots and of bitmaps: a repair of `all` keeps what can be read, gives up the rest, and leaves what qemu-img calls sound. Where power
// loss cuts it off, at any request, another one does the same. qemu-img 7.2 repairs some tables of snapshots, and none of bitmaps: it does not open these images.

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { createSimHost, type SimHost, SimPowerLoss } from '../../src/host/sim/index.js';
import { addStoredBitmap } from '../../src/workspace/bitmap.js';
import { repairImage } from '../../src/workspace/check.js';
import { createAt, makeFixture, openAt, PATH } from '../drivers/qcow2/bench.js';
import { failureOf, readNode } from '../drivers/support.js';
import { requirePeer } from '../support/peers.js';
import { useBench } from './support.js';

const CLUSTER = 4096;
const SIZE = 64 * CLUSTER;
/** Of one kind of damage each request that is the first, sixth, ...; of the next one the second, seventh, ... */
const STRIDE = 5;
const FAR = 2n ** 40n;

/** What is in an image: the first byte of the disk, and of each snapshot, by name; the dirty bytes of each bitmap. */
interface Content {
  disk: number;
  snapshots: Record<string, number>;
  bitmaps: Record<string, number>;
}

const WHOLE: Content = {
  disk: 4,
  snapshots: { s0: 1, s1: 2, s2: 3 },
  bitmaps: { b0: CLUSTER, b1: CLUSTER, b2: CLUSTER },
};

/** Offsets in an image. */
class Places {
  readonly image: Buffer;
  constructor(image: Buffer) {
    this.image = image;
  }

  at(offset: number): number {
    return Number(this.image.readBigUInt64BE(offset));
  }

  /** Entry of snapshot `index`. */
  snapshot(index: number): number {
    const { image } = this;
    let at = this.at(64);
    for (let i = 0; i < index; i++) {
      const length = 40 + image.readUInt16BE(at + 12) + image.readUInt16BE(at + 14) + image.readUInt32BE(at + 36);
      at += Math.ceil(length / 8) * 8;
    }
    return at;
  }

  /** Data of the bitmaps extension. */
  get extension(): number {
    const { image } = this;
    let at = image.readUInt32BE(100);
    while (image.readUInt32BE(at) !== 0x2385_2875) at += 8 + Math.ceil(image.readUInt32BE(at + 4) / 8) * 8;
    return at + 8;
  }

  /** Entry of bitmap `index`; all have names of two bytes. */
  bitmap(index: number): number {
    return this.at(this.extension + 16) + 32 * index;
  }
}

type Damage = [what: string, damage: (image: Buffer, places: Places) => void, left: Partial<Content>];

const without = (name: string): Partial<Content> =>
  name.startsWith('s')
    ? { snapshots: Object.fromEntries(Object.entries(WHOLE.snapshots).filter(([key]) => key !== name)) }
    : { bitmaps: Object.fromEntries(Object.entries(WHOLE.bitmaps).filter(([key]) => key !== name)) };

const DAMAGES: Damage[] = [
  ['more snapshots than there are', (image) => image.writeUInt32BE(5, 60), {}],
  ['far more snapshots', (image) => image.writeUInt32BE(65_537, 60), {}],
  ['a snapshot table outside of the file', (image) => image.writeBigUInt64BE(FAR, 64), { snapshots: {} }],
  [
    'too much extra data in the last entry',
    (image, p) => image.writeUInt32BE(5000, p.snapshot(2) + 36),
    { snapshots: { s0: 1, s1: 2, '\0\0': 3 } },
  ],
  ['an L1 table that is not aligned', (image, p) => image.writeBigUInt64BE(1024n, p.snapshot(1)), without('s1')],
  ['an L1 table outside of the file', (image, p) => image.writeBigUInt64BE(FAR, p.snapshot(1)), without('s1')],
  ['an L1 table in the header', (image, p) => image.writeBigUInt64BE(0n, p.snapshot(1)), without('s1')],
  ['an L1 table with too many entries', (image, p) => image.writeUInt32BE(0xffff_ffff, p.snapshot(1) + 8), {}],
  ['an L1 table that ends outside of the file', (image, p) => image.writeUInt32BE(100_000, p.snapshot(1) + 8), {}],
  [
    'an L1 table that two snapshots share',
    (image, p) => image.writeBigUInt64BE(BigInt(p.at(p.snapshot(0))), p.snapshot(1)),
    { snapshots: { s0: 1, s1: 1, s2: 3 } },
  ],
  ['more bitmaps than there are', (image, p) => image.writeUInt32BE(5, p.extension), {}],
  ['fewer bitmaps than there are', (image, p) => image.writeUInt32BE(1, p.extension), {}],
  ['no bitmaps at all', (image, p) => image.writeUInt32BE(0, p.extension), { bitmaps: {} }],
  ['a directory outside of the file', (image, p) => image.writeBigUInt64BE(FAR, p.extension + 16), { bitmaps: {} }],
  ['a directory that is not aligned', (image, p) => image.writeUInt8(8, p.extension + 23), { bitmaps: {} }],
  ['a directory that is too long', (image, p) => image.writeBigUInt64BE(1n << 24n, p.extension + 8), {}],
  ['a bitmap of another type', (image, p) => image.writeUInt8(9, p.bitmap(1) + 16), without('b1')],
  ['a granularity that nobody knows', (image, p) => image.writeUInt8(3, p.bitmap(1) + 17), without('b1')],
  ['reserved flags', (image, p) => image.writeUInt32BE(0x80, p.bitmap(1) + 12), without('b1')],
  ['a bitmap table outside of the file', (image, p) => image.writeBigUInt64BE(FAR, p.bitmap(1)), without('b1')],
  ['a bitmap table of another length', (image, p) => image.writeUInt32BE(7, p.bitmap(1) + 8), without('b1')],
  ['bits outside of the file', (image, p) => image.writeBigUInt64BE(FAR, p.at(p.bitmap(1))), without('b1')],
  ['a bitmap table with reserved bits', (image, p) => image.writeUInt8(6, p.at(p.bitmap(1)) + 7), without('b1')],
];

async function makeImage(): Promise<Buffer> {
  const fixture = makeFixture();
  await createAt(fixture, { size: SIZE, 'cluster-size': CLUSTER });
  const node = await openAt(fixture);
  for (const name of ['b0', 'b1', 'b2']) await addStoredBitmap(node, name, { persistent: true, granularity: CLUSTER });
  for (let i = 1; i <= 3; i++) {
    await node.write(0, Buffer.alloc(CLUSTER, i));
    await node.abilities.snapshots!.create({ name: `s${i - 1}` });
  }
  await node.write(0, Buffer.alloc(CLUSTER, 4));
  await fixture.graph.closeAll();
  return Buffer.from(fixture.host.readFile(PATH));
}

async function contentOf(host: SimHost): Promise<Content> {
  const graph = new Graph(host, { warn: () => undefined });
  const byte = Buffer.alloc(512);
  const node = await openNode(graph, PATH, { format: 'qcow2', readOnly: true });
  await readNode(node, 0, byte);
  const content: Content = { disk: byte[0], snapshots: {}, bitmaps: {} };
  for (const [name, bitmap] of node.bitmaps) content.bitmaps[name] = bitmap.dirtyBytes;
  const list = node.abilities.snapshots!.list();
  await graph.release(node);
  for (const { name } of list) {
    const shown = await openNode(graph, PATH, { format: 'qcow2', readOnly: true, snapshot: { name } });
    await readNode(shown, 0, byte);
    content.snapshots[name] = byte[0];
    await graph.release(shown);
  }
  await graph.closeAll();
  return content;
}

async function repair(host: SimHost, kind: 'all' | 'leaks' = 'all'): Promise<number[]> {
  const graph = new Graph(host, { warn: () => undefined });
  try {
    const { result } = await repairImage(graph, PATH, kind, { format: 'qcow2' }, () => undefined);
    return [
      result.before.corruptions > 0 ? 1 : 0,
      result.after.corruptions,
      result.after.leaks,
      result.after.checkErrors,
    ];
  } finally {
    await graph.closeAll();
  }
}

describe('repair of the tables of snapshots and bitmaps', function () {
  this.timeout(60_000);
  const bench = useBench('damaged-lists');
  let whole: Buffer;

  before(async function () {
    requirePeer(this, 'qemu-img');
    whole = await makeImage();
  });

  function damaged(damage: Damage[1]): Buffer {
    const image = Buffer.from(whole);
    damage(image, new Places(image));
    return image;
  }

  for (const [index, [what, damage, left]] of DAMAGES.entries()) {
    it(`${what}: keeps the rest, also where it is cut off`, async () => {
      const image = damaged(damage);
      const expected = { ...WHOLE, ...left };
      const host = createSimHost();
      host.writeFile(PATH, image);
      expect(await repair(host)).to.deep.equal([1, 0, 0, 0]);
      expect(await contentOf(host)).to.deep.equal(expected);
      const path = join(bench.folder, 'repaired.qcow2');
      writeFileSync(path, host.readFile(PATH));
      const check = spawnSync('qemu-img', ['check', path], { encoding: 'utf8' });
      expect(check.status, check.stdout + check.stderr).to.equal(0);
      for (let cut = 1 + (index % STRIDE); ; cut += STRIDE) {
        const cutOff = createSimHost({ seed: cut });
        cutOff.writeFile(PATH, image);
        cutOff.setFaults({ powerLossAt: cutOff.requests + cut });
        const lost = await cutOff
          .run(() => repair(cutOff))
          .then(
            () => false,
            (error) => {
              if (error instanceof SimPowerLoss) return true;
              throw error;
            },
          );
        if (!lost) break;
        const after = cutOff.crash({ eager: true });
        const [, ...rest] = await repair(after);
        expect(rest, `cut at ${cut}`).to.deep.equal([0, 0, 0]);
        expect(await contentOf(after), `cut at ${cut}`).to.deep.equal(expected);
      }
    });
  }

  it('gives nothing up where only leaks are to be repaired', async () => {
    for (const [what, damage] of DAMAGES) {
      const host = createSimHost();
      host.writeFile(PATH, damaged(damage));
      const before = host.readFile(PATH);
      const graph = new Graph(host);
      const opens = await openNode(graph, PATH, { format: 'qcow2', readOnly: true }).then(
        () => true,
        () => false,
      );
      await graph.closeAll();
      if (opens) continue;
      expect((await failureOf(repair(host, 'leaks'))).code, what).to.equal('invalid-image');
      expect(Buffer.compare(host.readFile(PATH), before), what).to.equal(0);
    }
  });
});
