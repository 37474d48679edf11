// Deltas of refcounts, by the addon's code and by that in TypeScript, against a model that knows one number for each cluster: long runs that are alike beside mixed
// ones.
import { expect } from 'chai';
import type { Qcow2Image } from '../../../src/drivers/formats/qcow2/image.js';
import { PointerTable } from '../../../src/drivers/formats/qcow2/pointer-table.js';
import { getRefcount, setRefcount } from '../../../src/drivers/formats/qcow2/refcount-codec.js';
import { RefcountDeltas } from '../../../src/drivers/formats/qcow2/refcount-deltas.js';
import { TableMath } from '../../../src/drivers/formats/qcow2/table-math.js';
import { type ClusterIndex, type HostOffset, makeGeometry } from '../../../src/drivers/formats/qcow2/types.js';
import type { Host } from '../../../src/host/host.js';
import { openRealHost } from '../../../src/host/real/index.js';
import { createSimHost, Random } from '../../../src/host/sim/index.js';
import { viewOf } from '../../../src/util/bytes.js';
import { BlockError } from '../../../src/util/errors.js';

const BLOCKS = 3;

describe("qcow2: deltas of refcounts by the addon's code", () => deltaTests(() => openRealHost()));
describe('qcow2: deltas of refcounts without the addon', () => deltaTests(() => createSimHost({ seed: 1 })));

function deltaTests(open: () => Host): void {
  let host: Host;
  before(() => {
    host = open();
  });
  after(() => host.close());

  for (const order of [0, 1, 2, 3, 4, 5, 6]) {
    it(`settle as one by one (${2 ** order} bits)`, () => {
      const random = new Random(20261128 + order);
      const geometry = makeGeometry(3, 13, order);
      const { blockEntries, clusterSize, refcountMax } = geometry;
      const count = BLOCKS * blockEntries;
      const image = {
        geometry,
        memory: host.memory,
        math: new TableMath(host.memory),
        error: (code: 'limit', message: string) => new BlockError(code, message),
      } as unknown as Qcow2Image;
      const blocks = Array.from({ length: BLOCKS }, () => new DataView(new ArrayBuffer(clusterSize)));
      const model: number[] = [];
      const changes = new Array<number>(count).fill(0);
      const deltas = new RefcountDeltas(image);
      const top = Math.min(refcountMax, 3);
      for (let at = 0; at < count; ) {
        const run = Math.min(count - at, random.between(1, random.chance(0.5) ? 3 : 2000));
        const value = random.between(1, top);
        const change = random.between(-value, top - value);
        for (let i = 0; i < run; i++) {
          setRefcount(blocks[Math.floor((at + i) / blockEntries)], order, (at + i) % blockEntries, value);
          model.push(value);
          changes[at + i] = change;
        }
        deltas.add(at as ClusterIndex, run, change);
        at += run;
      }
      const freed: number[] = [];
      for (const index of deltas.blocks()) deltas.settle(index, blocks[index], (cluster) => freed.push(cluster));
      const after = model.map((value, i) => value + changes[i]);
      const found = after.map((_, i) => getRefcount(blocks[Math.floor(i / blockEntries)], order, i % blockEntries));
      expect(found.findIndex((value, i) => value !== after[i])).to.equal(-1);
      const free = [...after.keys()].filter((i) => after[i] === 0);
      expect(freed.length).to.equal(free.length);
      expect(freed.findIndex((cluster, i) => cluster !== free[i])).to.equal(-1);
      const entries = Uint8Array.from({ length: count * 8 }, (_, i) => (i % 8 === 0 ? 0x80 | (i % 128) : i));
      const wanted = entries.map((byte, i) => {
        if (i % 8 !== 0) return byte;
        return (byte & 0x7f) | (changes[i / 8] === 0 || after[i / 8] === 1 ? 0x80 : 0);
      });
      const differs = wanted.some((byte, i) => byte !== entries[i]);
      expect(deltas.setFlags(viewOf(entries), 8, 0, 0 as ClusterIndex, count)).to.equal(differs);
      expect(Buffer.compare(entries, wanted)).to.equal(0);
    });
  }

  it('find the refcount that is wrong, wherever it is', () => {
    const math = new TableMath(host.memory);
    const count = 300;
    for (const order of [0, 2, 3, 4, 5, 6]) {
      const max = order === 6 ? Number.MAX_SAFE_INTEGER : 2 ** (2 ** order) - 1;
      for (const at of [0, 63, 64, 130, 299]) {
        for (const [was, change] of [
          [0, 1],
          [1, -2],
          [max, 1],
          [1, -(2 ** 31)],
          ...(order < 5 ? [[max, 2 ** 31 - 1]] : []),
        ]) {
          const view = new DataView(new ArrayBuffer((count + 8) * 8));
          for (let i = 0; i < count + 8; i++) setRefcount(view, order, i, 1);
          setRefcount(view, order, at + 5, was);
          const page = { changes: new Int32Array(count + 9), ones: new Uint8Array(count + 9).fill(7) };
          page.changes[at + 3] = change;
          const text = `order ${order}, ${was}${change} at ${at}`;
          expect(math.settle(view, order, max, 5, page, 3, count + 3), text).to.equal(at + 3);
          expect(getRefcount(view, order, at + 5), text).to.equal(was);
          expect([...page.ones], text).to.deep.equal(new Array(count + 9).fill(7));
        }
      }
    }
  });

  it('runs of entries are as long as with numbers of any length', () => {
    const math = new TableMath(host.memory);
    const random = new Random(20261129);
    for (let round = 0; round < 500; round++) {
      const count = random.between(1, 200);
      const step = 2 ** random.between(9, 21);
      const table = new DataView(new ArrayBuffer(count * 8 + 24));
      let value = BigInt.asUintN(64, (BigInt(random.next()) << 32n) - BigInt(random.between(0, 60) * step));
      for (let i = 0; i < count; i++) {
        if (random.chance(0.02)) value ^= 1n << BigInt(random.between(0, 63));
        table.setBigUint64(8 + i * 8, value);
        value = BigInt.asUintN(64, value + BigInt(step));
      }
      const first = table.getBigUint64(8);
      let wanted = 1;
      const expected = (i: number) => BigInt.asUintN(64, first + BigInt(i) * BigInt(step));
      while (wanted < count && table.getBigUint64(8 + wanted * 8) === expected(wanted)) wanted++;
      expect(math.rising(table, 8, count, step), `round ${round}`).to.equal(wanted);
      math.rise(table, 8, count, step);
      for (let i = 0; i < count; i++) expect(table.getBigUint64(8 + i * 8)).to.equal(expected(i));
      expect([table.getBigUint64(0), table.getBigUint64(8 + count * 8)]).to.deep.equal([0n, 0n]);
    }
  });

  it('entries that are zero are counted up to the first that is not, or to the last that was asked for', () => {
    const math = new TableMath(host.memory);
    const random = new Random(20261201);
    for (let round = 0; round < 500; round++) {
      const count = random.between(0, 200);
      const zeroes = random.between(0, count);
      const bytes = new Uint8Array(8 + count * 8 + 8);
      bytes.fill(0xff, 0, 8);
      // One bit, anywhere in the first entry that is not zero: it may be the one behind those that were asked for.
      bytes[8 + zeroes * 8 + random.between(0, 7)] = 1 << random.between(0, 7);
      expect(math.zeroes(viewOf(bytes), 8, count), `round ${round}`).to.equal(zeroes);
    }
  });

  it('a table of pointers tells what its entries hold, wherever among its empty ones they are', () => {
    const math = new TableMath(host.memory);
    const random = new Random(20261202);
    for (let round = 0; round < 100; round++) {
      const table = new PointerTable(0 as HostOffset, random.between(0, 300));
      const wanted: number[] = [];
      for (let i = 0; i < table.entries; i++) {
        if (!random.chance(round / 100)) continue;
        // Where none but other bits are set, it holds none.
        const target = random.chance(0.2) ? 0 : random.between(1, 1000) * 65536;
        table.set(i, target as HostOffset, random.chance(0.5));
        if (target !== 0) wanted.unshift(target);
      }
      expect([...table.targets(math)], `round ${round}`).to.deep.equal(wanted);
    }
  });

  it('flags are set in entries of any length, and in no other', () => {
    const math = new TableMath(host.memory);
    const random = new Random(20261130);
    for (let round = 0; round < 200; round++) {
      const stride = random.chance(0.5) ? 8 : 16;
      const count = random.between(1, 100);
      const from = random.between(0, 20);
      const page = { changes: new Int32Array(130), ones: new Uint8Array(130) };
      for (let i = 0; i < 130; i++) {
        page.changes[i] = random.between(-1, 1);
        page.ones[i] = random.between(0, 1);
      }
      const bytes = Uint8Array.from({ length: (count + 2) * stride }, () => random.between(0, 255));
      const wanted = bytes.slice();
      for (let i = 0; i < count; i++) {
        if (page.changes[from + i] === 0) continue;
        wanted[stride * (i + 1)] = (wanted[stride * (i + 1)] & 0x7f) | (page.ones[from + i] << 7);
      }
      const differs = Buffer.compare(bytes, wanted) !== 0;
      expect(math.setFlags(viewOf(bytes), stride, stride, page, from, from + count)).to.equal(differs);
      expect(bytes).to.deep.equal(wanted);
    }
  });

  it('what leads out of a table is refused', () => {
    const code = host.memory.tables;
    if (code === null) return;
    const [bytes, numbers] = [new Uint8Array(64), new Int32Array(8)];
    expect(code.rising(bytes, 8, 8, 512)).to.equal(-3);
    expect(code.rising(bytes, -8, 2, 512)).to.equal(-3);
    expect(code.rising(bytes, 0, Number.NaN, 512)).to.equal(-3);
    expect(code.rise(bytes, 8, 8, 512)).to.equal(-3);
    expect(code.add(numbers, 4, 9, 1)).to.equal(-3);
    expect(code.add(numbers, 5, 4, 1)).to.equal(-3);
    expect(code.settle(bytes, 4, 65535, 25, numbers, bytes, 0, 8)).to.equal(-3);
    expect(code.settle(bytes, 0, 1, 505, numbers, bytes, 0, 8)).to.equal(-3);
    expect(code.settle(bytes, 0, 1, 504, numbers, bytes, 0, 8)).to.equal(-1);
    expect(code.settle(bytes, 7, 1, 0, numbers, bytes, 0, 8)).to.equal(-3);
    expect(code.nextFreed(bytes, 4, 0, numbers, 0, 9)).to.equal(-3);
    expect(code.setFlags(bytes, 8, 8, numbers, bytes, 0, 8)).to.equal(-3);
    expect(code.setFlags(bytes, 0, 0, numbers, bytes, 0, 8)).to.equal(-3);
  });
}
