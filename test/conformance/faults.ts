// Power loss, failed requests and a full disk: of simulated places only.

import { expect } from 'chai';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import { contentOf, expectContent, expectSame } from './checks.js';
import { codeOf } from './entry.js';
import { randomRun } from './random-run.js';
import type { Suite } from './suite.js';

/** A machine with what is surely on this one's disk. */
function durable(sim: SimHost): SimHost {
  const other = createSimHost();
  for (const path of sim.files()) other.writeFile(path, sim.durableFile(path));
  return other;
}

export function faultBehaviours({ kind, driver, capabilities, size, unit, behaves }: Suite): void {
  if (kind.simulated && capabilities.keeps) {
    behaves('has after power loss what was flushed', async ({ node, fresh, place, seed }) => {
      await randomRun(node, fresh, { seed, steps: 20, unit, keeps: true, compressed: capabilities.compressed });
      await node.flush();
      const content = await contentOf(node);
      const sim = durable(place.sim!);
      const after = { ...place, host: sim, sim };
      const { opensUnclosed } = capabilities;
      if (!opensUnclosed) expect(await codeOf(driver.open(after))).to.equal('corrupt-image');
      const opened = await driver.open(after, { readOnly: !opensUnclosed });
      await expectContent(opened, content);
      await opened.graph.closeAll();
    });

    behaves('says that a flush failed', async ({ node, place }) => {
      await node.write(0, new Uint8Array(4096).fill(1));
      place.sim!.setFaults({ rules: [{ operations: ['flush'] }] });
      expect(await codeOf(node.flush())).to.equal('io');
      expect(await codeOf(node.graph.closeAll())).to.equal('io');
      place.sim!.setFaults({});
    });

    behaves('says that a read failed, and reads again', async ({ node, place, fresh }) => {
      await node.write(0, fresh.fill(1));
      place.sim!.setFaults({ rules: [{ operations: ['read'], times: 1, path: `/${driver.content}` }] });
      expect(await codeOf(node.read(0, new Uint8Array(size)))).to.equal('io');
      await expectContent(node, fresh);
    });

    // Where one of several copies has no room, they differ.
    if (capabilities.copies === 1)
      behaves('says that there is no room, and is what it was', async ({ node, place, fresh }) => {
        const writes = ['write', 'truncate', 'allocate', 'zeroRange', 'punchHole'] as const;
        place.sim!.setFaults({ rules: [{ operations: writes, errno: 'ENOSPC' }] });
        expect(await codeOf(node.write(0, new Uint8Array(4096).fill(1)))).to.equal('no-space');
        place.sim!.setFaults({});
        // The sectors of the failed write may have either.
        const content = await contentOf(node);
        expectSame(content.subarray(4096), fresh.subarray(4096), 'the rest');
        await node.write(0, fresh.fill(2));
        await expectContent(node, fresh);
      });
  }
}
