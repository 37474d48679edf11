// Power loss while the image's structure changes: tables that move, sizes, emptying. The image always opens, with leaks at worst.

import { expect } from 'chai';
import { findingText } from '../../../src/block/finding-text.js';
import { Graph } from '../../../src/block/graph.js';
import type { Qcow2Node } from '../../../src/drivers/formats/qcow2/driver.js';
import { SimPowerLoss } from '../../../src/host/sim/index.js';
import { seedsOf, timeLimit } from '../../support/sample.js';
import { createAt, type Fixture, makeFixture, openAt } from './bench.js';

const KIB = 1024;
const SEEDS = seedsOf({ fixed: 20, daily: 4, soak: 1000 });

/** What happens to an image of 512-byte clusters before the power goes; refcounts of 64 bits make its refcount table small. */
const LIVES: [string, (node: Qcow2Node, seed: number) => Promise<void>][] = [
  [
    'the refcount table grows',
    async (node) => {
      const data = new Uint8Array(64 * KIB).fill(1);
      for (let at = 0; at < node.length; at += data.length) {
        await node.write(at, data);
        if (at % (512 * KIB) === 0) await node.flush();
      }
    },
  ],
  [
    'the disk grows and shrinks',
    async (node, seed) => {
      const data = new Uint8Array(2 * KIB).fill(2);
      for (let i = 1; i < 12; i++) {
        const size = (1 + ((i * 7 + seed) % 13)) * 256 * KIB;
        await node.truncate(size);
        for (let at = 0; at < size; at += 64 * KIB) await node.write(at, data);
      }
    },
  ],
  [
    'the image is emptied and filled again',
    async (node) => {
      const data = new Uint8Array(16 * KIB).fill(3);
      for (let round = 0; round < 3; round++) {
        for (let at = 0; at < 512 * KIB; at += 3 * data.length)
          await node.write(at, data, { compressed: at % 7 === 0 });
        await node.makeEmpty();
      }
    },
  ],
];

async function untilPowerLoss(fixture: Fixture, work: () => Promise<void>): Promise<boolean> {
  try {
    await fixture.host.run(work);
    return false;
  } catch (error) {
    if (error instanceof SimPowerLoss) return true;
    throw error;
  }
}

describe('qcow2 structure and power loss', function () {
  this.timeout(timeLimit(120_000));

  for (const [name, live] of LIVES) {
    it(`leaves an image that is valid while ${name}`, async () => {
      let losses = 0;
      for (const seed of SEEDS) {
        const fixture = makeFixture({ seed });
        const lost = await untilPowerLoss(fixture, async () => {
          await createAt(fixture, { size: 3 << 20, 'cluster-size': 512, 'refcount-bits': 64 });
          const node = await openAt(fixture);
          const start = fixture.host.requests;
          fixture.host.setFaults({ powerLossAt: start + 2 + ((seed * 37) % 500) });
          await live(node, seed);
          await fixture.graph.closeAll();
        });
        if (lost) losses++;
        const host = fixture.host.crash();
        const after: Fixture = { host, graph: new Graph(host) };
        await host.run(async () => {
          const node = await openAt(after, { readOnly: true });
          const lines: string[] = [];
          const { corruptions, checkErrors } = await node.abilities.check!((finding) =>
            lines.push(findingText(finding)),
          );
          expect(corruptions + checkErrors, `seed ${seed}: ${lines.join('; ')}`).to.equal(0);
          await after.graph.closeAll();
        });
      }
      expect(losses, 'runs that lost power').to.be.above(SEEDS.length / 4);
    });

    it(`stays valid on a failing disk while ${name}`, async () => {
      for (const seed of SEEDS) {
        const fixture = makeFixture({ seed });
        const { host } = fixture;
        await host.run(async () => {
          await createAt(fixture, { size: 3 << 20, 'cluster-size': 512, 'refcount-bits': 64 });
          const node = await openAt(fixture);
          const operations = ['write', 'flush', 'truncate', 'read'] as const;
          host.setFaults({ rules: [{ operations, errno: 'EIO', after: (seed * 31) % 400, times: 1 + (seed % 3) }] });
          await live(node, seed).catch((error) => expect(error.code, `seed ${seed}`).to.equal('io'));
          host.setFaults({});
          await node.write(0, new Uint8Array(512));
          // A file whose flush failed once says so to the end.
          await fixture.graph.closeAll().catch((error) => expect(error.code, `seed ${seed}`).to.equal('io'));
          fixture.graph = new Graph(host);
          const lines: string[] = [];
          const again = await openAt(fixture, { readOnly: true });
          const { corruptions, checkErrors } = await again.abilities.check!((finding) =>
            lines.push(findingText(finding)),
          );
          expect(corruptions + checkErrors, `seed ${seed}: ${lines.join('; ')}`).to.equal(0);
          await fixture.graph.closeAll();
        });
      }
    });
  }
});
