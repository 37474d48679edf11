import { expect } from 'chai';
import { BELOW, Kind, L2Codec, MISS, ZEROES } from '../../../src/drivers/formats/qcow2/l2-codec.js';
import { PLAIN_MATH } from '../../../src/drivers/formats/qcow2/table-math.js';
import type { HostOffset } from '../../../src/drivers/formats/qcow2/types.js';

const CLUSTER = 65536;

const host = (offset: number): HostOffset => offset as HostOffset;

function table(entries: readonly bigint[]): DataView {
  const view = new DataView(new ArrayBuffer(entries.length * 8));
  for (const [slot, entry] of entries.entries()) view.setBigUint64(slot * 8, entry);
  return view;
}

describe('qcow2: L2 entries', () => {
  const codec = new L2Codec(3, 16, PLAIN_MATH);

  it('are read as they were written', () => {
    const view = table([0n, 0n, 0n, 0n, 0n]);
    codec.putNormal(view, 0, host(5 * CLUSTER));
    codec.putZero(view, 1);
    codec.putZeroAllocated(view, 2, host(2 ** 40));
    codec.putCompressed(view, 3, host(2 ** 40 + 700), 1000);
    codec.putNormal(view, 4, host(CLUSTER));
    codec.putUnallocated(view, 4);
    expect([0, 1, 2, 3, 4].map((slot) => codec.decode(view, slot))).to.deep.equal([
      { kind: Kind.normal, host: 5 * CLUSTER, bytes: CLUSTER, copied: true, data: 1, zeroes: 0 },
      { kind: Kind.zeroPlain, host: 0, bytes: 0, copied: false, data: 0, zeroes: 1 },
      { kind: Kind.zeroAllocated, host: 2 ** 40, bytes: CLUSTER, copied: true, data: 0, zeroes: 1 },
      // Up to the end of the last sector: 700 to 1700 of 2048.
      { kind: Kind.compressed, host: 2 ** 40 + 700, bytes: 2048 - 700, copied: false, data: 1, zeroes: 0 },
      { kind: Kind.unallocated, host: 0, bytes: 0, copied: false, data: 0, zeroes: 0 },
    ]);
  });

  it('break the format where an offset is misaligned, or larger than a number holds', () => {
    const view = table([0x200n, 0x00ff_ffff_ffff_0000n, (1n << 62n) | ((1n << 54n) - 1n)]);
    expect([0, 1, 2].map((slot) => codec.kind(view, slot))).to.deep.equal([Kind.bad, Kind.bad, Kind.bad]);
  });

  it('have no zero flag in version 2', () => {
    expect(new L2Codec(2, 16, PLAIN_MATH).kind(table([1n]), 0)).to.equal(Kind.bad);
  });

  it('make a run while their host clusters lie in a row', () => {
    const view = table([0x10000n, 0x20000n, 0x30000n, 0x50000n, 0n, 0n, 1n]);
    expect([0, 2, 3, 4, 6].map((slot) => codec.run(view, slot, 7 - slot))).to.deep.equal([3, 1, 1, 2, 1]);
    expect(codec.run(view, 0, 2)).to.equal(2);
  });

  it('say on the hot path where an ordinary cluster is and what reads as zeroes, and nothing of all others', () => {
    const view = table([0n, 0x10000n, (1n << 63n) | 0x10000n, 1n, 1n << 62n, 0x10001n, 0x10201n, (1n << 62n) | 1n]);
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((slot) => codec.directHost(view, slot, false))).to.deep.equal([
      BELOW,
      CLUSTER,
      CLUSTER,
      ZEROES,
      MISS,
      ZEROES,
      MISS,
      MISS,
    ]);
    expect(new L2Codec(2, 16, PLAIN_MATH).directHost(view, 3, false), 'version 2 has no zero flag').to.equal(MISS);
    expect([1, 2].map((slot) => codec.directHost(view, slot, true))).to.deep.equal([MISS, CLUSTER]);
  });

  it('tell the place of compressed data exactly, beyond 2^53 too', () => {
    const small = new L2Codec(3, 9, PLAIN_MATH);
    const offset = (1n << 60n) + 12345n;
    const high = Number(((1n << 62n) | offset) >> 32n);
    expect(small.compressedHostExact(high, Number(offset & 0xffff_ffffn))).to.equal(`0x${offset.toString(16)}`);
    expect(small.compressedBytes(high, Number(offset & 0xffff_ffffn))).to.equal(512 - (12345 % 512));
  });
});
