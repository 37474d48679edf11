import { expect } from 'chai';
import type { OverlapKind } from '../../../src/drivers/formats/qcow2/options.js';
import { MetadataIndex } from '../../../src/drivers/formats/qcow2/overlap.js';
import { type HostOffset, makeGeometry } from '../../../src/drivers/formats/qcow2/types.js';

const CLUSTER = 4096;
const ALL: OverlapKind[] = ['main-header', 'active-l1', 'active-l2', 'refcount-table', 'refcount-block'];

function index(kinds: OverlapKind[] = ALL): MetadataIndex {
  return new MetadataIndex(makeGeometry(3, 12, 4), new Set(kinds));
}

/** Byte `lead` of a cluster. */
const at = (cluster: number, lead = 0): HostOffset => (cluster * CLUSTER + lead) as HostOffset;

const hits = (metadata: MetadataIndex, cluster: number): boolean =>
  metadata.overlap(at(cluster), at(cluster + 1)) !== null;

describe('qcow2: the index of metadata', () => {
  it('knows of several L1 tables, each of which moves by itself', () => {
    const metadata = index();
    const [first, second] = [{}, {}];
    metadata.setFixed('active-l1', first, at(4), 100);
    metadata.setFixed('active-l1', second, at(8), 100);
    metadata.setFixed('active-l1', first, at(6), 100);
    expect([4, 6, 8].map((cluster) => hits(metadata, cluster))).to.deep.equal([false, true, true]);
    metadata.setFixed('active-l1', second, at(0), 0);
    expect([4, 6, 8].map((cluster) => hits(metadata, cluster))).to.deep.equal([false, true, false]);
  });

  it('takes a table that is pointed to twice for metadata until both pointers are gone', () => {
    const metadata = index();
    metadata.setAll('active-l2', Float64Array.of(at(9), at(5), at(9)));
    metadata.remove('active-l2', at(9));
    expect(hits(metadata, 9)).to.equal(true);
    metadata.remove('active-l2', at(9));
    expect(hits(metadata, 9)).to.equal(false);
    metadata.add('active-l2', at(9));
    metadata.add('active-l2', at(7));
    metadata.add('active-l2', at(7));
    metadata.remove('active-l2', at(7));
    expect([5, 7, 9].map((cluster) => hits(metadata, cluster))).to.deep.equal([true, true, true]);
    metadata.remove('active-l2', at(7));
    expect(hits(metadata, 7)).to.equal(false);
  });

  it('finds a cluster that is touched by one byte', () => {
    const metadata = index();
    metadata.setAll('refcount-block', Float64Array.of(at(5)));
    expect(metadata.overlap(at(4), at(5))).to.equal(null);
    expect(metadata.overlap(at(4), at(5, 1))).to.not.equal(null);
    expect(metadata.overlap(at(6, -1), at(6))).to.not.equal(null);
    expect(metadata.overlap(at(6), at(7))).to.equal(null);
  });

  it('does not look at the kind of the table that is written', () => {
    const metadata = index();
    metadata.setAll('active-l2', Float64Array.of(at(5)));
    metadata.setAll('refcount-block', Float64Array.of(at(6)));
    expect(metadata.overlap(at(5), at(6), 'active-l2')).to.equal(null);
    expect(metadata.overlap(at(5), at(6), 'refcount-block')).to.not.equal(null);
    expect(metadata.overlap(at(6), at(7), 'active-l2')).to.not.equal(null);
  });

  it('forgets kinds that are not checked', () => {
    const metadata = index(['main-header']);
    metadata.setAll('active-l2', Float64Array.of(at(5)));
    metadata.add('refcount-block', at(6));
    expect([5, 6].map((cluster) => hits(metadata, cluster))).to.deep.equal([false, false]);
  });
});
