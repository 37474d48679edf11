// How long a refcount table becomes that a repair makes longer.

import { expect } from 'chai';
import { clustersOfTable } from '../../../src/drivers/formats/qcow2/repair-reserve.js';
import { MAX_REFCOUNT_TABLE_BYTES } from '../../../src/drivers/formats/qcow2/types.js';

describe('qcow2: a refcount table that a repair makes longer', () => {
  const clusterBytes = 512;
  const most = MAX_REFCOUNT_TABLE_BYTES / clusterBytes;
  const clusters = (tableClusters: number) => clustersOfTable((tableClusters * clusterBytes) / 8, clusterBytes);

  it('gets room for twice as many entries', () => {
    expect(clustersOfTable(1, clusterBytes)).to.equal(2);
    expect(clusters(10)).to.equal(20);
    expect(clusters(most / 2)).to.equal(most);
  });

  it('is not longer than a table may be, by which the image could not be opened', () => {
    expect(clusters(most / 2 + 1)).to.equal(most);
    expect(clusters(most)).to.equal(most);
  });

  it('is as long as its entries need where that is too long, which is refused', () => {
    expect(clusters(most + 1)).to.equal(most + 1);
  });
});
