// Devices of a daemon: their error policy, stop and cont, figures; on a simulated disk that fails when it is told to.

import { expect } from 'chai';
import type { Device } from '../../src/block/device.js';
import { openNode } from '../../src/block/open.js';
import { parseDrive } from '../../src/cli/daemon/drive-options.js';
import type { FaultRule } from '../../src/host/sim/faults.js';
import type { SimHostOptions } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';
import { Drives } from '../../src/workspace/drives.js';
import { stateOf } from '../block/support.js';
import { type Bench, failureOf, makeBench, pattern } from '../drivers/support.js';

const SIZE = 65536;

interface Stage extends Bench {
  drives: Drives;
  device: Device;
  /** Names of the events so far; of errors, with what was done. */
  events: string[];
  /** Data of the last event. */
  last: () => object;
  fail: (...rules: FaultRule[]) => void;
}

async function stage(options = '', host: SimHostOptions = {}): Promise<Stage> {
  const bench = makeBench(host);
  bench.host.writeFile('/a', pattern(SIZE));
  const events: string[] = [];
  let last: object = {};
  const drives = new Drives(bench.graph, (event, data) => {
    last = data;
    events.push('action' in data ? `${event} ${data.operation} ${data.action}` : event);
  });
  const device = await drives.add(parseDrive(`id=d0,node-name=n0,format=raw,file=/a${options}`));
  const fail = (...rules: FaultRule[]) => bench.host.setFaults({ rules });
  return { ...bench, drives, device, events, last: () => last, fail };
}

const statusOf = async (drives: Drives) => (await drives.infos())[0]['io-status'];

describe('error policy of a device', () => {
  it('reports: the caller gets the error, and an event tells of it', async () => {
    const { device, events, last, fail, drives } = await stage(',werror=report');
    fail({ operations: ['read', 'write', 'flush'] });
    expect((await failureOf(device.read(0, new Uint8Array(512)))).code).to.equal('io');
    expect(last()).to.deep.equal({
      device: 'd0',
      'node-name': 'n0',
      operation: 'read',
      action: 'report',
      reason: 'Input/output error',
    });
    expect((await failureOf(device.write(0, new Uint8Array(512)))).code).to.equal('io');
    expect((await failureOf(device.flush())).code).to.equal('io');
    expect(events).to.deep.equal([
      'BLOCK_IO_ERROR read report',
      'BLOCK_IO_ERROR write report',
      'BLOCK_IO_ERROR write report',
    ]);
    expect(await statusOf(drives)).to.equal(undefined);
    expect(drives.machine.running).to.equal(true);
  });

  it('ignores: the request succeeds', async () => {
    const { device, events, fail } = await stage(',rerror=ignore,werror=ignore');
    fail({ operations: ['read', 'write'] });
    await device.read(0, new Uint8Array(512));
    await device.write(0, new Uint8Array(512));
    expect(events).to.deep.equal(['BLOCK_IO_ERROR read ignore', 'BLOCK_IO_ERROR write ignore']);
  });

  it('stops: the request waits, and is tried again once the device goes on', async () => {
    const { device, drives, events, last, fail } = await stage(',rerror=stop');
    fail({ operations: ['read'] });
    const buffer = new Uint8Array(512);
    const reading = device.read(512, buffer);
    expect(await stateOf(reading)).to.equal('pending');
    expect(events).to.deep.equal(['BLOCK_IO_ERROR read stop', 'STOP']);
    expect(last()).to.deep.equal({});
    expect(drives.machine.state).to.equal('io-error');
    expect(await statusOf(drives)).to.equal('failed');
    drives.resume();
    expect(await stateOf(reading)).to.equal('pending');
    expect(events.slice(2)).to.deep.equal(['RESUME', 'BLOCK_IO_ERROR read stop', 'STOP']);
    fail();
    drives.resume();
    await reading;
    expect(buffer).to.deep.equal(pattern(SIZE).subarray(512, 1024));
    expect(drives.machine.state).to.equal('running');
    expect(await statusOf(drives)).to.equal('ok');
    expect(device.stats.readOperations).to.equal(1);
  });

  it('enospc: stops where there is no space, reports other errors of writes', async () => {
    const { device, drives, events, last, fail } = await stage();
    fail({ operations: ['write'] });
    expect((await failureOf(device.write(0, new Uint8Array(512)))).code).to.equal('io');
    expect(last()).to.include({ nospace: false });
    fail({ operations: ['write'], errno: 'ENOSPC' });
    const writing = device.write(0, new Uint8Array(512));
    expect(await stateOf(writing)).to.equal('pending');
    expect(await statusOf(drives)).to.equal('nospace');
    expect(events).to.deep.equal(['BLOCK_IO_ERROR write report', 'BLOCK_IO_ERROR write stop', 'STOP']);
    fail();
    drives.resume();
    await writing;
  });

  it('has nothing to do with requests that are wrong themselves', async () => {
    const { device, events } = await stage(',rerror=stop,werror=stop');
    expect((await failureOf(device.read(SIZE, new Uint8Array(512)))).code).to.equal('out-of-bounds');
    expect((await failureOf(device.write(SIZE, new Uint8Array(512)))).code).to.equal('out-of-bounds');
    expect(events).to.deep.equal([]);
  });

  it('lets a drained section begin and end while a device is stopped', async () => {
    const { device, drives, graph, fail } = await stage(',rerror=stop');
    fail({ operations: ['read'], times: 2 });
    const reading = device.read(0, new Uint8Array(512));
    expect(await stateOf(reading)).to.equal('pending');
    await graph.drained([...graph.nodes.values()], async () => undefined);
    expect(await stateOf(reading)).to.equal('pending');
    drives.resume();
    await reading;
  });

  it('rejects what waits when the device is closed', async () => {
    const { device, drives, graph, fail } = await stage(',rerror=stop');
    fail({ operations: ['read'] });
    const failure = failureOf(device.read(0, new Uint8Array(512)));
    expect(await stateOf(failure)).to.equal('pending');
    await drives.close();
    expect((await failure).code).to.equal('closed');
    await graph.closeAll();
  });

  it('lets nobody wait while that is asked for', async () => {
    const { device, drives } = await stage();
    await drives.machine.stop();
    const waiting = failureOf(device.read(0, new Uint8Array(512)));
    await device.withoutHolding(async () => {
      expect((await waiting).code).to.equal('closed');
      expect((await failureOf(device.read(0, new Uint8Array(512)))).code).to.equal('closed');
    });
    const later = device.read(0, new Uint8Array(512));
    expect(await stateOf(later)).to.equal('pending');
    drives.resume();
    await later;
  });
});

describe('devices that are stopped', () => {
  it('begin nothing, located or not', async () => {
    const { device, drives, events } = await stage();
    await drives.machine.stop();
    expect(device.beginRead(0, 512, { file: null, offset: 0, guard: null })).to.equal(false);
    const requests = [
      device.read(0, new Uint8Array(512)),
      device.write(0, new Uint8Array(512)),
      device.flush(),
      device.discard(0, 512),
    ];
    for (const request of requests) expect(await stateOf(request)).to.equal('pending');
    await drives.machine.stop();
    expect(drives.machine.state).to.equal('paused');
    drives.resume();
    drives.resume();
    await Promise.all(requests);
    expect(events).to.deep.equal(['STOP', 'RESUME']);
  });

  it('are all devices, also one that comes meanwhile', async () => {
    const { drives, host, device } = await stage();
    host.writeFile('/b', pattern(SIZE));
    drives.machine.hold('io-error');
    const other = await drives.add(parseDrive('id=d1,format=raw,file=/b'));
    const requests = [device, other].map((one) => one.read(0, new Uint8Array(512)));
    for (const request of requests) expect(await stateOf(request)).to.equal('pending');
    drives.resume();
    await Promise.all(requests);
  });
});

describe('figures of a device', () => {
  it('tell operations, times, failures and refusals by kind', async () => {
    const { device, drives, fail, host } = await stage(',werror=report');
    await device.read(0, new Uint8Array(512));
    await device.write(512, new Uint8Array(1024));
    await device.flush();
    fail({ operations: ['write'] });
    await failureOf(device.write(0, new Uint8Array(512)));
    await failureOf(device.read(SIZE, new Uint8Array(512)));
    await host.advance(1000);
    const [{ stats }] = drives.stats();
    expect(stats).to.include({
      rd_operations: 1,
      rd_bytes: 512,
      wr_operations: 1,
      wr_bytes: 1024,
      flush_operations: 1,
      failed_wr_operations: 1,
      failed_rd_operations: 0,
      invalid_rd_operations: 1,
      wr_highest_offset: 1536,
    });
    expect(stats.idle_time_ns).to.equal(1e9);
  });

  it('count how long a located request takes, and nothing for one that was given up', async () => {
    const { device, drives, host } = await stage();
    const place = { file: null, offset: 0, guard: null };
    expect(device.beginRead(0, 512, place)).to.equal(true);
    await host.advance(5);
    device.ended(false, 0, 512, null, false);
    expect(device.beginWrite(0, 512, place)).to.equal(true);
    device.givenUp(true, null);
    const [{ stats }] = drives.stats();
    expect(stats).to.include({ rd_total_time_ns: 5e6, rd_operations: 1, wr_operations: 0, wr_total_time_ns: 0 });
  });

  it('count requests by how long they take, none of which is located', async () => {
    const { device, drives } = await stage();
    const place = { file: null, offset: 0, guard: null };
    device.setHistogram('read', [1, 1e12]);
    expect(device.beginRead(0, 512, place)).to.equal(false);
    await device.read(0, new Uint8Array(512));
    const [{ stats }] = drives.stats();
    expect(stats.rd_latency_histogram?.boundaries).to.deep.equal([1, 1e12]);
    expect(stats.rd_latency_histogram?.bins.reduce((sum, bin) => sum + bin)).to.equal(1);
    expect(stats).not.to.have.property('wr_latency_histogram');
    device.setHistogram('read', null);
    expect(drives.stats()[0].stats).not.to.have.property('rd_latency_histogram');
    expect(device.beginRead(0, 512, place)).to.equal(true);
    device.ended(false, 0, 512, null, false);
  });

  it('tell of the last seconds', async () => {
    const { device, drives, host } = await stage(',stats-intervals.0=10');
    await device.read(0, new Uint8Array(512));
    expect(drives.stats()[0].stats.timed_stats[0]).to.include({ interval_length: 10, min_wr_latency_ns: 0 });
    await host.advance(20_000);
    expect(drives.stats()[0].stats.timed_stats[0]).to.include({ max_rd_latency_ns: 0, avg_rd_queue_depth: 0 });
  });
});

describe('limits of devices', () => {
  it('hold for all of a group, until the last one has left it', async () => {
    const { drives, host } = await stage(',throttling.iops-total=10,throttling.group=g');
    host.writeFile('/b', pattern(SIZE));
    await drives.add(parseDrive('id=d1,format=raw,file=/b'));
    drives.setLimits('d1', { 'bps-read': 1000 }, 'g');
    const told = async () => (await drives.infos()).map(({ inserted }) => [inserted?.group, inserted?.bps_rd]);
    expect(await told()).to.deep.equal([
      ['g', 1000],
      ['g', 1000],
    ]);
    drives.setLimits('d0', {});
    expect(await told()).to.deep.equal([
      [undefined, 0],
      ['g', 1000],
    ]);
    expect(() => drives.setLimits('nobody', {})).to.throw("Device 'nobody' not found");
  });

  it('that end let those who wait pass', async () => {
    const { drives, device } = await stage(',throttling.iops-total=1,throttling.iops-total-max=1', {
      manualClock: true,
    });
    const reads = [1, 2, 3].map(() => device.read(0, new Uint8Array(512)));
    expect(await stateOf(reads[2])).to.equal('pending');
    drives.setLimits('d0', {});
    await Promise.all(reads);
  });
});

describe('names of devices', () => {
  it('are given once, also to a node that is open already', async () => {
    const { drives, graph, device } = await stage();
    const node = await openNode(graph, { driver: 'null-co', 'node-name': 'n1', size: 512 });
    const request = { ...parseDrive('id=d1,file=/a'), writable: true };
    for (const [name, code] of [
      ['d0', 'exists'],
      ['n1', 'exists'],
      ['a b', 'invalid-argument'],
    ]) {
      expect(() => drives.put(name, node, request), name)
        .to.throw(BlockError)
        .with.property('code', code);
    }
    expect(drives.find('d0')).to.equal(device);
    await graph.release(node);
  });
});
