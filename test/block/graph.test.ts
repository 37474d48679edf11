// The graph: names, drained sections, and moving links; the order in which things close.

import { expect } from 'chai';
import { chainOf } from '../../src/block/chain.js';
import { createImage } from '../../src/block/create.js';
import { Device, rootOf } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { BACKING_FIXED } from '../../src/block/roles.js';
import { PERM_ALL, Perm } from '../../src/block/types.js';
import { createSimHost } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';
import { failureOf, makeBench, pattern, readNode } from '../drivers/support.js';
import { MemoryNode } from '../jobs/memory-node.js';
import { contentOf, nobody, openRaw } from './support.js';

const SIZE = 65536;

function layers(graph: Graph, ...names: string[]): MemoryNode[] {
  const made: MemoryNode[] = [];
  for (const [index, name] of names.entries()) {
    const node = new MemoryNode(graph, { name, size: SIZE, backing: made[0], clusterBytes: 4096 });
    node.poke(index * 4096, pattern(4096, index + 1));
    made.unshift(node);
  }
  return made;
}

function refusal(action: () => unknown): BlockError {
  try {
    action();
  } catch (error) {
    if (error instanceof BlockError) return error;
    throw error;
  }
  throw new Error('not refused');
}

describe('graph', () => {
  it('makes names that are free', () => {
    const { graph } = makeBench();
    const [node] = layers(graph, '#block1');
    expect([graph.makeName(), graph.makeName()]).to.deep.equal(['#block0', '#block2']);
    expect(graph.find('#block1')).to.equal(node);
  });

  it('refuses a name twice, and one that nobody has', () => {
    const { graph } = makeBench();
    layers(graph, 'a');
    expect(refusal(() => layers(graph, 'a'))).to.include({
      code: 'exists',
      message: "Duplicate nodes with node-name='a'",
    });
    expect(refusal(() => graph.find('b'))).to.include({
      code: 'not-found',
      message: "Cannot find device='' nor node-name='b'",
    });
  });

  it('closes what is released, but not while it is used', async () => {
    const { graph } = makeBench();
    const [top, base] = layers(graph, 'base', 'top');
    await graph.release(base);
    expect([base.closed, graph.nodes.has('base')]).to.deep.equal([false, true]);
    await graph.release(top);
    expect([top.closed, base.closed, graph.nodes.size]).to.deep.equal([true, true, 0]);
    await graph.release(top);
  });

  it('keeps a shared backing node until its last overlay goes', async () => {
    const { graph } = makeBench();
    const [one, base] = layers(graph, 'base', 'one');
    const two = new MemoryNode(graph, { name: 'two', size: SIZE, backing: base });
    await graph.release(one);
    expect(base.closed).to.equal(false);
    await graph.release(two);
    expect(base.closed).to.equal(true);
  });
});

describe('graph: closeAll', () => {
  it('closes from the top down, with users or without', async () => {
    const { graph } = makeBench();
    const order: string[] = [];
    class Told extends MemoryNode {
      protected override async doClose(): Promise<void> {
        order.push(this.nodeName);
      }
    }
    const base = new Told(graph, { name: 'base', size: SIZE });
    const mid = new Told(graph, { name: 'mid', size: SIZE, backing: base });
    const top = new Told(graph, { name: 'top', size: SIZE, backing: mid });
    new Told(graph, { name: 'other', size: SIZE, backing: base });
    const device = new Device(top, { name: 'd', writable: true });
    await graph.closeAll();
    expect(order).to.deep.equal(['top', 'mid', 'other', 'base']);
    expect(graph.nodes.size).to.equal(0);
    expect((await failureOf(device.read(0, new Uint8Array(1)))).code).to.equal('closed');
  });

  it('closes a node that was there before what lies above it, and that a user keeps open', async () => {
    const bench = makeBench();
    const file = await openRaw(bench, '/a', pattern(512));
    file.attach(nobody, 'monitor', 0, PERM_ALL);
    const { graph } = bench;
    const filter = await openNode(graph, { driver: 'copy-on-read', 'node-name': 'filter', file: file.nodeName });
    filter.attach(nobody, 'monitor', 0, PERM_ALL);
    await graph.closeAll();
    expect([filter.closed, file.closed, file.children.get('file')!.node.closed]).to.deep.equal([true, true, true]);
  });

  it('closes all though one fails, and throws the first error', async () => {
    const bench = makeBench();
    const nodes = [await openRaw(bench, '/a', pattern(512)), await openRaw(bench, '/b', pattern(512))];
    bench.host.setFaults({ rules: [{ operations: ['flush'], path: '/a' }] });
    expect(await failureOf(bench.graph.closeAll())).to.include({ code: 'io', path: '/a' });
    expect(nodes.map((node) => [node.closed, node.children.get('file')!.node.closed])).to.deep.equal([
      [true, true],
      [true, true],
    ]);
    bench.host.setFaults({});
    await bench.graph.closeAll();
  });
});

describe('graph: drained', () => {
  it('reaches the users above, at any height, once', async () => {
    const { graph } = makeBench();
    const [top, mid, base] = layers(graph, 'base', 'mid', 'top');
    const steps: string[] = [];
    const user = {
      userName: 'user',
      drainBegin: () => void steps.push('begin'),
      drained: async () => void steps.push('drained'),
      drainEnd: () => void steps.push('end'),
    };
    top.attach(user, 'root', Perm.CONSISTENT_READ, PERM_ALL);
    mid.attach(user, 'source', Perm.CONSISTENT_READ, PERM_ALL);
    await graph.drained([base, mid], async () => void steps.push('action'));
    expect(steps).to.deep.equal(['begin', 'drained', 'action', 'end']);
  });

  it('leaves users beside and below alone', async () => {
    const { graph } = makeBench();
    const [one, base] = layers(graph, 'base', 'one');
    const two = new MemoryNode(graph, { name: 'two', size: SIZE, backing: base });
    const devices = [two, base].map((node) => new Device(node, { name: 'd', writable: false }));
    await graph.drained([one], async () => {
      for (const device of devices) await device.read(0, new Uint8Array(1));
    });
  });

  it('ends for all where one does not get idle', async () => {
    const { graph } = makeBench();
    const [top] = layers(graph, 'top');
    const steps: string[] = [];
    top.attach({ userName: 'a', drained: () => Promise.reject(new Error('stuck')) }, 'root', 0, PERM_ALL);
    top.attach({ userName: 'b', drainEnd: () => void steps.push('end') }, 'root', 0, PERM_ALL);
    const section = graph.drained([top], async () => void steps.push('action'));
    expect(await section.catch((error: Error) => error.message)).to.equal('stuck');
    expect(steps).to.deep.equal(['end']);
  });
});

describe('graph: replaceNode', () => {
  it('moves every user; a busy device goes on with the new node', async () => {
    const { graph } = makeBench();
    const [top] = layers(graph, 'old');
    const [to] = layers(graph, 'new');
    const overlay = new MemoryNode(graph, { name: 'overlay', size: SIZE, backing: top, clusterBytes: 4096 });
    const device = new Device(overlay, { name: 'd', writable: true });
    await graph.drained([top], async () => graph.replaceNode(top, to));
    expect(chainOf(overlay)).to.deep.equal([overlay, to]);
    expect([top.parents.size, to.parents.size]).to.deep.equal([0, 1]);
    const buffer = new Uint8Array(4096);
    await device.read(0, buffer);
    expect(Buffer.from(buffer)).to.deep.equal(to.content(4096));
  });

  it('moves the root of a device, and its requests with it', async () => {
    const bench = makeBench();
    const from = await openRaw(bench, '/a', pattern(SIZE, 1));
    const to = await openRaw(bench, '/b', pattern(SIZE, 2));
    const device = new Device(from, { name: 'd', writable: true });
    let waiting: Promise<void> | undefined;
    await bench.graph.drained([from], async () => {
      waiting = device.write(0, Uint8Array.of(200));
      bench.graph.replaceNode(from, to);
    });
    await waiting;
    expect(rootOf(device).node).to.equal(to);
    expect([bench.host.readFile('/a')[0], bench.host.readFile('/b')[0]]).to.deep.equal([pattern(1, 1)[0], 200]);
    // The locks went along.
    new Device(from, { name: 'e', writable: true });
    const again = await openRaw(bench, '/b');
    expect(refusal(() => new Device(again, { name: 'f', writable: true })).code).to.equal('locked');
  });

  it('does not hang a node below itself, however deep', async () => {
    const { graph } = makeBench();
    const [to, mid, from] = layers(graph, 'from', 'mid', 'to');
    const device = new Device(to, { name: 'd', writable: true });
    const other = from.attach(nobody, 'root', Perm.CONSISTENT_READ, PERM_ALL);
    graph.replaceNode(from, to);
    expect(chainOf(to)).to.deep.equal([to, mid, from]);
    expect([rootOf(device).node, other.node]).to.deep.equal([to, to]);
  });

  it('leaves those where they are whose role stays: jobs, commands, monitors', () => {
    const { graph } = makeBench();
    const [from] = layers(graph, 'from');
    const [to] = layers(graph, 'to');
    const roles = ['root', 'source', 'target', 'monitor'] as const;
    const links = roles.map((role) => from.attach(nobody, role, 0, PERM_ALL));
    graph.replaceNode(from, to);
    expect(links.map(({ node }) => node)).to.deep.equal([to, from, from, from]);
  });

  it('moves nobody where one may not', () => {
    const { graph } = makeBench();
    const [from] = layers(graph, 'from');
    const [to] = layers(graph, 'to');
    const reader = from.attach(nobody, 'root', Perm.CONSISTENT_READ, PERM_ALL);
    const writer = from.attach({ userName: 'writer' }, 'root', Perm.WRITE, PERM_ALL);
    to.attach({ userName: 'holder' }, 'root', Perm.CONSISTENT_READ, BACKING_FIXED);
    expect(refusal(() => graph.replaceNode(from, to)).message).to.contain("unshared by holder (uses node 'to'");
    expect([reader.node, writer.node, from.parents.size, to.parents.size]).to.deep.equal([from, from, 2, 1]);
  });

  it('moves nobody where the new file is locked by somebody else', async () => {
    const bench = makeBench();
    const from = await openRaw(bench, '/a', pattern(SIZE));
    const to = await openRaw(bench, '/b', pattern(SIZE));
    const elsewhere = new Graph(bench.host);
    new Device(await openNode(elsewhere, '/b', { format: 'raw' }), { name: 'theirs', writable: true });
    const device = new Device(from, { name: 'd', writable: true });
    expect(refusal(() => bench.graph.replaceNode(from, to)).code).to.equal('locked');
    expect([rootOf(device).node, to.parents.size]).to.deep.equal([from, 0]);
    await device.write(0, Uint8Array.of(1));
  });

  it('refuses a writer where the new node is read-only', async () => {
    const bench = makeBench();
    const from = await openRaw(bench, '/a', pattern(SIZE));
    const to = await openRaw(bench, '/b', pattern(SIZE), { readOnly: true });
    const device = new Device(from, { name: 'd', writable: true });
    expect(refusal(() => bench.graph.replaceNode(from, to)).code).to.equal('read-only');
    expect(rootOf(device).node).to.equal(from);
  });

  it('reads from the new node through what lies above', async () => {
    const bench = makeBench();
    const raw = await openRaw(bench, '/a', pattern(SIZE, 1));
    bench.host.writeFile('/b', pattern(SIZE, 2));
    const to = await openNode(bench.graph, { driver: 'file', filename: '/b' });
    bench.graph.replaceNode(raw.children.get('file')!.node, to);
    expect(await contentOf(raw)).to.deep.equal(Buffer.from(pattern(SIZE, 2)));
  });
});

describe('graph: setBacking', () => {
  it('closes the old one where nobody else uses it', async () => {
    const { graph } = makeBench();
    const [top, mid, base] = layers(graph, 'base', 'mid', 'top');
    await graph.setBacking(top, base);
    expect(chainOf(top)).to.deep.equal([top, base]);
    expect([mid.closed, base.closed, graph.nodes.has('mid')]).to.deep.equal([true, false, false]);
    await graph.setBacking(top, null);
    expect([top.children.size, base.closed]).to.deep.equal([0, true]);
  });

  it('keeps the old one where somebody uses it', async () => {
    const { graph } = makeBench();
    const [top, base] = layers(graph, 'base', 'top');
    base.attach(nobody, 'root', Perm.CONSISTENT_READ, PERM_ALL);
    await graph.setBacking(top, null);
    expect(base.closed).to.equal(false);
  });

  it('lets the last user close it, but not within a drained section, which may give it others', async () => {
    const { graph } = makeBench();
    const [top, base] = layers(graph, 'base', 'top');
    const user = base.attach(nobody, 'root', Perm.CONSISTENT_READ, PERM_ALL);
    const other = base.attach(nobody, 'root', Perm.CONSISTENT_READ, PERM_ALL);
    await graph.setBacking(top, null);
    base.detach(other);
    expect(base.shut).to.equal(false);
    await graph.drained([base], async () => {
      base.detach(user);
      expect(base.shut).to.equal(false);
    });
    expect(graph.nodes.has('base')).to.equal(false);
    await graph.unusedClosed();
    expect(base.closed).to.equal(true);
  });

  it('at the end keeps what lies below a node that its last user has just left', async () => {
    const host = createSimHost();
    const graph = new Graph(host);
    await createImage(graph, '/a.qcow2', { driver: 'qcow2', size: 1 << 20 });
    const file = { driver: 'file', filename: '/a.qcow2' } as const;
    const node = await openNode(graph, { driver: 'qcow2', file });
    const user = node.attach(nobody, 'root', Perm.CONSISTENT_READ | Perm.WRITE, PERM_ALL);
    await user.write(0, new Uint8Array(512).fill(7));
    await graph.release(node);
    expect(node.shut).to.equal(false);
    node.detach(user);
    // The image is being closed; its file is not to be closed before.
    await graph.closeAll();
    const again = await openNode(new Graph(host), { driver: 'qcow2', file }, { readOnly: true });
    const back = new Uint8Array(512);
    await readNode(again, 0, back);
    expect(back.every((byte) => byte === 7)).to.equal(true);
    await again.graph.closeAll();
  });

  it('of what is there already does nothing', async () => {
    const { graph } = makeBench();
    const [top, base] = layers(graph, 'base', 'top');
    const link = top.children.get('backing');
    await graph.setBacking(top, base);
    expect(top.children.get('backing')).to.equal(link);
  });

  it('refuses a node that somebody writes to; then nothing has changed', async () => {
    const { graph } = makeBench();
    const [top, base] = layers(graph, 'base', 'top');
    const [other] = layers(graph, 'other');
    new Device(top, { name: 't', writable: true });
    new Device(other, { name: 'd', writable: true });
    expect((await failureOf(graph.setBacking(top, other))).code).to.equal('permission');
    expect([top.children.get('backing')!.node, base.closed, base.parents.size]).to.deep.equal([base, false, 1]);
  });

  it('refuses a cycle', async () => {
    const { graph } = makeBench();
    const [top, mid, base] = layers(graph, 'base', 'mid', 'top');
    for (const below of [top, mid, base]) {
      expect(await failureOf(graph.setBacking(base, below))).to.include({
        code: 'loop',
        message: `Making '${below.nodeName}' a backing child of 'base' would create a cycle`,
      });
    }
    expect(refusal(() => base.setChild('file', top, 'image')).code).to.equal('loop');
    expect(chainOf(top)).to.deep.equal([top, mid, base]);
  });
});

describe('node: blockers', () => {
  it('refuse with the reason', () => {
    const { graph } = makeBench();
    const [node] = layers(graph, 'n');
    node.checkBlockers();
    node.blockers.set(nobody, 'a job is there');
    expect(refusal(() => node.checkBlockers())).to.include({
      code: 'busy',
      message: "Node 'n' is busy: a job is there",
    });
    node.blockers.delete(nobody);
    node.checkBlockers();
  });
});
