// `blockdev-compact`: a job like others, by its events.

import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { Bench, type Client } from './support.js';

const CLUSTER = 65536;
const COUNT = 64;

describe('QMP: blockdev-compact', () => {
  let bench: Bench;
  let client: Client;

  beforeEach(async () => {
    bench = new Bench();
    client = await bench.client();
    const graph = new Graph(bench.host);
    const path = bench.path('disk');
    await createImage(graph, path, { driver: 'qcow2', size: COUNT * CLUSTER });
    const node = await openNode(graph, path, { format: 'qcow2', readOnly: false });
    for (let i = 0; i < COUNT; i++) await node.write(i * CLUSTER, new Uint8Array(CLUSTER).fill(i % 2));
    await graph.closeAll();
    const file = { driver: 'file', filename: path };
    await client.call('blockdev-add', { driver: 'qcow2', 'node-name': 'd', file });
    await client.call('blockdev-add', { driver: 'null-co', 'node-name': 'nothing', size: CLUSTER });
  });
  afterEach(() => bench.close());

  const status = (wanted: string): Promise<unknown> =>
    client.event('JOB_STATUS_CHANGE', (data) => data['id'] === 'j' && data['status'] === wanted);
  const refusal = async (command: string, words: object): Promise<unknown> => {
    client.send({ execute: command, arguments: words });
    for (;;) {
      const said = await client.next();
      if (said.event === undefined) return said.error?.desc;
    }
  };
  const size = (): number => bench.context.graph.nodes.get('d')!.primary!.length;

  it('gives the space back, and waits to be dismissed', async () => {
    const before = size();
    await client.call('blockdev-compact', { 'job-id': 'j', device: 'd', 'auto-dismiss': false });
    await status('concluded');
    const jobs = (await client.call('query-jobs')) as object[];
    expect(jobs).to.have.length(1);
    expect(jobs[0]).to.include({ id: 'j', type: 'compact', status: 'concluded' });
    expect(jobs[0]).not.to.have.property('error');
    expect(size()).to.be.below(before - (COUNT / 2 - 2) * CLUSTER);
    await client.call('job-dismiss', { id: 'j' });
    expect(await client.call('query-jobs')).to.deep.equal([]);
  });

  it('is slowed down, paused, resumed, and cancelled', async () => {
    await client.call('blockdev-compact', { 'job-id': 'j', device: 'd', speed: 1, 'auto-dismiss': false });
    await status('running');
    await client.call('job-pause', { id: 'j' });
    await status('paused');
    await client.call('job-resume', { id: 'j' });
    await client.call('block-job-set-speed', { device: 'j', speed: 2 });
    await client.call('job-cancel', { id: 'j' });
    await status('concluded');
    const [job] = (await client.call('query-jobs')) as { error?: string }[];
    expect(job.error).to.match(/cancel/i);
    await client.call('job-dismiss', { id: 'j' });
  });

  it('refuses by name what it cannot do', async () => {
    expect(await refusal('blockdev-compact', { 'job-id': 'j', device: 'none' })).to.match(/none/);
    expect(await refusal('blockdev-compact', { 'job-id': 'j', device: 'nothing' })).to.match(
      /'null-co' cannot be comp/,
    );
    expect(await refusal('blockdev-compact', { 'job-id': 'j', device: 'd', speed: -1 })).to.match(/speed/i);
    expect(await refusal('blockdev-compact', { 'job-id': 'j', device: 'd', wrong: 1 })).to.match(
      /'wrong' is unexpected/,
    );
    await client.call('blockdev-compact', { 'job-id': 'j', device: 'd', speed: 1 });
    expect(await refusal('blockdev-compact', { 'job-id': 'k', device: 'd' })).to.match(/in use by block job: compact/);
    await client.call('job-cancel', { id: 'j' });
    await status('null');
  });
});
