// The server goes away and comes back while the guest writes. QEMU's client (`reconnect-delay`) holds the requests until then.

import { Daemon } from './guest/daemon.js';
import { Lab, requireGuest } from './guest/lab.js';

const SOME = 24;

describe('a server that is restarted under a guest', function () {
  this.timeout(300_000);
  let lab: Lab;
  let daemon: Daemon | null = null;

  before(function () {
    requireGuest(this);
  });
  afterEach(async () => {
    await lab?.close();
    await daemon?.kill();
  });

  it('is missed by nobody when it was closed, the image, too', async () => {
    lab = await Lab.create();
    await lab.serveBoth();
    const machine = await lab.work();
    for (let round = 0; round < 3; round++) {
      await lab.endService('data');
      if (round > 0) await lab.closeImage('data');
      await lab.serve('data');
      await machine.agent.progress(lab.all, SOME);
    }
    await lab.finish(machine);
  });

  // A server that dies takes writes with it that no flush has followed, and the client, which had its answers, does not know: who goes on
  // after that asks for each write to be durable.
  it('may be killed where each write is durable when it is answered', async () => {
    lab = await Lab.create();
    await lab.serve('root');
    const images = [{ image: lab.path('data.top'), ...lab.disk('data') }];
    daemon = await Daemon.start(images);
    const machine = await lab.work({ writeThrough: true });
    for (let round = 0; round < 3; round++) {
      await daemon.kill();
      daemon = await Daemon.start(images);
      await machine.agent.progress(lab.all, SOME);
    }
    await lab.readBack(machine);
    await daemon.close();
    await lab.closeImage('root');
    lab.checkFiles({ root: lab.path('root.top'), data: lab.path('data.top') }, { leaks: true });
  });
});
