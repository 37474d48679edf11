// What `query-command-line-options` tells of the daemon's command line.

import { expect } from 'chai';
import { describeOptions } from '../../src/cli/daemon/describe-options.js';
import { OPTIONS } from '../../src/cli/daemon/options.js';
import { Workshop } from '../support/cli.js';
import { StorageDaemon } from '../support/qmp.js';

describe('daemon: its options, as a monitor tells of them', () => {
  it('are those that it takes, with parameters', () => {
    const names = describeOptions().map(({ option }) => option);
    expect(names).to.deep.equal(['blockdev', 'drive', 'chardev', 'monitor', 'nbd-server', 'export', 'object']);
    expect(OPTIONS.map(({ key }) => key)).to.include.members(names);
  });

  it('have the parameters of their types, also those within others, each once', () => {
    const of = (name: string) => describeOptions().find(({ option }) => option === name)?.parameters ?? [];
    expect(of('monitor')).to.deep.equal([
      { name: 'id', type: 'string' },
      { name: 'mode', type: 'string' },
      { name: 'pretty', type: 'boolean' },
      { name: 'chardev', type: 'string' },
    ]);
    expect(of('nbd-server')).to.deep.include.members([
      { name: 'addr.type', type: 'string' },
      { name: 'addr.path', type: 'string' },
      { name: 'addr.port', type: 'string' },
      { name: 'max-connections', type: 'number' },
    ]);
    expect(of('drive')).to.deep.include.members([
      { name: 'throttling.iops-total', type: 'number' },
      { name: 'stats-intervals.0', type: 'number' },
    ]);
    expect(of('export')).to.deep.include({ name: 'bitmaps.0', type: 'string' });
    expect(of('object')).to.deep.equal([]);
    for (const { option } of describeOptions()) {
      const names = of(option).map(({ name }) => name);
      expect(new Set(names).size, option).to.equal(names.length);
    }
  });

  it('refuse an older QMP that is not known', async () => {
    const shop = await Workshop.open();
    try {
      const { code, stderr } = shop.ours('daemon', '--compat', '0.9');
      expect(code).to.equal(1);
      expect(stderr).to.contain('--compat 0.9: expected first-names or 2.1');
    } finally {
      shop.remove();
    }
  });

  it('are told by a monitor: all, one, and none of an unknown name', async () => {
    const shop = await Workshop.open();
    const daemon = await StorageDaemon.start(shop.path('qmp'), [], [process.execPath, shop.bundle, 'daemon']);
    try {
      expect(await daemon.execute('query-command-line-options')).to.deep.equal(describeOptions());
      const monitor = describeOptions().filter(({ option }) => option === 'monitor');
      expect(await daemon.execute('query-command-line-options', { option: 'monitor' })).to.deep.equal(monitor);
      const words = { option: 'frobnicate' };
      const answer = await daemon.ask({ execute: 'query-command-line-options', arguments: words });
      // The words are qemu-system's.
      expect(answer).to.deep.equal({ error: { class: 'GenericError', desc: 'invalid option name: frobnicate' } });
      await daemon.quit();
    } finally {
      daemon.kill();
      shop.remove();
    }
  });
});
