// The two region tables of VHDX images, one of which is broken: what a check finds, and what a repair leaves, also one that is broken off.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { createImage } from '../../../src/block/create.js';
import { Graph } from '../../../src/block/graph.js';
import { openNode } from '../../../src/block/open.js';
import { HEADER_OFFSETS, REGION_TABLE_OFFSETS, seal } from '../../../src/drivers/formats/vhdx/header.js';
import { type SimHost, SimPowerLoss } from '../../../src/host/sim/index.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { toBlockError } from '../../../src/util/errors.js';
import { checkImage, repairImage } from '../../../src/workspace/check.js';
import { encodeDifference, makeParent } from '../../formats/vhdx/differencing.js';
import { MIB, withLog } from '../../formats/vhdx/images.js';
import { type Bench, makeBench, readNode, used } from '../support.js';

const PATH = '/image';
const OPTIONS: BlockdevOptions = { driver: 'vhdx', file: { driver: 'file', filename: PATH } };
const TABLE_BYTES = 64 << 10;
const BLOCK_TABLE = 2 * MIB;
const FILE_GUID = 16;
const DISK_GUID = 32;

type Image = Buffer<ArrayBuffer>;
const imageOf = (host: SimHost): Image => Buffer.from(host.readFile(PATH));
const tableOf = (image: Image, index: number): Image =>
  image.subarray(REGION_TABLE_OFFSETS[index], REGION_TABLE_OFFSETS[index] + TABLE_BYTES);

/** Of the header that counts. */
function guidOf(image: Image, field: number): string {
  const [first, second] = HEADER_OFFSETS.map((offset) => image.readBigUInt64LE(offset + 8));
  const at = HEADER_OFFSETS[second > first ? 1 : 0] + field;
  return image.toString('hex', at, at + 16);
}

/** What may have become of a table. */
const DAMAGES: Readonly<Record<string, (table: Image) => unknown>> = {
  'an entry is overwritten': (table) => table.write('junk', 0x14, 'latin1'),
  'the signature is overwritten': (table) => table.write('junk', 0, 'latin1'),
  'the checksum is overwritten': (table) => table.writeUInt32LE(1, 4),
  'the end is overwritten': (table) => table.write('junk', TABLE_BYTES - 4, 'latin1'),
  'there are only zeroes': (table) => table.fill(0),
};

function otherPlace(table: Image): void {
  table.writeBigUInt64LE(BigInt(64 * MIB), 32);
  seal(table);
}

/** An image of four blocks, of which the second is full of the byte 5; `change` is called with its bytes. */
async function made(change: (image: Image) => Image): Promise<Bench> {
  const bench = makeBench();
  await createImage(bench.graph, PATH, { driver: 'vhdx', size: 4 * MIB, 'block-size': MIB });
  const node = await used(openNode(bench.graph, OPTIONS));
  await node.write(MIB, new Uint8Array(MIB).fill(5));
  await bench.graph.closeAll();
  const image = imageOf(bench.host);
  bench.host.writeFile(PATH, change(image));
  return bench;
}

const damaged = (index: number, damage: (table: Image) => unknown): Promise<Bench> =>
  made((image) => {
    damage(tableOf(image, index));
    return image;
  });

async function found(host: SimHost): Promise<{ corruptions: number; findings: string[] }> {
  const findings: string[] = [];
  const { result } = await checkImage(new Graph(host), OPTIONS, {}, ({ kind, index, reason }) =>
    findings.push([kind, index, reason].join(' ').trim()),
  );
  return { corruptions: result.corruptions, findings };
}

async function repaired(host: SimHost, kind: 'leaks' | 'all'): Promise<[before: number, after: number]> {
  const { result } = await repairImage(new Graph(host), OPTIONS, kind, {}, () => undefined);
  return [result.before.corruptions, result.after.corruptions];
}

async function content(host: SimHost): Promise<number[]> {
  const graph = new Graph(host);
  const node = await openNode(graph, OPTIONS, { readOnly: true });
  const bytes = new Uint8Array(4 * MIB);
  await readNode(node, 0, bytes);
  await graph.closeAll();
  return [0, 1, 2, 3].map((block) => {
    const part = bytes.subarray(block * MIB, (block + 1) * MIB);
    expect(Buffer.alloc(MIB, part[0]).equals(part)).to.equal(true);
    return part[0];
  });
}

const CONTENT = [0, 5, 0, 0];

describe('vhdx: a region table that is not as the other one', () => {
  for (const index of [0, 1]) {
    for (const [what, damage] of Object.entries(DAMAGES)) {
      it(`is found, and gets what the other one says: the ${index === 0 ? 'first' : 'second'}, where ${what}`, async () => {
        const { host } = await damaged(index, damage);
        const before = imageOf(host);
        const wrong = { corruptions: 1, findings: [`vhdx-region-table ${index} broken`] };
        expect(await found(host)).to.deep.equal(wrong);
        expect(await repaired(host, 'leaks')).to.deep.equal([1, 1]);
        expect(imageOf(host).equals(before)).to.equal(true);
        expect(await repaired(host, 'all')).to.deep.equal([1, 0]);
        const after = imageOf(host);
        expect(tableOf(after, index).equals(tableOf(before, 1 - index))).to.equal(true);
        expect(tableOf(after, 1 - index).equals(tableOf(before, 1 - index))).to.equal(true);
        // The file has changed, the disk has not: images over it still know it.
        expect(guidOf(after, FILE_GUID)).to.not.equal(guidOf(before, FILE_GUID));
        expect(guidOf(after, DISK_GUID)).to.equal(guidOf(before, DISK_GUID));
        expect(await found(host)).to.deep.equal({ corruptions: 0, findings: [] });
        expect(await content(host)).to.deep.equal(CONTENT);
      });
    }
  }

  it('is found, and gets what the first one says, where the second is valid and has other entries', async () => {
    const { host } = await damaged(1, otherPlace);
    expect(await found(host)).to.deep.equal({ corruptions: 1, findings: ['vhdx-region-table 1 other'] });
    expect(await repaired(host, 'all')).to.deep.equal([1, 0]);
    const after = imageOf(host);
    expect(tableOf(after, 0).equals(tableOf(after, 1))).to.equal(true);
    expect(await content(host)).to.deep.equal(CONTENT);
  });

  it('is none where only what no entry says is other', async () => {
    const { host } = await damaged(1, (table) => {
      table.write('rest', TABLE_BYTES - 4, 'latin1');
      seal(table);
    });
    expect(await found(host)).to.deep.equal({ corruptions: 0, findings: [] });
  });

  it('keeps nobody from writing, and is still found then', async () => {
    const { host } = await damaged(0, DAMAGES['an entry is overwritten']);
    const graph = new Graph(host);
    const node = await used(openNode(graph, OPTIONS));
    await node.write(3 * MIB, new Uint8Array(MIB).fill(7));
    await graph.closeAll();
    expect((await found(host)).findings).to.deep.equal(['vhdx-region-table 0 broken']);
    expect(await content(host)).to.deep.equal([0, 5, 0, 7]);
  });

  it('is mended beside a log and entries that point nowhere', async () => {
    const { host } = await made((image) => {
      const table = Uint8Array.from(image.subarray(BLOCK_TABLE, BLOCK_TABLE + 4096));
      // Block 2 is said to lie far behind the end of the file.
      new DataView(table.buffer).setBigUint64(16, BigInt(512 * MIB) | 6n, true);
      DAMAGES['an entry is overwritten'](tableOf(image, 0));
      return withLog(image, BLOCK_TABLE, table);
    });
    const { corruptions, findings } = await found(host);
    expect([corruptions, findings.map((text) => text.split(' ')[0])]).to.deep.equal([
      3,
      ['vhdx-log', 'vhdx-region-table', 'vhdx-start-outside'],
    ]);
    expect(await repaired(host, 'all')).to.deep.equal([3, 0]);
    expect(await content(host)).to.deep.equal(CONTENT);
  });

  it('is found in a differencing image', async () => {
    const bench = makeBench();
    const parent_linkage = await makeParent(bench, '/parent.vhdx', 4 * MIB, MIB);
    const texts = { parent_linkage, relative_path: '.\\parent.vhdx' };
    const image = Buffer.from(encodeDifference({ size: 4 * MIB, texts, blocks: new Map() }));
    DAMAGES['there are only zeroes'](tableOf(image, 1));
    bench.host.writeFile(PATH, image);
    expect(await found(bench.host)).to.deep.equal({ corruptions: 1, findings: ['vhdx-region-table 1 broken'] });
  });

  for (const index of [0, 1]) {
    /** One table is right, whatever the other one is, and a repair that is done again completes it. */
    const expectWhole = async (host: SimHost, right: Image, what: string): Promise<void> => {
      expect(tableOf(imageOf(host), 1 - index).equals(right), what).to.equal(true);
      expect(await content(host), what).to.deep.equal(CONTENT);
      expect((await repaired(host, 'all'))[1], what).to.equal(0);
      expect(tableOf(imageOf(host), index).equals(right), what).to.equal(true);
      expect(await found(host), what).to.deep.equal({ corruptions: 0, findings: [] });
      expect(await content(host), what).to.deep.equal(CONTENT);
    };

    it(`is mended, the ${index === 0 ? 'first' : 'second'}, also after a loss of power at every request of a repair`, async () => {
      const { host: start } = await damaged(index, DAMAGES['an entry is overwritten']);
      const right = Buffer.from(tableOf(imageOf(start), 1 - index));
      const states = new Set<boolean>();
      for (let n = 1; ; n++) {
        const host = start.fork({ seed: n * 7 });
        host.setFaults({ powerLossAt: host.requests + n });
        const end = await host.run(repaired(host, 'all')).catch((error: unknown) => error);
        if (!(end instanceof Error)) {
          // What was said to be mended is on the disk.
          expect(tableOf(imageOf(host.crash({ eager: true })), index).equals(right)).to.equal(true);
          break;
        }
        expect(end, `request ${n}`).to.be.instanceOf(SimPowerLoss);
        const after = host.crash({ eager: true });
        states.add(tableOf(imageOf(after), index).equals(right));
        await after.run(expectWhole(after, right, `power loss at request ${n}`));
      }
      expect([...states]).to.have.members([false, true]);
    });

    it(`is on the disk once it is mended, the ${index === 0 ? 'first' : 'second'}, and the other one is not written`, async () => {
      const { host: start } = await damaged(index, DAMAGES['an entry is overwritten']);
      const right = Buffer.from(tableOf(imageOf(start), 1 - index));
      const counting = REGION_TABLE_OFFSETS[1 - index];
      for (const seed of [1, 2, 3, 4]) {
        const writes: number[] = [];
        const host = start.fork({
          seed,
          onRequest: ({ operation, offset }) => {
            if (operation === 'write') writes.push(offset);
            return undefined;
          },
        });
        await host.run(
          (async () => {
            const node = await openNode(new Graph(host), OPTIONS, { readOnly: false, forRepair: true });
            await node.abilities.repair!('all', () => undefined);
          })(),
        );
        expect(writes).to.include(REGION_TABLE_OFFSETS[index]);
        expect(writes.filter((at) => at >= counting && at < counting + TABLE_BYTES)).to.deep.equal([]);
        // The image is not closed: nothing else has flushed.
        expect(tableOf(imageOf(host.crash({ eager: true })), index).equals(right)).to.equal(true);
      }
    });

    for (const errno of ['EIO', 'ENOSPC']) {
      it(`is mended, the ${index === 0 ? 'first' : 'second'}, also after ${errno} at every call of a repair`, async () => {
        const { host: start } = await damaged(index, DAMAGES['an entry is overwritten']);
        const right = Buffer.from(tableOf(imageOf(start), 1 - index));
        let failures = 0;
        for (let n = 1, hit = true; hit; n++) {
          hit = false;
          let seen = 0;
          const host = start.fork({
            onRequest: ({ operation }) => {
              if (errno === 'ENOSPC' && operation !== 'write') return undefined;
              if (++seen !== n) return undefined;
              hit = true;
              return { errno };
            },
          });
          const error = await host.run(repaired(host, 'all')).then(() => null, toBlockError);
          if (error !== null) {
            failures++;
            expect(error.code, `${errno} at call ${n}`).to.be.oneOf(['io', 'no-space']);
          }
          const after = host.fork({ eager: true, onRequest: undefined });
          await after.run(expectWhole(after, right, `${errno} at call ${n}`));
        }
        expect(failures).to.be.greaterThan(1);
      });
    }
  }
});

describe('vhdx: a header with a wrong checksum', () => {
  // The first one counts in this image; the other one is the one before, by which the last change is still in the log.
  for (const [index, findings] of [
    [0, ['vhdx-log']],
    [1, []],
  ] as const) {
    it(`is what a loss of power leaves: no finding itself, and whole after the next change (header ${index + 1})`, async () => {
      const at = HEADER_OFFSETS[index];
      const { host } = await made((image) => {
        image.write('junk', at + 100, 'latin1');
        return image;
      });
      expect(await found(host)).to.deep.equal({ corruptions: findings.length, findings });
      expect(await content(host)).to.deep.equal(CONTENT);
      const graph = new Graph(host);
      const node = await used(openNode(graph, OPTIONS));
      await node.write(0, new Uint8Array(MIB).fill(1));
      await graph.closeAll();
      const header = imageOf(host).subarray(at, at + 4096);
      const sealed = Buffer.from(header);
      seal(sealed);
      expect(sealed.equals(header)).to.equal(true);
      expect(await content(host)).to.deep.equal([1, 5, 0, 0]);
    });
  }
});
