// A change of the size that fails, or that power loss ends: the disk has its old size and content, with all that is written afterwards, or its new ones,
// and nothing that lay behind the end comes to light again.

import { expect } from 'chai';
import { Graph } from '../../../src/block/graph.js';
import type { Qcow2Node } from '../../../src/drivers/formats/qcow2/driver.js';
import type { SimOperation } from '../../../src/host/sim/index.js';
import { checkFiles } from '../../sim/checks.js';
import { failureOf, pattern } from '../support.js';
import { again, contentOf, type Fixture, fresh, openAt, PATH } from './bench.js';

const SIZE = 256 << 10;
const SMALL = 64 << 10;
const LATE = SIZE - 40_960;
const TRIES = 20;
/** A flush that fails is another matter: the file below says from then on that data is lost. */
const CHANGES = ['write', 'truncate', 'allocate', 'punchHole', 'zeroRange', 'discard'] as const;
const ALL = [...CHANGES, 'flush'] as const;

type Opened = Fixture & { node: Qcow2Node };

const zero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

async function image(size: number): Promise<Opened> {
  const fixture = await fresh({ size, 'cluster-size': 512 });
  await fixture.node.write(0, pattern(size));
  await fixture.node.flush();
  return fixture;
}

/** Resizes images: each meets a fault at another of the requests that the change takes. `then` gets them; says how many of them kept their size. */
async function eachFault(
  to: number,
  operations: readonly SimOperation[],
  times: number,
  then: (opened: Opened, step: number, failed: boolean) => Promise<void>,
): Promise<number> {
  const whole = await image(SIZE);
  const before = whole.host.requests;
  await whole.node.truncate(to);
  const requests = whole.host.requests - before;
  await whole.graph.closeAll();
  let failures = 0;
  for (let step = 0; step < requests; step += Math.ceil(requests / TRIES)) {
    const opened = await image(SIZE);
    opened.host.setFaults({ rules: [{ operations, after: step, times }] });
    const failed = await opened.node.truncate(to).then(
      () => false,
      () => true,
    );
    opened.host.setFaults({});
    if (failed) failures++;
    expect(opened.node.length, `step ${step}`).to.equal(failed ? SIZE : to);
    await then(opened, step, failed);
  }
  return failures;
}

/** The power goes; `then` gets what is left, opened. */
async function afterPowerLoss(opened: Opened): Promise<Opened> {
  const host = opened.host.crash({ eager: true }, { keep: 1, tear: 0 });
  const fixture: Fixture = { host, graph: new Graph(host) };
  return { ...fixture, node: await openAt(fixture) };
}

describe('qcow2: a resize that fails', () => {
  for (const [verb, to] of [
    ['shrinks', SMALL],
    ['grows', 16 * SIZE],
  ] as const) {
    it(`keeps the old size where it ${verb}, and what is written afterwards`, async () => {
      const failures = await eachFault(to, CHANGES, 1, async (opened, step, failed) => {
        const expected = Buffer.alloc(failed ? SIZE : to);
        expected.set(pattern(SIZE).subarray(0, expected.length));
        if (failed) {
          await opened.node.write(LATE, pattern(8192, 9));
          expected.set(pattern(8192, 9), LATE);
        }
        await opened.node.flush();
        const node = await again(opened);
        expect(expected.equals(await contentOf(node)), `step ${step}: size and content`).to.equal(true);
        await opened.graph.closeAll();
        checkFiles(opened.host, true);
      });
      expect(failures).to.be.above(0);
    });
  }

  it('shows no old bytes where power loss ends a shrink and the disk grows again', async () => {
    const lengths = new Set<number>();
    await eachFault(SMALL, ALL, Number.POSITIVE_INFINITY, async (opened, step) => {
      const { node, host, graph } = await afterPowerLoss(opened);
      lengths.add(node.length);
      if (node.length === SIZE) expect(Buffer.from(await contentOf(node)).equals(pattern(SIZE))).to.equal(true);
      if (node.length === SMALL) {
        await node.truncate(SIZE);
        expect(zero((await contentOf(node)).subarray(SMALL)), `step ${step}`).to.equal(true);
      }
      await graph.closeAll();
      checkFiles(host, true);
    });
    expect([...lengths]).to.include(SIZE);
  });

  it('grows with zeroes over what an image maps behind its end, in a table that ends there and in others', async () => {
    const fixture = await image(SIZE);
    await fixture.graph.closeAll();
    fixture.host.patchFile(PATH, 24, new Uint8Array([0, 0, 0, 0, 0, 0, 0x42, 0]));
    const node = await again(fixture, {});
    const size = 0x4200;
    expect(node.length).to.equal(size);
    await node.truncate(2 * SIZE);
    const content = await contentOf(node);
    expect(zero(content.subarray(size))).to.equal(true);
    expect(Buffer.from(content.subarray(0, size)).equals(pattern(SIZE).subarray(0, size))).to.equal(true);
    await fixture.graph.closeAll();
    checkFiles(fixture.host, false);
  });

  it('gives back what it preallocated', async () => {
    const opened = await image(SIZE);
    const { node, host } = opened;
    host.setFaults({ rules: [{ operations: ['zeroRange'], after: 2, times: 1 }] });
    expect((await failureOf(node.truncate(2 * SIZE, { preallocation: 'full' }))).code).to.equal('io');
    host.setFaults({});
    expect((await again(opened)).length).to.equal(SIZE);
    await opened.graph.closeAll();
    expect(host.fileSize(PATH)).to.be.below(1.5 * SIZE);
    checkFiles(host, false);
  });

  it('takes one change of the size after the other', async () => {
    const { node, graph } = await image(SMALL);
    await Promise.all([node.truncate(2 * SIZE, { preallocation: 'full' }), node.truncate(SMALL / 2)]);
    expect(node.length).to.equal(SMALL / 2);
    await node.truncate(SIZE);
    const content = await contentOf(node);
    expect(zero(content.subarray(SMALL / 2))).to.equal(true);
    await graph.closeAll();
  });
});
