// What a check of a QED image finds, and what a repair makes of it.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import type { RepairKind } from '../../../src/block/abilities.js';
import { checkImage, repairImage } from '../../../src/workspace/check.js';
import { type Bench, failureOf } from '../support.js';
import { CLUSTER, ENTRIES, firstBytes, IMAGE, L1, makeQed, numberAt, OPTIONS, patch } from './support.js';

async function found(bench: Bench): Promise<string[]> {
  const kinds: string[] = [];
  await checkImage(bench.graph, OPTIONS, {}, ({ kind }) => kinds.push(kind));
  await bench.graph.closeAll();
  return kinds;
}

async function repair(bench: Bench, kind: RepairKind): Promise<number[]> {
  const { result } = await repairImage(bench.graph, OPTIONS, kind, {}, () => undefined);
  await bench.graph.closeAll();
  return [result.after.corruptions, result.after.leaks];
}

const lengthOf = ({ host }: Bench): number => host.readFile(IMAGE).length / CLUSTER;

describe('check and repair of QED images', () => {
  it('find nothing in a sound image', async () => {
    const bench = await makeQed(8, [3, 1]);
    expect(await found(bench)).to.deep.equal([]);
  });

  it('fill lost space with the clusters that lie last', async () => {
    // Clusters of the file: header, L1, L2 or data of 0, ..., of which three lose their entries.
    const bench = await makeQed(8, [0, 1, 2, 3, 4, 5]);
    const l2 = numberAt(bench, L1);
    const before = lengthOf(bench);
    patch(bench, { [l2]: 0, [l2 + 8]: 0, [l2 + 24]: 0 });
    expect(await found(bench)).to.deep.equal(['qed-leak', 'qed-leak', 'qed-leak']);
    expect(await repair(bench, 'leaks')).to.deep.equal([0, 0]);
    expect(lengthOf(bench)).to.equal(before - 3);
    expect(await firstBytes(bench, 7)).to.deep.equal([0, 0, 3, 0, 5, 6, 0]);
    expect(await found(bench)).to.deep.equal([]);
  });

  it('move a table, too, where tables alone lie behind lost space', async () => {
    for (const tableSize of [1, 2, 4]) {
      const bench = await makeQed(8, [0, 1], { 'table-size': tableSize });
      const bytes = Buffer.from(bench.host.readFile(IMAGE));
      const [table, length] = [numberAt(bench, L1), tableSize * CLUSTER];
      const data = numberAt(bench, table);
      // The table goes to the end, and leaves a hole in front; one data cluster is lost.
      const moved = Buffer.concat([bytes, bytes.subarray(table, table + length)]);
      moved.writeBigUInt64LE(BigInt(bytes.length), L1);
      moved.writeBigUInt64LE(0n, bytes.length);
      bench.host.writeFile(IMAGE, moved);
      expect(data).to.be.lessThan(bytes.length);
      expect(await repair(bench, 'all')).to.deep.equal([0, 0]);
      expect(lengthOf(bench)).to.equal(1 + tableSize + tableSize + 1);
      expect(await firstBytes(bench, 3)).to.deep.equal([0, 2, 0]);
    }
  });

  it('empty entries that point nowhere, also where only lost space is to be repaired', async () => {
    const bench = await makeQed(2 * ENTRIES, [0, 1, ENTRIES]);
    const l2 = numberAt(bench, L1);
    patch(bench, { [l2]: numberAt(bench, l2) + 512, [L1 + 8]: CLUSTER * 1000 });
    expect((await found(bench)).filter((kind) => kind !== 'qed-leak')).to.have.members([
      'qed-cluster-invalid',
      'qed-table-invalid',
    ]);
    expect(await repair(bench, 'leaks')).to.deep.equal([0, 0]);
    expect(await firstBytes(bench, 3)).to.deep.equal([0, 2, 0]);
  });

  it('give each user a copy of what two use: a cluster, a table', async () => {
    const bench = await makeQed(2 * ENTRIES, [0, 1, ENTRIES]);
    const l2 = numberAt(bench, L1);
    patch(bench, { [l2 + 16]: numberAt(bench, l2), [L1 + 8]: l2 });
    expect(await found(bench)).to.include.members(['qed-cluster-shared', 'qed-table-shared']);
    expect((await repair(bench, 'leaks'))[0]).to.equal(2);
    expect(await repair(bench, 'all')).to.deep.equal([0, 0]);
    expect(await firstBytes(bench, 4)).to.deep.equal([1, 2, 1, 0]);
    expect(numberAt(bench, L1 + 8)).to.not.equal(l2);
    expect(await found(bench)).to.deep.equal([]);
  });

  it('is refused, and changes nothing, where no entry of the L1 table points to a table', async () => {
    const bench = await makeQed(2 * ENTRIES, [0, 1, ENTRIES]);
    patch(bench, { [L1]: 0x1234_5678, [L1 + 8]: CLUSTER * 1000 });
    const before = Buffer.from(bench.host.readFile(IMAGE));
    for (const kind of ['leaks', 'all'] as const) {
      const error = await failureOf(repair(bench, kind));
      expect([error.code, error.reason.includes('none of the 2 entries')]).to.deep.equal(['invalid-image', true]);
      await bench.graph.closeAll();
    }
    expect(Buffer.compare(bench.host.readFile(IMAGE), before)).to.equal(0);
  });

  it('give a header its cluster that says it has none', async () => {
    const bench = await makeQed(8, [0, 1]);
    const bytes = Buffer.from(bench.host.readFile(IMAGE));
    bytes.writeUInt32LE(0, 12);
    bench.host.writeFile(IMAGE, bytes);
    expect(await found(bench)).to.deep.equal(['qed-leak']);
    expect(await repair(bench, 'all')).to.deep.equal([0, 0]);
    expect(bench.host.readFile(IMAGE)[12]).to.equal(1);
    expect(await found(bench)).to.deep.equal([]);
    expect(await firstBytes(bench, 2)).to.deep.equal([1, 2]);
  });
});
