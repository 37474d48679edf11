// The disk under the data image gets full while the guest writes. With `werror=stop` the guest stops where it is, nothing is lost, and
// when there is room again it goes on (`cont`).

import { copyFileSync, mkdirSync } from 'node:fs';
import { expect } from 'chai';
import { leaveOut } from '../support/needs.js';
import { canMount, Daemon, type Tightness } from './guest/daemon.js';
import { Lab, requireGuest } from './guest/lab.js';

const SOME = 24;
const TIGHT_BYTES = 6 * 1024 ** 2;

describe('a disk that gets full under a guest', function () {
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

  for (const kind of ['file-system', 'file-size'] as const) {
    describe(`of kind ${kind}`, () => {
      before(function () {
        if (kind === 'file-system' && !canMount()) leaveOut(this, 'mount name spaces');
      });

      it('stops it until there is room again', () => stopsUntilThereIsRoom(kind));
    });
  }

  async function stopsUntilThereIsRoom(kind: Tightness['kind']): Promise<void> {
    lab = await Lab.create();
    await lab.serve('root');
    const folder = lab.path('tight');
    const image = `${folder}/data.top`;
    mkdirSync(folder);
    copyFileSync(lab.path('data.top'), image);
    const tight: Tightness = { kind, folder, bytes: TIGHT_BYTES };
    daemon = await Daemon.start([{ image, ...lab.disk('data') }], tight);
    const machine = await lab.boot([lab.disk('root'), { ...lab.disk('data'), stopWhenFull: true }]);
    const { monitor, agent } = machine;
    await agent.start(...lab.all);
    const error = await monitor.event('BLOCK_IO_ERROR');
    expect(error).to.include({ nospace: true, action: 'stop', operation: 'write' });
    await monitor.event('STOP');
    expect(await monitor.execute('query-status')).to.include({ status: 'io-error', running: false });

    await daemon.relieve();
    await monitor.execute('cont');
    await agent.progress(lab.all, SOME);
    await lab.readBack(machine);
    await daemon.shutdown();
    await daemon.copyOut(image, lab.path('data.after'));
    await daemon.close();
    await lab.closeImage('root');
    lab.checkFiles({ root: lab.path('root.top'), data: lab.path('data.after') });
  }
});
