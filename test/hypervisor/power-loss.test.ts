// Power loss: the process that serves both disks is killed while the guest writes, and QEMU, too. The images open, are consistent (leaked
// clusters at most), and the next guest finds everything that was acknowledged after a sync, and goes on. That a job was copying does not
// matter: the chain means what it meant.

import { rmSync } from 'node:fs';
import { seeded } from '../interop/chain-maker.js';
import { repeats, timeLimit } from '../support/sample.js';
import { Daemon, type JobKind } from './guest/daemon.js';
import { checkImage } from './guest/images.js';
import { DISK_NAMES, Lab, requireGuest, SEED } from './guest/lab.js';
import { DATA_BYTES } from './guest/parts.js';

const KILLS = repeats(3, 25);
/** What is going on in the serving process when it is killed, in turns. */
const JOBS: readonly (JobKind | null)[] = [null, 'commit', 'mirror', 'stream', 'backup'];

describe('power loss', function () {
  this.timeout(timeLimit(120_000 + KILLS * 60_000));
  let lab: Lab;
  let daemon: Daemon | null = null;

  before(function () {
    requireGuest(this);
  });
  afterEach(async () => {
    await lab?.close();
    await daemon?.kill();
  });

  it(`${KILLS} times: what was synced is there`, async () => {
    const random = seeded(SEED);
    lab = await Lab.create();
    const tops = { root: 'root.top', data: 'data.top' };
    for (let kill = 0; kill <= KILLS; kill++) {
      // A new overlay each time, so that there is something below it to stream and to commit to.
      await lab.overlay(tops.data, `data.${kill}`, DATA_BYTES);
      tops.data = `data.${kill}`;
      const images = DISK_NAMES.map((name) => ({ image: lab.path(tops[name]), ...lab.disk(name) }));
      daemon = await Daemon.start(images);
      const machine = await lab.boot(DISK_NAMES.map((name) => lab.disk(name)));
      if (kill > 0) for (const worker of lab.all) worker.resume(await machine.agent.records(worker));
      await machine.agent.start(...lab.all);
      await machine.agent.progress(lab.all, 1 + random(40));
      if (kill === KILLS) {
        await lab.readBack(machine);
        await daemon.close();
        break;
      }
      const job = JOBS[kill % JOBS.length];
      if (job !== null) {
        await daemon.startJob(job, 'data', lab.path('target'));
        await machine.agent.progress(lab.all, 1 + random(10));
      }
      // Any moment will do: it is not to come right after an acknowledgement each time.
      await new Promise((resolve) => setTimeout(resolve, random(50)));
      if (random(2) === 0) await machine.kill();
      await daemon.kill();
      await machine.kill();
      for (const { image } of images) checkImage(image, { leaks: true });
      rmSync(lab.path('target'), { force: true });
    }
    lab.checkFiles({ root: lab.path(tops.root), data: lab.path(tops.data) }, { leaks: true });
  });
});
