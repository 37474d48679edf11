// An export is removed while requests of its client wait for a throttle: by `diskwright daemon`, and by qemu-storage-daemon beside it.

import { truncateSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Command } from '../../src/wire/nbd/constants.js';
import { Workshop } from '../support/cli.js';
import { RawClient } from '../support/nbd-raw.js';
import { requirePeer } from '../support/peers.js';
import { type Json, StorageDaemon } from '../support/qmp.js';

const REQUESTS = 4;

describe('daemon: an export whose requests are under way', () => {
  let shop: Workshop;
  let daemon: StorageDaemon | null;
  let client: RawClient | null;

  before(function () {
    requirePeer(this, 'qemu-storage-daemon');
  });
  beforeEach(async () => {
    shop = await Workshop.open();
    daemon = null;
    client = null;
    writeFileSync(shop.path('a.raw'), '');
    truncateSync(shop.path('a.raw'), 1 << 20);
  });
  afterEach(() => {
    client?.close();
    daemon?.kill();
    shop.remove();
  });

  for (const name of ['diskwright', 'qemu-storage-daemon']) {
    it(`${name}: loses its clients at once, and goes when the requests are over`, async () => {
      const program = name === 'diskwright' ? [process.execPath, shop.bundle, 'daemon'] : [name];
      const words = [
        ...['--object', 'throttle-group,id=g,limits.iops-total=1'],
        ...['--blockdev', 'raw,node-name=f,file.driver=file,file.filename=a.raw'],
        ...['--blockdev', 'throttle,node-name=t,throttle-group=g,file=f'],
        ...['--nbd-server', 'addr.type=unix,addr.path=nbd'],
        ...['--export', 'nbd,id=e,node-name=t,name=e'],
      ];
      daemon = await StorageDaemon.start(shop.path('qmp'), words, program);
      client = await RawClient.connect(shop.path('nbd'));
      await client.go('simple', { name: 'e' });
      for (let i = 0; i < REQUESTS; i++) client.request({ command: Command.read, offset: i * 512, length: 512 });
      // Not all of them: the rest waits.
      await client.reply(512);
      const hard = { execute: 'block-export-del', arguments: { id: 'e', mode: 'hard' } };
      expect(await daemon.ask(hard)).to.deep.equal({ return: {} });
      await client.rest();
      const shuttingDown = { id: 'e', type: 'nbd', 'node-name': 't', 'shutting-down': true };
      expect(await daemon.execute('query-block-exports')).to.deep.equal([shuttingDown]);
      const again = (await daemon.ask(hard))['error'] as Json;
      expect(again['desc']).to.equal("Export 'e' is already shutting down");
      expect(await daemon.event('BLOCK_EXPORT_DELETED')).to.deep.equal({ id: 'e' });
      expect(await daemon.execute('query-block-exports')).to.deep.equal([]);
      await daemon.execute('blockdev-del', { 'node-name': 't' });
    });
  }
});
