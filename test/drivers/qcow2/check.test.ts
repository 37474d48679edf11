// Bounds of the qcow2 check. That it finds what qemu-img finds is tested beside qemu-img (test/interop).

import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { CheckResult } from '../../../src/block/abilities.js';
import type { CheckFinding } from '../../../src/block/finding.js';
import { findingText } from '../../../src/block/finding-text.js';
import { Graph } from '../../../src/block/graph.js';
import { openNode } from '../../../src/block/open.js';
import { Perm } from '../../../src/block/types.js';
import { checkQcow2 } from '../../../src/drivers/formats/qcow2/check.js';
import type { CheckLayout } from '../../../src/drivers/formats/qcow2/check-state.js';
import type { HostOffset } from '../../../src/drivers/formats/qcow2/types.js';
import { registerDrivers } from '../../../src/drivers/index.js';
import { openRealHost } from '../../../src/host/real/index.js';
import { BlockError } from '../../../src/util/errors.js';
import { linkTo, makeBench } from '../support.js';

const CLUSTER = 65536;
const COPIED = 1n << 63n;

/** header, refcount table, refcount block, L1 table, L2 table, 8 data clusters; one refcount is wrong and one cluster leaks. */
const LAYOUT: CheckLayout = {
  version: 3,
  clusterBits: 16,
  size: 64 * CLUSTER,
  l1TableOffset: (3 * CLUSTER) as HostOffset,
  l1Size: 1,
  refcountTableOffset: CLUSTER as HostOffset,
  refcountTableClusters: 1,
  refcountOrder: 4,
  incompatibleFeatures: 0n,
};

function smallImage(): Buffer {
  const image = Buffer.alloc(14 * CLUSTER);
  image.writeBigUInt64BE(BigInt(2 * CLUSTER), CLUSTER);
  for (let cluster = 0; cluster < 14; cluster++) image.writeUInt16BE(1, 2 * CLUSTER + 2 * cluster);
  image.writeBigUInt64BE(COPIED | BigInt(4 * CLUSTER), 3 * CLUSTER);
  for (let index = 0; index < 8; index++) {
    image.writeBigUInt64BE(COPIED | BigInt((5 + index) * CLUSTER), 4 * CLUSTER + 8 * index);
  }
  image.writeUInt16BE(2, 2 * CLUSTER + 2 * 7);
  return image;
}

describe('qcow2 check: a refcount block that cannot be read', () => {
  // The L1 table and the refcount table are read first, then the block.
  const check = async (): Promise<{ result: CheckResult; records: CheckFinding[] }> => {
    const rules = [{ operations: ['read'], after: 2, times: 1 } as const];
    const { host, graph } = makeBench({ faults: { rules }, eager: true });
    await host.writeFile('/image', smallImage());
    const file = await openNode(graph, '/image', { format: 'file', readOnly: true });
    const link = linkTo(file, Perm.CONSISTENT_READ);
    try {
      const records: CheckFinding[] = [];
      return { result: await checkQcow2(link, LAYOUT, (finding) => records.push(finding)), records };
    } finally {
      file.detach(link);
      await graph.closeAll();
    }
  };

  it('is an error of the check for each of its clusters, and no corruption', async () => {
    const { result, records } = await check();
    expect(result).to.include({ checkErrors: 14, corruptions: 0, leaks: 0, allocatedClusters: 8 });
    expect(records.map(({ kind }) => kind)).to.deep.equal(Array(14).fill('refcount-unreadable'));
    expect(records[13]).to.include({ cluster: 13, severity: 'check-error', hostOffset: 2 * CLUSTER });
  });
});

describe('qcow2 check: bounds', () => {
  const host = openRealHost();
  const graph = new Graph(host);
  let folder: string;

  before(() => {
    registerDrivers();
    folder = mkdtempSync(join(tmpdir(), 'diskwright-check-'));
  });
  after(async () => {
    await graph.closeAll();
    await host.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function check(
    image: Buffer,
    layout: CheckLayout,
    options: { window?: number; fileBytes?: number } = {},
  ): Promise<{ result: CheckResult; findings: string[]; records: CheckFinding[] }> {
    const path = join(folder, 'image');
    writeFileSync(path, image);
    if (options.fileBytes !== undefined) truncateSync(path, options.fileBytes);
    const file = await openNode(graph, path, { format: 'file', readOnly: true });
    const link = linkTo(file, Perm.CONSISTENT_READ);
    try {
      const records: CheckFinding[] = [];
      const result = await checkQcow2(link, layout, (finding) => records.push(finding), options.window);
      return { result, findings: records.map(findingText), records };
    } finally {
      file.detach(link);
      await graph.release(file);
    }
  }

  async function refusal(...args: Parameters<typeof check>): Promise<BlockError> {
    try {
      await check(...args);
    } catch (error) {
      expect(error).to.be.instanceOf(BlockError);
      return error as BlockError;
    }
    throw new Error('it was accepted');
  }

  it('finds the leak and the wrong flag', async () => {
    const { result, findings } = await check(smallImage(), LAYOUT);
    expect(findings).to.deep.equal([
      'Leaked cluster 7 refcount=2 reference=1',
      'Leaked cluster 13 refcount=1 reference=0',
      'ERROR OFLAG_COPIED data cluster: l2_entry=8000000000070000 refcount=2',
    ]);
    expect(result).to.deep.equal({
      checkErrors: 0,
      corruptions: 1,
      leaks: 2,
      imageEndOffset: 14 * CLUSTER,
      totalClusters: 64,
      allocatedClusters: 8,
      fragmentedClusters: 0,
      compressedClusters: 0,
    });
  });

  it('says of each finding where it is, and counts it by its severity', async () => {
    const { result, records } = await check(smallImage(), LAYOUT);
    expect(records).to.deep.equal([
      { kind: 'leaked-cluster', severity: 'leak', cluster: 7, hostOffset: 7 * CLUSTER, refcount: 2, references: 1 },
      { kind: 'leaked-cluster', severity: 'leak', cluster: 13, hostOffset: 13 * CLUSTER, refcount: 1, references: 0 },
      {
        kind: 'copied-flag',
        severity: 'corruption',
        table: 'l2',
        index: 2,
        guestOffset: 2 * CLUSTER,
        entry: '0x8000000000070000',
        cluster: 7,
        hostOffset: 7 * CLUSTER,
        refcount: 2,
      },
    ]);
    expect([result.corruptions, result.leaks, result.checkErrors]).to.deep.equal([1, 2, 0]);
  });

  for (const window of [1, 3, 7, 13]) {
    it(`finds the same in windows of ${window} clusters`, async () => {
      const whole = await check(smallImage(), LAYOUT);
      const parts = await check(smallImage(), LAYOUT, { window });
      expect(parts.result).to.deep.equal(whole.result);
      expect([...parts.findings].sort()).to.deep.equal([...whole.findings].sort());
    });
  }

  it('counts more references than a byte holds', async () => {
    const image = smallImage();
    for (let index = 0; index < 1000; index++) {
      image.writeBigUInt64BE(COPIED | BigInt(5 * CLUSTER), 4 * CLUSTER + 8 * (index + 8));
    }
    const { findings } = await check(image, LAYOUT);
    expect(findings).to.include('ERROR cluster 5 refcount=1 reference=1001');
  });

  it('ends where one L2 table is shared without end', async () => {
    const entries = 4 * 1024 ** 2;
    const l1 = Buffer.alloc(entries * 8);
    for (let index = 0; index < entries; index++) l1.writeBigUInt64BE(BigInt(4 * CLUSTER), index * 8);
    const image = Buffer.concat([smallImage(), l1]);
    const layout = {
      ...LAYOUT,
      l1TableOffset: (14 * CLUSTER) as HostOffset,
      l1Size: entries,
      size: entries * 8192 * CLUSTER,
    };
    const error = await refusal(image, layout);
    expect(error).to.include({ code: 'limit', operation: 'check', offset: 4 * CLUSTER });
  });

  it('refuses a file of more clusters than it can count', async () => {
    const error = await refusal(smallImage(), { ...LAYOUT, clusterBits: 9 }, { fileBytes: 3 * 1024 ** 4 });
    expect(error).to.include({ code: 'limit', operation: 'check' });
  });

  it('checks a terabyte of holes', async () => {
    const { result } = await check(smallImage(), LAYOUT, { fileBytes: 1024 ** 4 });
    expect(result).to.include({ leaks: 2, imageEndOffset: 14 * CLUSTER });
  });
});
