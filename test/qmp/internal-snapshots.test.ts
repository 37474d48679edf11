// The jobs of internal snapshots of two disks, while a guest writes to both.

import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import { Device } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { PERM_ALL } from '../../src/block/types.js';
import { readNode } from '../drivers/support.js';
import { Bench, type Client } from './support.js';

const SIZE = 1 << 20;
const BLOCK = 4096;

describe('QMP: jobs of internal snapshots', () => {
  let bench: Bench;
  let client: Client;

  beforeEach(async () => {
    bench = new Bench();
    client = await bench.client();
    for (const name of ['a', 'b']) {
      const graph = new Graph(bench.host);
      await createImage(graph, bench.path(name), { driver: 'qcow2', size: SIZE, 'cluster-size': 4096 });
      await client.call('blockdev-add', {
        driver: 'qcow2',
        'node-name': name,
        file: { driver: 'file', filename: bench.path(name) },
      });
    }
  });
  afterEach(() => bench.close());

  let jobs = 0;
  const job = async (name: string, words: object = {}): Promise<unknown> => {
    const id = `j${jobs++}`;
    const known = { 'job-id': id, tag: 't', devices: ['a', 'b'], ...words };
    await client.call(name, name === 'snapshot-delete' ? known : { vmstate: 'a', ...known });
    await client.event('JOB_STATUS_CHANGE', (data) => data['id'] === id && data['status'] === 'concluded');
    const [info] = (await client.call('query-jobs')) as { error?: string }[];
    await client.call('job-dismiss', { id });
    return info.error;
  };
  const device = (name: string): Device =>
    new Device(bench.context.graph.nodes.get(name)!, { name, called: name, writable: true, shared: PERM_ALL });
  const idsOf = (name: string): string[] =>
    bench.context.graph.nodes
      .get(name)!
      .abilities.snapshots!.list()
      .map(({ id }) => id);

  it('keep both disks of one moment, go back to it, and forget it', async () => {
    const [first, second] = [device('a'), device('b')];
    let ends = false;
    let written = 0;
    const guest = (async () => {
      // The second disk is written when the first one has answered.
      for (let value = 1; !ends; value++) {
        for (const disk of [first, second]) await disk.write(0, Buffer.alloc(BLOCK, value & 0xff));
        written = value;
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    expect(await job('snapshot-save')).to.equal(undefined);
    const before = written;
    while (written < before + 3) await new Promise((resolve) => setImmediate(resolve));
    ends = true;
    await guest;
    expect([idsOf('a'), idsOf('b')]).to.deep.equal([['1'], ['1']]);
    expect(await job('snapshot-load')).to.equal(undefined);
    const values: number[] = [];
    for (const disk of [first, second]) {
      const content = Buffer.alloc(BLOCK);
      await disk.read(0, content);
      expect(content.every((byte) => byte === content[0])).to.equal(true);
      values.push(content[0]);
    }
    expect((values[0] - values[1]) & 0xff, `${values}`).to.be.oneOf([0, 1]);
    expect(await job('snapshot-delete')).to.equal(undefined);
    expect([idsOf('a'), idsOf('b')]).to.deep.equal([[], []]);
    for (const disk of [first, second]) await disk.close();
    await client.call('blockdev-del', { 'node-name': 'a' });
    const graph = new Graph(bench.host);
    const node = await openNode(graph, bench.path('a'), { readOnly: true });
    await readNode(node, 0, Buffer.alloc(BLOCK));
    const { corruptions, leaks } = await node.abilities.check!(() => undefined);
    expect({ corruptions, leaks }).to.deep.equal({ corruptions: 0, leaks: 0 });
    await graph.closeAll();
  });

  it('keep none where one cannot be kept', async () => {
    const graph = new Graph(bench.host);
    await createImage(graph, bench.path('narrow'), { driver: 'qcow2', size: SIZE, 'refcount-bits': 1 });
    await client.call('blockdev-add', {
      driver: 'qcow2',
      'node-name': 'narrow',
      file: { driver: 'file', filename: bench.path('narrow') },
    });
    const disk = device('narrow');
    await disk.write(0, Buffer.alloc(BLOCK, 1));
    await disk.close();
    const error = await job('snapshot-save', { devices: ['a', 'narrow'] });
    expect(error).to.match(/would overflow/);
    expect(idsOf('a')).to.deep.equal([]);
  });

  it('say which disks the snapshot was loaded into, where one of them fails', async () => {
    expect(await job('snapshot-save')).to.equal(undefined);
    const [first, second] = [device('a'), device('b')];
    await first.write(0, Buffer.alloc(BLOCK, 1));
    await second.truncate(2 * SIZE);
    await second.close();
    await client.call('blockdev-add', { driver: 'raw', 'node-name': 'above', file: 'b' });
    expect(await job('snapshot-load')).to.match(
      /^Snapshot 't' was loaded into 'a', not into 'b': .*b: .*a node above the image keeps its size$/,
    );
    const content = Buffer.alloc(BLOCK);
    await first.read(0, content);
    expect(content.every((byte) => byte === 0)).to.equal(true);
    await first.close();
    // Of a failure of the first one, its own words say all.
    expect(await job('snapshot-load', { devices: ['b', 'a'] })).to.match(/^The snapshot has another size/);
  });
});
