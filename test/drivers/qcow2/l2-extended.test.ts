import { expect } from 'chai';
import { BELOW, Kind, MISS, ZEROES } from '../../../src/drivers/formats/qcow2/l2-codec.js';
import { ExtendedL2Codec } from '../../../src/drivers/formats/qcow2/l2-extended.js';
import { PLAIN_MATH } from '../../../src/drivers/formats/qcow2/table-math.js';
import type { HostOffset } from '../../../src/drivers/formats/qcow2/types.js';

const CLUSTER = 65536;
const SUBCLUSTER = CLUSTER / 32;
const ALL = 0xffff_ffff;
const COPIED = 1n << 63n;
const COMPRESSED = 1n << 62n;

/** Entries of two words: as an ordinary one, and `zeroes` and `data`. */
function table(entries: readonly (readonly [entry: bigint, zeroes: number, data: number])[]): DataView {
  const view = new DataView(new ArrayBuffer(entries.length * 16));
  for (const [slot, [entry, zeroes, data]] of entries.entries()) {
    view.setBigUint64(slot * 16, entry);
    view.setUint32(slot * 16 + 8, zeroes);
    view.setUint32(slot * 16 + 12, data);
  }
  return view;
}

function bitmapOf(view: DataView, slot: number): [zeroes: number, data: number] {
  return [view.getUint32(slot * 16 + 8), view.getUint32(slot * 16 + 12)];
}

const host = (offset: number): HostOffset => offset as HostOffset;

describe('qcow2: extended L2 entries', () => {
  const codec = new ExtendedL2Codec(16, PLAIN_MATH);

  it('have a kind for each subcluster', () => {
    const view = table([
      [BigInt(CLUSTER), 0b0010, 0b0001],
      [0n, 0b1000, 0],
    ]);
    expect([0, 1, 2, 32, 35].map((index) => codec.kindAt(view, index))).to.deep.equal([
      Kind.normal,
      Kind.zeroAllocated,
      Kind.preallocated,
      Kind.unallocated,
      Kind.zeroPlain,
    ]);
    expect(codec.hostAt(view, 2)).to.equal(CLUSTER + 2 * SUBCLUSTER);
  });

  it('make runs of subclusters over the ends of clusters, where these lie in a row', () => {
    const row = table([
      [BigInt(CLUSTER), 0, 0x8000_0000],
      [BigInt(2 * CLUSTER), 0, ALL],
      [BigInt(4 * CLUSTER), 0, 1],
    ]);
    expect(codec.run(row, 31, 65)).to.equal(33);
    expect(codec.run(row, 31, 20)).to.equal(20);
    expect(codec.run(row, 0, 96)).to.equal(31);
  });

  it('are invalid where the bitmap contradicts itself, or has data of no cluster', () => {
    const view = table([
      [BigInt(CLUSTER), 1, 1],
      [0n, 0, 1],
      [COPIED, 0, 1],
    ]);
    expect([0, 1, 2].map((slot) => codec.kind(view, slot))).to.deep.equal([Kind.bad, Kind.bad, Kind.bad]);
    expect(codec.directSubclusters(view, 0, 1, false)).to.equal(MISS);
    // The first cluster of an external data file lies at offset 0.
    const external = new ExtendedL2Codec(16, PLAIN_MATH, true);
    expect([1, 2].map((slot) => external.kind(view, slot))).to.deep.equal([Kind.bad, Kind.mixed]);
    expect(external.directSubclusters(view, 2, 1, true)).to.equal(0);
    expect(external.decode(view, 2).bytes).to.equal(CLUSTER);
  });

  it('say on the hot path what all of the subclusters of a request are', () => {
    const view = table([
      [COPIED | BigInt(CLUSTER), 0b1100, 0b0011],
      [BigInt(CLUSTER), 0, 1],
      [COMPRESSED, 0, 0],
    ]);
    expect(
      [0b0011, 0b1100, 0b110000, 0b0110].map((bits) => codec.directSubclusters(view, 0, bits, true)),
    ).to.deep.equal([CLUSTER, ZEROES, BELOW, MISS]);
    expect([false, true].map((owned) => codec.directSubclusters(view, 1, 1, owned))).to.deep.equal([CLUSTER, MISS]);
    expect(codec.directSubclusters(view, 2, 1, false)).to.equal(MISS);
  });

  it('are mended: data stays data, data of no cluster reads as zeroes, a compressed cluster has no bitmap', () => {
    const view = table([
      [BigInt(CLUSTER), 0b011, 0b110],
      [0n, 0b001, 0b110],
      [COMPRESSED, 1, 1],
      [BigInt(CLUSTER), 0b01, 0b10],
    ]);
    expect([0, 1, 2, 3].map((slot) => codec.mendBitmap(view, slot))).to.deep.equal([true, true, true, false]);
    expect([0, 1, 2].map((slot) => bitmapOf(view, slot))).to.deep.equal([
      [0b001, 0b110],
      [0b111, 0],
      [0, 0],
    ]);
  });

  it('that lose their cluster keep what does not lie there', () => {
    const view = table([
      [COPIED | BigInt(CLUSTER), 0b001, 0b100],
      [COMPRESSED | 7n, 0, 0],
    ]);
    codec.putLost(view, 0);
    codec.putLost(view, 1);
    expect([0, 1].map((slot) => [codec.host(view, slot), ...bitmapOf(view, slot)])).to.deep.equal([
      [0, 0b101, 0],
      [0, ALL, 0],
    ]);
  });

  it('keep their subclusters where their cluster moves', () => {
    const view = table([[BigInt(CLUSTER), 0b010, 0b101]]);
    codec.moveNormal(view, 0, host(9 * CLUSTER));
    expect(codec.decode(view, 0)).to.deep.equal({
      ...{ kind: Kind.mixed, host: 9 * CLUSTER, bytes: CLUSTER, copied: true },
      ...{ data: 0b101, zeroes: 0b010 },
    });
  });
});
