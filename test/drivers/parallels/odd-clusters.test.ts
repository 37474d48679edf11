// Copies into images whose clusters are no powers of two: the host moves whole steps of the zero test, and these are as long as a cluster.

import { expect } from 'chai';
import { MAX_MOVE_BYTES, moveSlice } from '../../../src/host/host.js';
import { createSimHost } from '../../../src/host/sim/index.js';
import { Workspace } from '../../../src/library/workspace.js';

const KIB = 1024;
const SIZE = 3 * 1024 * KIB + 512;

describe('copies into clusters of any size', () => {
  for (const clusterBytes of [512, 6 * KIB, 31 * KIB, 63 * 512, 60 * KIB, 96 * KIB, 3000 * KIB]) {
    it(`of ${clusterBytes} bytes`, async () => {
      const host = createSimHost({});
      const content = Buffer.alloc(SIZE);
      for (let at = 0; at < SIZE; at += 4) if ((at >> 15) % 3 !== 0) content.writeUInt32LE(at ^ 0x5a5a5a5a, at);
      await host.run(async () => {
        host.writeFile('/raw', content);
        const workspace = new Workspace(host);
        await workspace.convert({ driver: 'raw', file: { driver: 'file', filename: '/raw' } }, '/a', {
          create: { driver: 'parallels', 'cluster-size': clusterBytes },
        });
        const image = await workspace.open('/a', { format: 'parallels', readOnly: true });
        const found = new Uint8Array(SIZE);
        await image.read(0, found);
        expect(Buffer.compare(found, content)).to.equal(0);
        await workspace.close();
      });
    });
  }

  it('a slice holds whole steps', () => {
    for (let granule = 512; granule <= MAX_MOVE_BYTES; granule += 512 * (1 + (granule >> 14))) {
      const slice = moveSlice(granule, 0);
      expect([slice % granule, slice > 0 && slice <= MAX_MOVE_BYTES], `${granule}`).to.deep.equal([0, true]);
    }
    expect(moveSlice(MAX_MOVE_BYTES + 512, 0)).to.equal(0);
    expect(moveSlice(0, 2 << 20)).to.equal(2 << 20);
  });
});
