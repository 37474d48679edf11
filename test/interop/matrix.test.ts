// The matrix: qcow2 images with every pair of features, made by us and used by QEMU's tools, and the other way round (matrix/round.ts).

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openRealHost, Workspace } from '../../src/index.js';
import { cliBundle } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { StorageDaemon } from '../support/qmp.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { Ours } from './matrix/ours.js';
import { runRound, type Sides } from './matrix/round.js';
import { PASSWORD, SECRET_ID } from './matrix/side.js';
import { Theirs } from './matrix/theirs.js';

/** A soak has all pairs of features many times over: 1,500 images. */
const SEEDS = seedsOf({ fixed: 60, daily: 12, soak: 1500 });
const AT_ONCE = 2;

describe('the matrix of qcow2 features, with QEMU', function () {
  this.timeout(timeLimit(600_000));
  let folder: string;
  let workspace: Workspace;
  let daemon: StorageDaemon;
  let sides: Sides;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io', 'qemu-storage-daemon']) requirePeer(this, peer);
    folder = mkdtempSync(join(tmpdir(), 'diskwright-matrix-'));
    workspace = new Workspace(await openRealHost());
    await workspace.addObject({ 'qom-type': 'secret', id: SECRET_ID, data: PASSWORD });
    daemon = await StorageDaemon.start(join(folder, 'qmp.sock'), [
      '--object',
      `secret,id=${SECRET_ID},data=${PASSWORD}`,
    ]);
    sides = { ours: new Ours(workspace, await cliBundle()), theirs: new Theirs(daemon) };
  });
  after(async () => {
    await workspace?.close();
    await daemon?.quit();
    rmSync(folder, { recursive: true, force: true });
  });

  it(`reads, checks, maps, snapshots and bitmaps are the same; ${spanOf(SEEDS)}`, async () => {
    const left = [...SEEDS];
    const failures: string[] = [];
    const work = async (): Promise<void> => {
      for (let seed = left.shift(); seed !== undefined; seed = left.shift()) {
        await runRound(sides, folder, seed).catch((error: Error) => failures.push(error.message));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    if (failures.length > 0) throw new Error(`${failures.length} of ${SEEDS.length} images:\n${failures.join('\n')}`);
  });
});
