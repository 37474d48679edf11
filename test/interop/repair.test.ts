// Damaged images beside qemu-img: the same figures before, nothing that qemu-img's check finds after our repair, and at least what is readable after its own.

import { spawnSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Graph } from '../../src/block/graph.js';
import { createSimHost } from '../../src/host/sim/index.js';
import { checkImage, repairImage } from '../../src/workspace/check.js';
import { PATH } from '../drivers/qcow2/bench.js';
import { BASE, damagedImage, guestOf, losses } from '../drivers/qcow2/repairs.js';
import { requirePeer } from '../support/peers.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { useBench } from './support.js';

const SEEDS = seedsOf({ first: 5000, fixed: 20, daily: 5, soak: 3000 });

/** `qemu-img check`, with its exit code. */
function qemuCheck(...words: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync('qemu-img', ['check', '-f', 'qcow2', ...words], { encoding: 'utf8', maxBuffer: 1 << 30 });
}

describe('repair beside qemu-img', function () {
  this.timeout(timeLimit(120_000));
  const bench = useBench('repair');

  before(function () {
    requirePeer(this, 'qemu-img');
  });

  it(`finds the same before, and leaves what both tools call sound (${spanOf(SEEDS)})`, async () => {
    let [compared, better] = [0, 0];
    for (const seed of SEEDS) {
      const { fixture, image, what } = await damagedImage(seed);
      const context = `seed ${seed}: ${what}`;
      const before = await guestOf(fixture.host);
      if (before === null) continue;
      const [ours, theirs] = ['ours', 'theirs'].map((name) => join(bench.folder, name));
      if (fixture.host.exists(BASE)) writeFileSync(join(bench.folder, 'base.raw'), fixture.host.readFile(BASE));
      for (const path of [ours, theirs]) writeFileSync(path, image);

      const found = qemuCheck('--output=json', theirs);
      if (found.stdout.startsWith('{')) {
        compared++;
        const graph = new Graph(bench.host);
        const { result } = await checkImage(graph, ours, { format: 'qcow2' }, () => undefined);
        await graph.closeAll();
        const figures = JSON.parse(found.stdout) as Record<string, number | undefined>;
        const { corruptions, leaks, checkErrors, imageEndOffset, allocatedClusters, fragmentedClusters } = result;
        expect([corruptions, leaks, checkErrors, allocatedClusters, fragmentedClusters], context).to.deep.equal(
          ['corruptions', 'leaks', 'check-errors', 'allocated-clusters', 'fragmented-clusters'].map(
            (name) => figures[name] ?? 0,
          ),
        );
        expect(imageEndOffset, context).to.equal(figures['image-end-offset']);
      }

      const graph = new Graph(bench.host);
      await repairImage(graph, ours, 'all', { format: 'qcow2' }, () => undefined);
      await graph.closeAll();
      const after = qemuCheck(ours);
      expect(after.status, `${context}: ${after.stdout}${after.stderr}`).to.equal(0);

      qemuCheck('-r', 'all', theirs);
      const read = async (path: string) => {
        const host = createSimHost();
        for (const name of fixture.host.files()) host.writeFile(name, fixture.host.readFile(name));
        host.writeFile(PATH, readFileSync(path));
        return (await guestOf(host)) ?? [];
      };
      expect(losses(before, await read(ours)), context).to.deep.equal([]);
      // It may make a file very long.
      if (statSync(theirs).size < 1 << 26 && losses(before, await read(theirs)).length > 0) better++;
    }
    expect(compared).to.be.above(SEEDS.length / 2);
    if (SEEDS.length > 1000) console.log(`      compared ${compared}, more was kept than by qemu-img in ${better}`);
  });
});
