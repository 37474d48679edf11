import { expect } from 'chai';
import type { OverlapKind } from '../../../src/drivers/formats/qcow2/options.js';
import { MetadataIndex } from '../../../src/drivers/formats/qcow2/overlap.js';
import { makeGeometry } from '../../../src/drivers/formats/qcow2/types.js';

const CLUSTER = 4096;
const ALL: OverlapKind[] = ['main-header', 'active-l1', 'active-l2', 'refcount-table', 'refcount-block'];

function index(kinds: OverlapKind[] = ALL): MetadataIndex {
  return new MetadataIndex(makeGeometry(3, 12, 4), new Set(kinds));
}

const hits = (metadata: MetadataIndex, cluster: number): boolean =>
  metadata.overlap(cluster * CLUSTER, (cluster + 1) * CLUSTER) !== null;

describe('qcow2: the index of metadata', () => {
  it('knows of several L1 tables, each of which moves by itself', () => {
    const metadata = index();
    const [first, second] = [{}, {}];
    metadata.setFixed('active-l1', first, 4 * CLUSTER, 100);
    metadata.setFixed('active-l1', second, 8 * CLUSTER, 100);
    metadata.setFixed('active-l1', first, 6 * CLUSTER, 100);
    expect([4, 6, 8].map((cluster) => hits(metadata, cluster))).to.deep.equal([false, true, true]);
    metadata.setFixed('active-l1', second, 0, 0);
    expect([4, 6, 8].map((cluster) => hits(metadata, cluster))).to.deep.equal([false, true, false]);
  });

  it('takes a table that is pointed to twice for metadata until both pointers are gone', () => {
    const metadata = index();
    metadata.setAll('active-l2', Float64Array.of(9 * CLUSTER, 5 * CLUSTER, 9 * CLUSTER));
    metadata.remove('active-l2', 9 * CLUSTER);
    expect(hits(metadata, 9)).to.equal(true);
    metadata.remove('active-l2', 9 * CLUSTER);
    expect(hits(metadata, 9)).to.equal(false);
    metadata.add('active-l2', 9 * CLUSTER);
    metadata.add('active-l2', 7 * CLUSTER);
    metadata.add('active-l2', 7 * CLUSTER);
    metadata.remove('active-l2', 7 * CLUSTER);
    expect([5, 7, 9].map((cluster) => hits(metadata, cluster))).to.deep.equal([true, true, true]);
    metadata.remove('active-l2', 7 * CLUSTER);
    expect(hits(metadata, 7)).to.equal(false);
  });

  it('finds a cluster that is touched by one byte', () => {
    const metadata = index();
    metadata.setAll('refcount-block', Float64Array.of(5 * CLUSTER));
    expect(metadata.overlap(4 * CLUSTER, 5 * CLUSTER)).to.equal(null);
    expect(metadata.overlap(4 * CLUSTER, 5 * CLUSTER + 1)).to.not.equal(null);
    expect(metadata.overlap(6 * CLUSTER - 1, 6 * CLUSTER)).to.not.equal(null);
    expect(metadata.overlap(6 * CLUSTER, 7 * CLUSTER)).to.equal(null);
  });

  it('does not look at the kind of the table that is written', () => {
    const metadata = index();
    metadata.setAll('active-l2', Float64Array.of(5 * CLUSTER));
    metadata.setAll('refcount-block', Float64Array.of(6 * CLUSTER));
    expect(metadata.overlap(5 * CLUSTER, 6 * CLUSTER, 'active-l2')).to.equal(null);
    expect(metadata.overlap(5 * CLUSTER, 6 * CLUSTER, 'refcount-block')).to.not.equal(null);
    expect(metadata.overlap(6 * CLUSTER, 7 * CLUSTER, 'active-l2')).to.not.equal(null);
  });

  it('forgets kinds that are not checked', () => {
    const metadata = index(['main-header']);
    metadata.setAll('active-l2', Float64Array.of(5 * CLUSTER));
    metadata.add('refcount-block', 6 * CLUSTER);
    expect([5, 6].map((cluster) => hits(metadata, cluster))).to.deep.equal([false, false]);
  });
});
