// Devices that are served: an NBD export that names a device serves through it.

import { writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { parseDrive } from '../../src/cli/daemon/drive-options.js';
import type { BlockStats, XDbgBlockGraph } from '../../src/schema/generated/types.js';
import { Command } from '../../src/wire/nbd/constants.js';
import { stateOf } from '../block/support.js';
import { RawClient } from '../support/nbd-raw.js';
import { Bench, type Client } from './support.js';

const SIZE = 1 << 20;

describe('an NBD export of a device', () => {
  let bench: Bench;
  let client: Client;

  beforeEach(async () => {
    bench = new Bench();
    writeFileSync(bench.path('a'), Buffer.alloc(SIZE, 7));
    client = await bench.client();
  });
  afterEach(() => bench.close());

  async function serve(options = ''): Promise<RawClient> {
    await bench.context.drives.add(parseDrive(`id=d0,node-name=n0,format=raw,file=${bench.path('a')}${options}`));
    const addr = { type: 'unix', data: { path: bench.path('nbd') } };
    await client.call('nbd-server-start', { addr });
    await client.call('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'd0', writable: true });
    const guest = await RawClient.connect(bench.path('nbd'));
    await guest.go('simple', { name: 'd0' });
    return guest;
  }

  const figures = async () => ((await client.call('query-blockstats')) as BlockStats[])[0].stats;

  it("counts clients' requests with the device", async () => {
    const guest = await serve();
    await guest.readData(0, 4096);
    await guest.command({ command: Command.write, offset: 8192, length: 512, payload: new Uint8Array(512) });
    await guest.command({ command: Command.flush });
    expect(await figures()).to.include({
      rd_operations: 1,
      rd_bytes: 4096,
      wr_operations: 1,
      wr_bytes: 512,
      flush_operations: 1,
      wr_highest_offset: 8704,
    });
    expect((await figures()).rd_total_time_ns).to.be.greaterThan(0);
    await guest.close();
  });

  it('is limited as the device is', async () => {
    const guest = await serve(',throttling.iops-total=1,throttling.iops-total-max=1');
    await guest.readData(0, 512);
    await guest.readData(0, 512);
    const third = guest.readData(0, 512);
    expect(await stateOf(third)).to.equal('pending');
    await client.call('block-export-del', { id: 'e', mode: 'hard' }).catch(() => undefined);
    await third.catch(() => undefined);
    await guest.close();
  });

  it('waits while devices are stopped, and goes on', async () => {
    const guest = await serve();
    await client.call('stop');
    const reading = guest.readData(0, 4096);
    expect(await stateOf(reading)).to.equal('pending');
    await client.call('cont');
    expect((await reading).equals(Buffer.alloc(4096, 7))).to.equal(true);
    await guest.close();
  });

  it('can be removed while clients wait for a stopped device', async () => {
    const guest = await serve();
    await client.call('stop');
    const reading = guest.readData(0, 4096).then(
      () => 'answered',
      () => 'gone',
    );
    expect(await stateOf(reading)).to.equal('pending');
    await client.call('block-export-del', { id: 'e', mode: 'hard' });
    expect(await reading).to.equal('gone');
    await guest.close();
  });

  it('keeps the size that clients were told', async () => {
    const guest = await serve();
    const { error } = await client.ask('block_resize', { device: 'd0', size: SIZE * 2 });
    expect(error?.desc).to.match(/resize/);
    await guest.close();
    await client.call('block-export-del', { id: 'e', mode: 'hard' });
    await client.call('block_resize', { device: 'd0', size: SIZE * 2 });
  });

  it('asks once more where a located request failed, and does what the policy says', async () => {
    const guest = await serve(',rerror=stop');
    const file = bench.context.graph.nodes.get('n0')?.hostFile();
    if (!file) throw new Error('no file');
    const { read } = file;
    let failures = 0;
    file.beginRead = (_offset, _buffer, _start, _end, sink, tag) => {
      queueMicrotask(() => {
        sink.completed(tag, -5);
        sink.settled();
      });
      return true;
    };
    file.read = (offset, buffer) => {
      failures++;
      return Promise.reject(file.errorOf('read', offset, buffer.length, -5));
    };
    const reading = guest.readData(0, 4096);
    const { data } = await client.event('BLOCK_IO_ERROR');
    expect(data).to.include({ device: 'd0', 'node-name': 'n0', operation: 'read', action: 'stop', nospace: false });
    await client.event('STOP');
    expect(await client.call('query-status')).to.include({ status: 'io-error', running: false });
    expect(failures).to.be.greaterThan(0);
    expect(await stateOf(reading)).to.equal('pending');
    file.read = read;
    await client.call('cont');
    await client.event('RESUME');
    expect((await reading).equals(Buffer.alloc(4096, 7))).to.equal(true);
    await guest.close();
  });
});

describe('x-debug-query-block-graph', () => {
  it('tells nodes, devices, exports and their links', async () => {
    const bench = new Bench();
    try {
      writeFileSync(bench.path('a'), Buffer.alloc(SIZE));
      const client = await bench.client();
      await bench.context.drives.add(parseDrive(`id=d0,node-name=n0,format=raw,file=${bench.path('a')}`));
      await client.call('blockdev-add', { driver: 'null-co', 'node-name': 'alone' });
      await client.call('nbd-server-start', { addr: { type: 'unix', data: { path: bench.path('nbd') } } });
      await client.call('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'n0' });
      const { nodes, edges } = (await client.call('x-debug-query-block-graph')) as XDbgBlockGraph;
      const nameOf = (number: number) => nodes.find(({ id }) => id === number)?.name;
      expect(nodes.filter(({ type }) => type === 'block-driver').map(({ name }) => name)).to.include('alone');
      expect(nodes.filter(({ type }) => type === 'block-backend').map(({ name }) => name)).to.have.members(['d0', '']);
      const links = edges.map(({ parent, child, name }) => `${nameOf(parent)} ${name} ${nameOf(child)}`);
      expect(links).to.include.members(['d0 root n0', ' root n0']);
      const root = edges.find(({ parent }) => nameOf(parent) === 'd0');
      expect(root?.perm).to.deep.equal(['write', 'consistent-read']);
      expect(root?.['shared-perm']).to.deep.equal(['resize', 'write-unchanged', 'write', 'consistent-read']);
      expect(edges).to.have.length(3);
    } finally {
      await bench.close();
    }
  });
});

describe('--drive', () => {
  for (const [options, message] of [
    ['if=virtio', /^unsupported bus type 'virtio'/],
    ['format=raw,driver=raw', "Cannot specify both 'driver' and 'format'"],
    ['cache=nonsense', 'invalid cache option'],
    ['rerror=enospc', "'enospc' invalid read error action"],
    ['werror=nonsense', "'nonsense' invalid write error action"],
    ['read-only=maybe', "Parameter 'read-only' expects 'on' or 'off'"],
    ['nonsense=1', "Block format 'raw' does not support the option 'nonsense'"],
    ['snapshot=on', "Block format 'raw' does not support the option 'snapshot'"],
    ['throttling.bps-total=1,throttling.bps-read=1', /cannot be used at the same time/],
    ['throttling.nonsense=1', "Parameter 'throttling.nonsense' is unexpected"],
    ['id=0d', /^Parameter 'id' expects an identifier/],
    ['id=taken', "Duplicate ID 'taken' for drive"],
    ['id=node', "Device name 'node' conflicts with an existing node name"],
    ['id=own,node-name=own', "Device name 'own' conflicts with an existing node name"],
    ['node-name=taken', 'node-name=taken is conflicting with a device id'],
  ] as const) {
    it(`is refused with ${options}`, async () => {
      const bench = new Bench();
      try {
        for (const name of ['a', 'b']) writeFileSync(bench.path(name), Buffer.alloc(512));
        const { drives, nodes, graph } = bench.context;
        await drives.add(parseDrive(`id=taken,driver=raw,file=${bench.path('a')}`));
        await nodes.add({ driver: 'null-co', 'node-name': 'node' });
        const before = [...graph.nodes.keys()];
        let failure: Error | null = null;
        const image = /driver=/.test(options) ? '' : ',driver=raw';
        try {
          await drives.add(parseDrive(`file=${bench.path('b')},${options}${image}`));
        } catch (error) {
          failure = error as Error;
        }
        expect(failure?.message).to[typeof message === 'string' ? 'equal' : 'match'](message as never);
        expect([...graph.nodes.keys()]).to.deep.equal(before);
        expect([...graph.devices.keys()]).to.deep.equal(['taken']);
      } finally {
        await bench.close();
      }
    });
  }
});
