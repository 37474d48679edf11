// Image locks: which bytes are locked in which case, and that two users who do not go together keep each other out.

import { expect } from 'chai';
import type { NodeUser } from '../../src/block/child.js';
import { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { PERM_ALL, Perm } from '../../src/block/types.js';
import type { BlockdevOptions } from '../../src/schema/generated/types.js';
import { type Bench, failureOf, makeBench, pattern } from './support.js';

const USER: NodeUser = { userName: 'test' };
const READER = [Perm.CONSISTENT_READ, PERM_ALL] as const;
const WRITER = [Perm.CONSISTENT_READ | Perm.WRITE, PERM_ALL] as const;
const OWNER = [Perm.CONSISTENT_READ | Perm.WRITE, PERM_ALL & ~(Perm.WRITE | Perm.RESIZE)] as const;

function bench(): Bench {
  const made = makeBench();
  made.host.writeFile('/a', pattern(4096));
  return made;
}

const open = ({ graph }: Bench, options: Partial<BlockdevOptions> = {}): Promise<BlockNode> =>
  openNode(graph, { driver: 'file', filename: '/a', ...options } as BlockdevOptions);

/** Bytes that somebody holds, as another process sees them. */
async function lockedBytes({ host }: Bench): Promise<number[]> {
  const probe = await host.open('/a', { writable: true });
  const bytes = Array.from({ length: 210 }, (_, byte) => byte).filter((byte) =>
    probe.lockConflicts('exclusive', byte, 1),
  );
  await probe.close();
  return bytes;
}

describe('image locks', () => {
  it('are not taken while nobody uses the node', async () => {
    const b = bench();
    await open(b);
    await openNode(b.graph, '/a', { format: 'raw' });
    expect(await lockedBytes(b)).to.deep.equal([]);
  });

  const cases: [string, Partial<BlockdevOptions>, readonly [number, number], number[]][] = [
    ['a reader', {}, READER, [100]],
    ['a writer that shares', {}, WRITER, [100, 101]],
    ['a writer that does not share', {}, OWNER, [100, 101, 201, 203]],
    ['a writer that does not share, with locking off', { locking: 'off' } as object, OWNER, []],
    ['a reader with force-share', { 'force-share': true, 'read-only': true }, [Perm.CONSISTENT_READ, 1], [100]],
  ];
  for (const [what, options, [perm, shared], bytes] of cases) {
    it(`of ${what} are ${bytes.join(', ') || 'none'}, and go with it`, async () => {
      const b = bench();
      const node = await open(b, options);
      const use = node.attach(USER, 'root', perm, shared);
      expect(await lockedBytes(b)).to.deep.equal(bytes);
      node.detach(use);
      expect(await lockedBytes(b)).to.deep.equal([]);
    });
  }

  it('reach the file through raw, and a fixed size is not shared', async () => {
    const b = bench();
    const node = await openNode(b.graph, { driver: 'raw', size: 512, file: { driver: 'file', filename: '/a' } });
    node.attach(USER, 'root', ...WRITER);
    expect(await lockedBytes(b)).to.deep.equal([100, 101, 203]);
  });

  it('are those of all users together', async () => {
    const b = bench();
    const node = await open(b);
    node.attach(USER, 'root', ...READER);
    const use = node.attach({ userName: 'other' }, 'root', Perm.WRITE, PERM_ALL);
    expect(await lockedBytes(b)).to.deep.equal([100, 101]);
    node.detach(use);
    expect(await lockedBytes(b)).to.deep.equal([100]);
  });

  it('stay through a reopen, and go with the node', async () => {
    const b = bench();
    const node = await open(b, { 'read-only': true });
    const use = node.attach(USER, 'root', ...READER);
    await node.reopen(false);
    expect(await lockedBytes(b)).to.deep.equal([100]);
    node.detach(use);
    await b.graph.release(node);
    expect(await lockedBytes(b)).to.deep.equal([]);
  });

  it('refuse a writer where one does not share', async () => {
    const b = bench();
    (await open(b)).attach(USER, 'root', ...OWNER);
    const error = await failureOf((async () => (await open(b)).attach(USER, 'root', ...WRITER))());
    expect(error).to.include({
      code: 'locked',
      message: 'Failed to get "write" lock\nIs another process using the image [/a]?',
      path: '/a',
    });
  });

  it('refuse to forbid what somebody does', async () => {
    const b = bench();
    (await open(b)).attach(USER, 'root', ...WRITER);
    const node = await open(b, { 'read-only': true });
    const error = await failureOf(
      (async () => node.attach(USER, 'root', Perm.CONSISTENT_READ, PERM_ALL & ~Perm.WRITE))(),
    );
    expect(error.message).to.contain('Failed to get shared "write" lock');
    expect(node.parents.size).to.equal(0);
  });

  it('are as before after a refusal', async () => {
    const b = bench();
    const first = await open(b);
    first.attach(USER, 'root', Perm.CONSISTENT_READ, PERM_ALL & ~Perm.WRITE);
    const second = await open(b);
    const use = second.attach(USER, 'root', ...READER);
    const before = await lockedBytes(b);
    await failureOf((async () => BlockNode.changePermissions(use, ...OWNER))());
    expect(use.perm).to.equal(Perm.CONSISTENT_READ);
    expect(await lockedBytes(b)).to.deep.equal(before);
  });

  it('let two readers in', async () => {
    const b = bench();
    (await open(b)).attach(USER, 'root', Perm.CONSISTENT_READ, PERM_ALL & ~Perm.WRITE);
    (await open(b)).attach(USER, 'root', Perm.CONSISTENT_READ, PERM_ALL & ~Perm.WRITE);
  });

  it('do not keep force-share out', async () => {
    const b = bench();
    (await open(b)).attach(USER, 'root', ...OWNER);
    const node = await open(b, { 'force-share': true, 'read-only': true });
    node.attach(USER, 'root', Perm.CONSISTENT_READ, PERM_ALL & ~Perm.WRITE);
  });

  it('go over to the node that takes another one’s place', async () => {
    const b = bench();
    b.host.writeFile('/b', pattern(4096));
    const from = await openNode(b.graph, '/b', { format: 'file' });
    from.attach(USER, 'root', ...WRITER);
    const to = await open(b);
    b.graph.replaceNode(from, to);
    expect(await lockedBytes(b)).to.deep.equal([100, 101]);
  });

  it('keep a node from taking a place where its file is in use', async () => {
    const b = bench();
    b.host.writeFile('/b', pattern(4096));
    (await open(b)).attach({ userName: 'other' }, 'root', ...OWNER);
    const from = await openNode(b.graph, '/b', { format: 'file' });
    const use = from.attach(USER, 'root', ...WRITER);
    const to = await open(b);
    expect((await failureOf((async () => b.graph.replaceNode(from, to))())).code).to.equal('locked');
    expect(use.node).to.equal(from);
    expect([from.parents.size, to.parents.size]).to.deep.equal([1, 0]);
  });

  it('refuse force-share on what can be written', async () => {
    const error = await failureOf(open(bench(), { 'force-share': true }));
    expect(error.message).to.equal('force-share=on can only be used with read-only images');
  });
});
