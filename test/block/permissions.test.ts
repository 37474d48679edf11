// Permissions: what users of one node allow each other, the words of a conflict, and how it reaches the file's locks.

import { expect } from 'chai';
import type { Child, NodeUser } from '../../src/block/child.js';
import { Device } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import { FilterNode } from '../../src/block/node/filter.js';
import { BlockNode } from '../../src/block/node/node.js';
import { BACKING_FIXED, type Permissions } from '../../src/block/roles.js';
import { PERM_ALL, Perm, permNames } from '../../src/block/types.js';
import { BlockError } from '../../src/util/errors.js';
import { type Bench, makeBench, pattern } from '../drivers/support.js';
import { MemoryNode } from '../jobs/memory-node.js';
import { nobody, openRaw } from './support.js';

const { CONSISTENT_READ, WRITE, WRITE_UNCHANGED, RESIZE } = Perm;
const job: NodeUser = { userName: "job 'j'" };

function memory(options: { readOnly?: boolean } = {}): MemoryNode {
  return new MemoryNode(makeBench().graph, { name: 'n', size: 65536, ...options });
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

describe('permissions', () => {
  it('have names', () => {
    expect(permNames(PERM_ALL)).to.equal('consistent read, write, write unchanged, resize');
    expect(permNames(0)).to.equal('');
  });

  const single = [CONSISTENT_READ, WRITE, WRITE_UNCHANGED, RESIZE];
  for (const held of single) {
    for (const wanted of single) {
      it(`${permNames(wanted)} beside one who allows all but ${permNames(held)}`, () => {
        const node = memory();
        node.attach(nobody, 'root', 0, PERM_ALL & ~held);
        const attach = () => node.attach(job, 'source', wanted, PERM_ALL);
        if (held === wanted) expect(refusal(attach).code).to.equal('permission');
        else attach();
        expect(node.parents.size).to.equal(held === wanted ? 1 : 2);
      });
    }
  }

  it('that another one does not share are refused in these words', () => {
    const node = memory();
    node.attach(nobody, 'root', CONSISTENT_READ, CONSISTENT_READ);
    expect(refusal(() => node.attach(job, 'target', WRITE | RESIZE, PERM_ALL))).to.include({
      code: 'permission',
      path: '/n.img',
      message:
        "Permission conflict on node 'n': permissions 'write, resize' are both required by job 'j' (uses node 'n' as 'target' child) and unshared by nobody (uses node 'n' as 'root' child).",
    });
  });

  it('that another one uses must be shared', () => {
    const node = memory();
    node.attach(nobody, 'root', CONSISTENT_READ | WRITE, PERM_ALL);
    expect(refusal(() => node.attach(job, 'source', CONSISTENT_READ, PERM_ALL & ~WRITE)).message).to.equal(
      "Permission conflict on node 'n': permissions 'write' are both required by nobody (uses node 'n' as 'root' child) and unshared by job 'j' (uses node 'n' as 'source' child).",
    );
  });

  it('are free again when the user goes', () => {
    const node = memory();
    const child = node.attach(nobody, 'root', WRITE, 0);
    expect(refusal(() => node.attach(job, 'target', WRITE, PERM_ALL)).code).to.equal('permission');
    node.detach(child);
    node.attach(job, 'target', WRITE, PERM_ALL);
    expect(node.usedPermissions).to.deep.equal({ perm: WRITE, shared: PERM_ALL });
  });

  it('of all users add up, and what they share is what all share', () => {
    const node = memory();
    expect(node.usedPermissions).to.deep.equal({ perm: 0, shared: PERM_ALL });
    node.attach(nobody, 'root', CONSISTENT_READ, PERM_ALL & ~RESIZE);
    node.attach(job, 'source', WRITE_UNCHANGED, PERM_ALL & ~WRITE);
    expect(node.usedPermissions).to.deep.equal({
      perm: CONSISTENT_READ | WRITE_UNCHANGED,
      shared: CONSISTENT_READ | WRITE_UNCHANGED,
    });
  });

  it('to write are not given of a read-only node', () => {
    const node = memory({ readOnly: true });
    for (const perm of [WRITE, WRITE_UNCHANGED]) {
      expect(refusal(() => node.attach(job, 'target', perm, PERM_ALL))).to.include({
        code: 'read-only',
        message: "Block node 'n' is read-only",
      });
    }
    const child = node.attach(job, 'source', CONSISTENT_READ, PERM_ALL);
    expect(refusal(() => BlockNode.changePermissions(child, WRITE, PERM_ALL)).code).to.equal('read-only');
    expect(child.perm).to.equal(CONSISTENT_READ);
  });

  it('change as a whole or not at all', () => {
    const node = memory();
    const mine = node.attach(job, 'source', CONSISTENT_READ, PERM_ALL);
    node.attach(nobody, 'root', CONSISTENT_READ, PERM_ALL & ~WRITE);
    expect(refusal(() => BlockNode.changePermissions(mine, WRITE, 0)).code).to.equal('permission');
    expect([mine.perm, mine.shared]).to.deep.equal([CONSISTENT_READ, PERM_ALL]);
    BlockNode.changePermissions(mine, CONSISTENT_READ, PERM_ALL & ~RESIZE);
    expect(mine.shared).to.equal(PERM_ALL & ~RESIZE);
  });

  it('do not set a user against itself', () => {
    const node = memory();
    const mine = node.attach(job, 'target', WRITE, 0);
    BlockNode.changePermissions(mine, WRITE | RESIZE, 0);
    expect(mine.perm).to.equal(WRITE | RESIZE);
  });

  it('of a backing node let others write to it as long as the users of its overlay let others write to that', () => {
    const { graph } = makeBench();
    const base = new MemoryNode(graph, { name: 'base', size: 65536 });
    const top = new MemoryNode(graph, { name: 'top', size: 65536, backing: base });
    top.attach(job, 'target', CONSISTENT_READ, PERM_ALL & ~RESIZE);
    new Device(base, { name: 'd', writable: true });
    expect(refusal(() => new Device(top, { name: 't', writable: true })).message).to.equal(
      "Permission conflict on node 'base': permissions 'write' are both required by device 'd' (uses node 'base' as 'root' child) and unshared by node 'top' (uses node 'base' as 'backing' child).",
    );
    expect(top.children.get('backing')!.shared).to.equal(PERM_ALL);
  });

  it('of a backing node let nobody write to it where a user of its overlay counts on the content', () => {
    const { graph } = makeBench();
    const base = new MemoryNode(graph, { name: 'base', size: 65536 });
    const top = new MemoryNode(graph, { name: 'top', size: 65536, backing: base });
    new Device(top, { name: 't', writable: true });
    expect(refusal(() => new Device(base, { name: 'd', writable: true })).message).to.equal(
      "Permission conflict on node 'base': permissions 'write' are both required by device 'd' (uses node 'base' as 'root' child) and unshared by node 'top' (uses node 'base' as 'backing' child).",
    );
    new Device(base, { name: 'd', writable: false });
  });

  it('let two writers of one node in only where both agree', () => {
    const node = memory();
    new Device(node, { name: 'a', writable: true });
    expect(refusal(() => new Device(node, { name: 'b', writable: true })).code).to.equal('permission');
    new Device(node, { name: 'c', writable: false });
  });
});

describe('permissions and the file below', () => {
  it('go through raw to the file, and what cannot be had there changes nothing above', async () => {
    const bench = makeBench();
    const node = await openRaw(bench, '/a', pattern(4096));
    const file = node.children.get('file')!.node;
    const device = new Device(node, { name: 'd', writable: true });
    expect(file.usedPermissions).to.deep.equal({
      perm: CONSISTENT_READ | WRITE,
      shared: CONSISTENT_READ | WRITE_UNCHANGED,
    });
    const other = await openRaw(bench, '/a');
    expect(refusal(() => new Device(other, { name: 'e', writable: true })).code).to.equal('locked');
    expect([other.parents.size, other.children.get('file')!.node.usedPermissions.perm]).to.deep.equal([0, 0]);
    await device.close();
    new Device(other, { name: 'e', writable: true });
  });

  it('a conflict that only the file sees leaves no link behind', async () => {
    const bench = makeBench();
    const node = await openRaw(bench, '/a', pattern(4096));
    const file = node.children.get('file')!.node;
    file.attach(nobody, 'root', CONSISTENT_READ, BACKING_FIXED);
    const error = refusal(() => node.attach(job, 'target', WRITE, PERM_ALL));
    expect(error.message).to.contain(`Permission conflict on node '${file.nodeName}': permissions 'write'`);
    expect(node.parents.size).to.equal(0);
    node.attach(job, 'source', CONSISTENT_READ, PERM_ALL);
  });
});

/** A filter over two nodes, which needs of both what its users need of it. */
class Pair extends FilterNode {
  override readonly driver = 'pair';

  constructor(graph: Graph, first: BlockNode, second: BlockNode) {
    super(graph, { nodeName: 'pair', readOnly: false }, 'pair', {}, first);
    this.setChild('second', second, 'data', { perm: 0, shared: PERM_ALL });
  }

  override needsOf(_link: Child, perm: number, shared: number): Permissions {
    return { perm, shared };
  }
}

describe('a change of permissions over several nodes', () => {
  async function pairOf(bench: Bench): Promise<Pair> {
    return new Pair(bench.graph, await openRaw(bench, '/a', pattern(4096)), await openRaw(bench, '/b', pattern(4096)));
  }
  /** All links below, as they are now. */
  const linksOf = (node: BlockNode): unknown[] =>
    [...node.children.values()].flatMap(({ name, perm, shared, node: child }) => [
      name,
      perm,
      shared,
      ...linksOf(child),
    ]);

  it('is whole: it goes down both ways, and back', async () => {
    const bench = makeBench();
    const pair = await pairOf(bench);
    const before = linksOf(pair);
    const link = pair.attach(job, 'target', WRITE, CONSISTENT_READ);
    expect(linksOf(pair).filter((value) => value === WRITE)).to.have.lengthOf(4);
    pair.detach(link);
    expect(linksOf(pair)).to.deep.equal(before);
  });

  for (const path of ['/a', '/b']) {
    it(`leaves every link and every lock as it was where another process uses ${path}`, async () => {
      const bench = makeBench();
      const pair = await pairOf(bench);
      const others = { ...bench, graph: new Graph(bench.host) };
      const theirs = new Device(await openRaw(others, path), { name: 'theirs', writable: true });
      const before = linksOf(pair);
      expect(refusal(() => pair.attach(job, 'target', WRITE, CONSISTENT_READ)).code).to.equal('locked');
      expect([pair.parents.size, linksOf(pair)]).to.deep.equal([0, before]);
      // Nothing of the attempt is left that another process would see.
      const free = path === '/a' ? '/b' : '/a';
      await new Device(await openRaw(others, free), { name: 'free', writable: true }).close();
      await theirs.close();
      pair.attach(job, 'target', WRITE, CONSISTENT_READ);
    });
  }

  it('of one child in the place of another asks for no more than both need one after the other', () => {
    const { graph } = makeBench();
    /** Its links have what they are given. */
    class Free extends MemoryNode {
      override needsOf(): null {
        return null;
      }
    }
    const [below, above] = ['below', 'above'].map((name) => new Free(graph, { name, size: 65536 }));
    above.setChild('file', below, 'image', { perm: WRITE, shared: 0 });
    above.setChild('file', below, 'image', { perm: WRITE | RESIZE, shared: 0 });
    expect([below.parents.size, below.usedPermissions.perm]).to.deep.equal([1, WRITE | RESIZE]);
    below.attach(nobody, 'root', 0, PERM_ALL & ~CONSISTENT_READ);
    const refused = () => above.setChild('file', below, 'image', { perm: CONSISTENT_READ, shared: PERM_ALL });
    expect(refusal(refused).code).to.equal('permission');
    expect([above.children.size, below.usedPermissions.perm]).to.deep.equal([1, WRITE | RESIZE]);
  });
});
