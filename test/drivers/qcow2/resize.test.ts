// Other sizes: growth of the L1 table and of the refcount table, shrinking, emptying.

import { expect } from 'chai';
import { failureOf, pattern } from '../support.js';
import { again, contentOf, findings, fresh, openAt, PATH } from './bench.js';

const KIB = 1024;

describe('qcow2 resize', () => {
  it('grows with the L1 table moving, and reads zeroes there', async () => {
    const fixture = await fresh({ size: 33 * KIB, 'cluster-size': 512 });
    const { node } = fixture;
    const data = pattern(33 * KIB);
    await node.write(0, data);
    await node.truncate(20 << 20);
    await node.write((20 << 20) - 700, data.subarray(0, 700));
    const reopened = await again(fixture);
    const content = await contentOf(reopened);
    expect(Buffer.from(content.subarray(0, data.length)).equals(data)).to.equal(true);
    expect(content.subarray(data.length, (20 << 20) - 700).every((byte) => byte === 0)).to.equal(true);
    expect(Buffer.from(content.subarray((20 << 20) - 700)).equals(data.subarray(0, 700))).to.equal(true);
    expect(await findings(reopened)).to.deep.equal([]);
    await fixture.graph.closeAll();
  });

  for (const bits of [16, 64] as const) {
    it(`grows with an L1 table of more clusters than a refcount block of ${bits} bits counts, while guests write`, async () => {
      const fixture = await fresh({ size: 256 * KIB, 'cluster-size': 512, 'refcount-bits': bits });
      const { node } = fixture;
      const data = pattern(256 * KIB);
      const pieces = Array.from({ length: 64 }, (_, i) => i * 4 * KIB);
      const writes = pieces.map((at) => node.write(at, data.subarray(at, at + 4 * KIB)));
      const GROWN = 1 << 30;
      await Promise.all([node.truncate(GROWN), ...writes]);
      await node.write(GROWN - 5000, data.subarray(0, 5000));
      expect(fixture.host.fileSize(PATH)).to.be.below(3 << 20);
      const reopened = await again(fixture);
      expect(reopened.length).to.equal(GROWN);
      const content = new Uint8Array(256 * KIB);
      await reopened.read(0, content);
      expect(Buffer.from(content).equals(data)).to.equal(true);
      await reopened.read(GROWN - 5000, content.subarray(0, 5000));
      expect(Buffer.from(content.subarray(0, 5000)).equals(data.subarray(0, 5000))).to.equal(true);
      expect(await findings(reopened)).to.deep.equal([]);
      await fixture.graph.closeAll();
    });
  }

  it('leaves the single free clusters in the middle of the file to be found after it has grown', async () => {
    const fixture = await fresh({ size: 256 * KIB, 'cluster-size': 512 });
    const { node } = fixture;
    node.discardMode = 'unmap';
    const endOfUse = async (): Promise<number> => (await node.abilities.check!(() => undefined)).imageEndOffset;
    await node.write(0, pattern(96 * KIB));
    // The L1 table lies behind the data from now on.
    await node.truncate(512 * KIB);
    for (let at = 0; at < 64 * KIB; at += 2 * KIB) await node.discard(at, 512);
    await node.flush();
    // Does not fit into any of the gaps.
    await node.write(128 * KIB, pattern(8 * KIB));
    await node.truncate(1 << 20);
    const before = await endOfUse();
    for (let i = 0; i < 16; i++) await node.write(136 * KIB + i * 512, pattern(512));
    await node.flush();
    expect(await endOfUse()).to.equal(before);
    expect(await findings(await again(fixture))).to.deep.equal([]);
    await fixture.graph.closeAll();
  });

  it('does not show what the old last cluster had behind the end', async () => {
    const fixture = await fresh({ size: 8 * KIB, 'cluster-size': 4096 });
    await fixture.node.write(0, pattern(8 * KIB));
    await fixture.node.truncate(5 * KIB);
    await fixture.node.truncate(8 * KIB);
    const content = await contentOf(await again(fixture));
    expect(content.subarray(5 * KIB).every((byte) => byte === 0)).to.equal(true);
    expect(Buffer.from(content.subarray(0, 5 * KIB)).equals(pattern(8 * KIB).subarray(0, 5 * KIB))).to.equal(true);
    await fixture.graph.closeAll();
  });

  it('does not show the backing file in what is new', async () => {
    for (const version of ['v2', 'v3'] as const) {
      const fixture = await fresh({ size: KIB, version, 'cluster-size': 4096 });
      fixture.host.writeFile('/base.raw', pattern(64 * KIB));
      await fixture.node.changeBackingFile('/base.raw', 'raw');
      const node = await again(fixture, {});
      await node.truncate(63 * KIB);
      const content = await contentOf(await again(fixture));
      expect(Buffer.from(content.subarray(0, KIB)).equals(pattern(KIB)), version).to.equal(true);
      expect(
        content.subarray(KIB).every((byte) => byte === 0),
        version,
      ).to.equal(true);
      await fixture.graph.closeAll();
    }
  });

  it('frees what a smaller size cuts off, and the file gets shorter', async () => {
    const fixture = await fresh({ size: 2 << 20, 'cluster-size': 4096 });
    await fixture.node.write(0, pattern(2 << 20));
    await fixture.node.truncate(100 * KIB);
    await fixture.graph.closeAll();
    expect(fixture.host.fileSize(PATH)).to.be.below(300 * KIB);
    const node = await again(fixture);
    expect(node.length).to.equal(100 * KIB);
    expect(Buffer.from(await contentOf(node)).equals(pattern(2 << 20).subarray(0, 100 * KIB))).to.equal(true);
    expect(await findings(node)).to.deep.equal([]);
    await fixture.graph.closeAll();
  });

  for (const preallocation of ['metadata', 'falloc', 'full'] as const) {
    it(`grows with preallocation=${preallocation}`, async () => {
      const fixture = await fresh({ size: 64 * KIB, 'cluster-size': 512 });
      await fixture.node.truncate(900 * KIB, { preallocation });
      const node = await again(fixture);
      let at = 64 * KIB;
      while (at < node.length) {
        const { allocated, length } = await node.blockStatus(at, node.length - at);
        expect(allocated).to.equal(true);
        at += length;
      }
      expect((await contentOf(node)).every((byte) => byte === 0)).to.equal(true);
      expect(await findings(node)).to.deep.equal([]);
      await fixture.graph.closeAll();
    });
  }

  it('refuses a size that is no multiple of 512', async () => {
    const { graph, node } = await fresh({ size: 64 * KIB });
    expect((await failureOf(node.truncate(1000))).code).to.equal('invalid-argument');
    expect(node.length).to.equal(64 * KIB);
    await graph.closeAll();
  });

  it('refuses a size beyond the L1 limit, and the image stays as it is', async () => {
    const fixture = await fresh({ size: 64 * KIB, 'cluster-size': 512 });
    expect((await failureOf(fixture.node.truncate(2 ** 40))).code).to.equal('limit');
    expect((await again(fixture)).length).to.equal(64 * KIB);
    await fixture.graph.closeAll();
  });

  for (const bits of [1, 16, 64]) {
    it(`lets the refcount table grow (${bits}-bit refcounts)`, async () => {
      const size = bits === 1 ? 96 << 20 : 12 << 20;
      const fixture = await fresh({ size, 'cluster-size': 512, 'refcount-bits': bits });
      const data = pattern(1 << 20);
      const table = fixture.host.readFile(PATH, 48, 12);
      for (let at = 0; at < size; at += data.length) await fixture.node.write(at, data);
      const node = await again(fixture);
      if (bits === 64) expect(fixture.host.readFile(PATH, 48, 12)).to.not.deep.equal(table);
      expect(await findings(node)).to.deep.equal([]);
      const found = new Uint8Array(data.length);
      for (let at = 0; at < size; at += data.length) {
        await node.read(at, found);
        expect(Buffer.from(found).equals(data), `at ${at}`).to.equal(true);
      }
      await fixture.graph.closeAll();
    });
  }

  it('empties: everything comes from the backing file again, nothing leaks, the file is short', async () => {
    const fixture = await fresh({ size: 2 << 20, 'cluster-size': 4096 });
    fixture.host.writeFile('/base.raw', pattern(2 << 20, 5));
    await fixture.node.changeBackingFile('/base.raw', 'raw');
    const node = await again(fixture, {});
    await node.write(0, pattern(1 << 20, 9));
    await node.write(1 << 20, pattern(1 << 20, 9), { compressed: true });
    await node.makeEmpty();
    expect(Buffer.from(await contentOf(node)).equals(pattern(2 << 20, 5))).to.equal(true);
    await fixture.graph.closeAll();
    expect(fixture.host.fileSize(PATH)).to.be.below(64 * KIB);
    const reopened = await openAt(fixture, { readOnly: true });
    expect(await findings(reopened)).to.deep.equal([]);
    expect(Buffer.from(await contentOf(reopened)).equals(pattern(2 << 20, 5))).to.equal(true);
    await fixture.graph.closeAll();
  });
});
