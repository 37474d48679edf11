// The length of the file under an image: a cut that does not take effect leaves old bytes there, and each request for room has its own end.

import { expect } from 'chai';
import type { Child } from '../../../src/block/child.js';
import { openNode } from '../../../src/block/open.js';
import { ImageFile } from '../../../src/drivers/image-file.js';
import type { SimHostOptions } from '../../../src/host/sim/index.js';
import { BlockError, type BlockErrorCode } from '../../../src/util/errors.js';
import { pattern, readNode } from '../support.js';
import { createAt, makeFixture, openAt, PATH } from './bench.js';

const MIB = 1 << 20;
const KIB = 1024;
/** What is given back keeps its bytes. */
const KEEPS: SimHostOptions = { unsupported: ['punchHole', 'zeroRange', 'discard'] };

/** A link to a file of 4 MiB, which grows up to `limit` bytes and refuses to get shorter with `refusal`. */
function stubbornFile(limit: number, refusal: BlockErrorCode | null = null) {
  const link = {
    filename: 'p',
    length: 4 * MIB,
    truncate: async (size: number) => {
      await new Promise((resolve) => setImmediate(resolve));
      if (size > limit) throw new BlockError('io', 'File too large');
      if (size < link.length && refusal !== null) throw new BlockError(refusal, 'no');
      link.length = size;
    },
  };
  return new ImageFile(() => link as unknown as Child);
}

describe('qcow2: the length of the file', () => {
  for (const refusal of ['io', 'unsupported', 'invalid-argument'] as const) {
    it(`does not take a range for empty whose cut was refused (${refusal})`, async () => {
      const file = stubbornFile(4 * MIB, refusal);
      await file.cut(MIB).catch(() => undefined);
      expect(file.takeFresh(2 * MIB, 3 * MIB)).to.equal(false);
    });
  }

  it('takes a range for empty that was cut off and added again', async () => {
    const file = stubbornFile(8 * MIB);
    await file.cut(MIB);
    await file.ensureLength(3 * MIB);
    expect(file.takeFresh(2 * MIB, 3 * MIB)).to.equal(true);
  });

  it('gives room to one request where another one asks for too much', async () => {
    const file = stubbornFile(6 * MIB);
    const [far, near] = await Promise.allSettled([file.ensureLength(7 * MIB), file.ensureLength(5 * MIB)]);
    expect(far.status).to.equal('rejected');
    expect(near.status).to.equal('fulfilled');
  });

  it('gives room to a request that waits for a cut which fails', async () => {
    const file = stubbornFile(6 * MIB, 'io');
    const [cut, room] = await Promise.allSettled([file.cut(MIB), file.ensureLength(5 * MIB)]);
    expect(cut.status).to.equal('rejected');
    expect(room.status).to.equal('fulfilled');
  });

  it('shows no old bytes in a new cluster after a shrink whose cut failed', async () => {
    const fixture = makeFixture(KEEPS);
    const { host, graph } = fixture;
    await createAt(fixture, { size: MIB, 'cluster-size': 4096 });
    const node = await openAt(fixture);
    await node.write(0, pattern(MIB));
    host.setFaults({ rules: [{ operations: ['truncate'] }] });
    // The disk is smaller, and its file is not.
    await node.truncate(64 * KIB);
    expect(host.fileSize(PATH)).to.be.above(MIB);
    await node.truncate(MIB);
    for (let at = 128 * KIB; at < MIB; at += 4096) {
      await node.write(at + 512, pattern(512));
      const found = new Uint8Array(4096);
      await node.read(at, found);
      found.fill(0, 512, 1024);
      expect(
        found.every((byte) => byte === 0),
        `at ${at}`,
      ).to.equal(true);
    }
    host.setFaults({});
    await graph.closeAll();
  });

  it('shows no old bytes in a new cluster after an image was emptied whose file cannot get shorter', async () => {
    const fixture = makeFixture(KEEPS);
    await createAt(fixture, { size: MIB, 'cluster-size': 4096 });
    fixture.host.resizeFile(PATH, 3 * MIB);
    const file = { driver: 'raw', size: 3 * MIB, file: { driver: 'file', filename: PATH } };
    const node = await openNode(fixture.graph, `json:${JSON.stringify({ driver: 'qcow2', file })}`);
    await node.write(0, pattern(MIB));
    await node.makeEmpty();
    await node.write(512, pattern(512));
    const found = new Uint8Array(4096);
    await readNode(node, 0, found);
    found.fill(0, 512, 1024);
    expect(found.every((byte) => byte === 0)).to.equal(true);
    await fixture.graph.closeAll();
  });
});
