// Salvage of images that are far larger than what is in them: holes are not read, and sizes that a damaged header makes up cost no requests, no time and no memory.

import { expect } from 'chai';
import { createSimHost, Random } from '../../../src/host/sim/index.js';
import { Workspace } from '../../../src/library/workspace.js';
import { IMAGE, makeSubject, Places } from './salvage-kit.js';

const KiB = 1024;
const GiB = 2 ** 30;
const TARGET = '/saved.qcow2';

describe('qcow2 salvage of what is larger than it is', () => {
  it('leaves out the holes of a preallocated image, with a header and without', async () => {
    const host = createSimHost();
    const workspace = new Workspace(host);
    await workspace.create(IMAGE, { driver: 'qcow2', size: 16 * GiB, preallocation: 'metadata' });
    const image = await workspace.open(IMAGE);
    await image.write(5 * GiB, Buffer.alloc(64 * KiB, 7));
    await image.close();
    for (const hasHeader of [true, false]) {
      if (!hasHeader) {
        const file = await host.open(IMAGE, { writable: true });
        await file.write(0, Buffer.alloc(64 * KiB));
        await file.close();
      }
      const before = host.requests;
      const report = await workspace.salvage(IMAGE, TARGET, 'qcow2');
      expect([report.size, report.lost, report.doubtful]).to.deep.equal([16 * GiB, [], []]);
      // Each of the 32 tables has some runs of data and holes, and is looked at for each cluster size that may be. Reading all would take 8192 requests.
      expect(host.requests - before).to.be.lessThan(500);
      const saved = await workspace.open(TARGET, { readOnly: true });
      expect((await saved.read(5 * GiB, 64 * KiB)).equals(Buffer.alloc(64 * KiB, 7))).to.equal(true);
      await saved.close();
    }
    await workspace.close();
  });

  it('takes a disk of millions of tables that the header makes up for few ranges', async () => {
    const one = await makeSubject({ clusterSize: 512, size: 300 * KiB }, new Random(1));
    const at = new Places(Buffer.from(one.file));
    at.put(24, 1n << 60n);
    at.file.writeUInt32BE(1 << 22, 36);
    one.host.writeFile(IMAGE, at.file);
    const before = one.host.requests;
    const report = await one.workspace.salvage(IMAGE, TARGET, 'qcow2');
    expect(report.size).to.equal((1 << 22) * at.span);
    // What of the file is read as entries of the L1 table may be anything; the end of the file ends it.
    const last = report.lost.at(-1)!;
    expect(last.reason).to.equal('table-beyond-end');
    expect(last.length).to.be.greaterThan(report.size - (at.file.length / 8 + 1) * at.span);
    expect(report.lost.length).to.be.lessThan(at.file.length / 8);
    expect(one.host.requests - before).to.be.lessThan(at.file.length / 8);
    await one.workspace.close();
  });
});
