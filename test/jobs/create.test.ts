// The job that creates an image.

import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import { openNode } from '../../src/block/open.js';
import { startCreate } from '../../src/jobs/create.js';
import { JobManager } from '../../src/jobs/manager.js';
import { contentOf } from '../block/support.js';
import { failureOf, makeBench } from '../drivers/support.js';

const SIZE = 1 << 20;

describe('create job', () => {
  it('makes a file and a format in it, and stays listed until it is dismissed', async () => {
    const { graph, host } = makeBench();
    const env = { graph, manager: new JobManager(host.clock) };
    await startCreate(env, 'file', { driver: 'file', filename: '/new', size: 0 }).done;
    await startCreate(env, 'image', { driver: 'qcow2', file: { driver: 'file', filename: '/new' }, size: SIZE }).done;
    expect(env.manager.query()).to.deep.include({
      id: 'image',
      type: 'create',
      status: 'concluded',
      'current-progress': 1,
      'total-progress': 1,
    });
    expect(env.manager.queryBlock()).to.deep.equal([]);
    env.manager.get('image').dismiss();
    expect(env.manager.list().map(({ id }) => id)).to.deep.equal(['file']);
    const node = await openNode(graph, '/new');
    expect(node.length).to.equal(SIZE);
    await graph.closeAll();
  });

  it('ends although it is paused, which nobody has to wait for', async () => {
    const { graph, host } = makeBench();
    const env = { graph, manager: new JobManager(host.clock) };
    const job = startCreate(env, 'file', { driver: 'file', filename: '/new', size: SIZE });
    const states: string[] = [];
    job.on('JOB_STATUS_CHANGE', ({ status }) => states.push(status));
    job.pause();
    await job.done;
    expect(states).to.deep.equal(['waiting', 'pending', 'concluded']);
    job.dismiss();
  });

  it('leaves a file that a node is stored in as it is', async () => {
    const { graph, host } = makeBench();
    const env = { graph, manager: new JobManager(host.clock) };
    await createImage(graph, '/used.raw', { driver: 'raw', size: SIZE });
    const node = await openNode(graph, '/used.raw', { format: 'raw' });
    const before = await contentOf(node);
    for (const [id, options] of [
      ['a', { driver: 'file', filename: '/used.raw', size: 0 }],
      ['b', { driver: 'qcow2', file: { driver: 'file', filename: '/used.raw' }, size: SIZE }],
    ] as const) {
      expect(await failureOf(startCreate(env, id, options).done)).to.include({ code: 'locked' });
    }
    expect(await contentOf(node)).to.deep.equal(before);
    await graph.closeAll();
  });
});
