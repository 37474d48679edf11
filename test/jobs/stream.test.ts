// What a stream leaves behind, and what it refuses.

import { expect } from 'chai';
import { startJob } from '../../src/jobs/start.js';
import { streamJob } from '../../src/jobs/stream.js';
import { allocated, codeOf, threeLayers } from './copy-support.js';
import { KiB } from './world.js';

describe('stream', () => {
  it('takes only what the top lacks, and closes the layers', async () => {
    const world = threeLayers();
    const [base, mid, top] = world.layers;
    await (await startJob(world.env, streamJob, { device: 'top', 'base-node': 'base' })).done;
    expect(allocated(top)).to.deep.equal([1, 2, 8]);
    expect(top.clusters.get(8)).to.equal('zero');
    expect(top.children.get('backing')?.node).to.equal(base);
    expect([top.backingFile, top.backingFormat]).to.deep.equal([base.filename, 'memory']);
    expect([mid.closed, base.closed]).to.deep.equal([true, false]);
    world.expectModel();
    world.expectTidy();
  });

  it('writes no zeroes where nothing stays below', async () => {
    const world = threeLayers();
    const { top } = world;
    await (await startJob(world.env, streamJob, { device: 'top' })).done;
    expect(allocated(top)).to.deep.equal([0, 1, 2, 3]);
    expect([top.children.size, top.backingFile]).to.deep.equal([0, null]);
    world.expectModel();
  });

  it('stops above the bottom it was given, under a name of its own', async () => {
    const world = threeLayers();
    const { top } = world;
    await (await startJob(world.env, streamJob, { device: 'top', bottom: 'mid', 'backing-file': '../base' })).done;
    expect(top.backingFile).to.equal('../base');
    expect(top.children.get('backing')?.node.nodeName).to.equal('base');
  });

  it('streams into a layer in the middle, which is read-only again afterwards', async () => {
    const world = threeLayers();
    const [, mid] = world.layers;
    await (await startJob(world.env, streamJob, { device: 'mid' })).done;
    expect(mid.readOnly).to.equal(true);
    expect(mid.children.has('backing')).to.equal(false);
    world.expectModel();
    world.expectTidy();
  });

  it('leaves the chain as it was when a read fails', async () => {
    const world = threeLayers();
    const [base, mid, top] = world.layers;
    base.fault = (request, offset) => {
      if (request === 'read' && offset >= 192 * KiB) throw new Error('planned');
    };
    const job = await startJob(world.env, streamJob, { device: 'top' });
    expect(await codeOf(job.done)).to.equal('io');
    expect(top.children.get('backing')?.node).to.equal(mid);
    expect(top.backingFile).to.equal(mid.filename);
    base.fault = null;
    world.expectModel();
    world.expectTidy();
  });

  it('goes on past ignored errors, and fails at the end', async () => {
    const world = threeLayers();
    const [base, mid, top] = world.layers;
    base.fault = () => {
      throw new Error('planned');
    };
    const job = await startJob(world.env, streamJob, { device: 'top', 'on-error': 'ignore' });
    expect(await codeOf(job.done)).to.equal('io');
    base.fault = null;
    expect(top.children.get('backing')?.node).to.equal(mid);
  });

  it('waits after an error until somebody resumes it', async () => {
    const world = threeLayers();
    const [base, , top] = world.layers;
    let left = 1;
    base.fault = () => {
      if (left-- > 0) throw new Error('planned');
    };
    const job = await startJob(world.env, streamJob, { device: 'top', 'on-error': 'stop' });
    await new Promise<void>((resolve) => job.on('JOB_STATUS_CHANGE', ({ status }) => status === 'paused' && resolve()));
    job.resume();
    await job.done;
    expect(top.children.has('backing')).to.equal(false);
    world.expectModel();
  });

  it('keeps link and header together when the header cannot be written', async () => {
    const world = threeLayers();
    const [, mid, top] = world.layers;
    top.fault = (request) => {
      if (request === 'header') throw new Error('planned');
    };
    expect(await codeOf((await startJob(world.env, streamJob, { device: 'top' })).done)).to.equal('io');
    expect([top.children.get('backing')?.node, top.backingFile]).to.deep.equal([mid, mid.filename]);
    world.expectModel();
  });

  it('has nothing to do above its own backing node', async () => {
    const world = threeLayers();
    const [, mid, top] = world.layers;
    await (await startJob(world.env, streamJob, { device: 'top', 'base-node': 'mid' })).done;
    expect(top.children.get('backing')?.node).to.equal(mid);
    expect(allocated(top)).to.deep.equal([2]);
  });

  it('refuses contradicting options', async () => {
    const world = threeLayers();
    const tries = [
      { device: 'top', 'base-node': 'base', bottom: 'mid' },
      { device: 'top', base: '/base.img', 'base-node': 'base' },
      { device: 'top', 'backing-file': 'x' },
      { device: 'mid', 'base-node': 'top' },
      { device: 'mid', bottom: 'top' },
    ];
    for (const words of tries) expect(await codeOf(startJob(world.env, streamJob, words))).to.equal('invalid-argument');
    expect(await codeOf(startJob(world.env, streamJob, { device: 'nobody' }))).to.equal('not-found');
    expect(await codeOf(startJob(world.env, streamJob, { device: 'top', base: '/other' }))).to.equal('not-found');
    expect(await codeOf(startJob(world.env, streamJob, { device: 'top', 'filter-node-name': 'f' }))).to.equal(
      'unsupported',
    );
    expect(world.manager.list()).to.deep.equal([]);
    world.expectTidy();
  });

  it('refuses a node that another job works on', async () => {
    const world = threeLayers();
    const job = await startJob(world.env, streamJob, { device: 'top', speed: 1 });
    for (const device of ['top', 'mid'])
      expect(await codeOf(startJob(world.env, streamJob, { device }))).to.equal('busy');
    job.cancel(true);
    expect(await codeOf(job.done)).to.equal('cancelled');
    world.expectTidy();
  });
});
