// Commands out of band: they overtake one that waits for a peer that does not answer, and cut it off.

import { connect } from 'node:net';
import { expect } from 'chai';
import { settingsOfOptions } from '../../src/qmp/chardev/settings.js';
import { Monitors } from '../../src/qmp/monitors.js';
import { FakeNbd } from '../support/fake-nbd.js';
import { until } from '../support/nbd-process.js';
import { Bench } from './support.js';

const SIZE = 1 << 20;

describe('out of band', () => {
  let bench: Bench;
  let asked: number;
  let server: FakeNbd;

  beforeEach(async () => {
    bench = new Bench();
    asked = 0;
    server = await FakeNbd.listen(bench.path('nbd'), async (peer) => {
      await peer.negotiate({ size: SIZE });
      await peer.request();
      asked++;
      await peer.gone();
    });
  });
  afterEach(async () => {
    await server.close();
    await bench.close();
  });

  const silent = (name: string): object => ({
    driver: 'nbd',
    'node-name': name,
    server: { type: 'unix', path: bench.path('nbd') },
    'reconnect-delay': 3600,
  });

  it('an NBD server that does not answer is cut off, and what waits for it fails', async () => {
    const client = await bench.client(['oob']);
    await client.call('blockdev-add', silent('n'));
    client.send({ execute: 'blockdev-add', arguments: { driver: 'qcow2', 'node-name': 'q', file: 'n' }, id: 'q' });
    client.send({ execute: 'query-version', id: 'v' });
    await until('the server was asked', () => asked > 0);
    const instances = [{ type: 'block-node', 'node-name': 'n' }];
    client.send({ 'exec-oob': 'query-yank', id: 'list' });
    client.send({ 'exec-oob': 'yank', arguments: { instances }, id: 'cut' });
    const answers = [await client.next(), await client.next(), await client.next(), await client.next()];
    expect(answers.map(({ id }) => id)).to.deep.equal(['list', 'cut', 'q', 'v']);
    expect(answers[0].return).to.deep.equal(instances);
    expect(answers[2].error?.class).to.equal('GenericError');
    // A second time is of no effect, and the node can be removed.
    await client.call('yank', { instances });
    await client.call('blockdev-del', { 'node-name': 'n' });
    expect(await client.call('query-yank')).to.deep.equal([]);
  });

  it('nothing is cut off where one of several is not there', async () => {
    const client = await bench.client();
    await client.call('blockdev-add', silent('n'));
    const instances = ['n', 'nobody'].map((name) => ({ type: 'block-node', 'node-name': name }));
    const { error } = await client.ask('yank', { instances });
    expect(error).to.deep.equal({ class: 'DeviceNotFound', desc: 'Instance not found' });
    const node = bench.context.graph.find('n');
    void node.read(0, new Uint8Array(512)).catch(() => undefined);
    await until('the server was asked', () => asked > 0);
    await client.call('yank', { instances: instances.slice(0, 1) });
  });

  it('clients of a socket are disconnected, those of a monitor and those that are kept for one', async () => {
    const monitors = new Monitors(bench.context);
    try {
      for (const id of ['used', 'kept']) {
        const options = { backend: 'socket', id, path: bench.path(id), server: true, wait: false } as const;
        await bench.context.chardevs.add(
          id,
          () => settingsOfOptions(options),
          (error) => error,
        );
      }
      monitors.add({ chardev: 'used' });
      const client = await bench.client();
      for (const id of ['used', 'kept']) {
        const socket = connect(bench.path(id));
        const ended = new Promise((resolve) => socket.once('close', resolve).resume());
        const connectedAs = () => bench.context.chardevs.list().find(({ label }) => label === id)?.filename;
        await until('it is connected', () => connectedAs() === `unix:${bench.path(id)},server=on`);
        await client.call('yank', { instances: [{ type: 'chardev', id }] });
        await ended;
        await until('it has gone', () => connectedAs() === `disconnected:unix:${bench.path(id)},server=on`);
      }
    } finally {
      await monitors.close();
    }
  });
});
