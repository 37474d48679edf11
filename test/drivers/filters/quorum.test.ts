// A quorum of three files: who is outvoted, who fails, and what is said of it.

import { expect } from 'chai';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import type { SimHostOptions } from '../../../src/host/sim/index.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { BlockError } from '../../../src/util/errors.js';
import { changeChildren } from '../../../src/workspace/children.js';
import { type Bench, failureOf, makeBench, pattern, used } from '../support.js';

const SIZE = 65536;
const NAMES = ['a', 'b', 'c'];

interface Voters {
  bench: Bench;
  node: BlockNode;
  /** Events: what, of whom, and with what error. */
  said: string[];
}

/** `contents` of the files, where they are not alike; `fails` says which requests fail. */
async function voters(own: object, contents: Record<string, number> = {}, fails: string[] = []): Promise<Voters> {
  const host: SimHostOptions = {
    onRequest: ({ operation, path }) => (fails.includes(`${operation} ${path}`) ? { errno: 'EIO' } : undefined),
  };
  const bench = makeBench(host);
  const said: string[] = [];
  for (const event of ['QUORUM_FAILURE', 'QUORUM_REPORT_BAD'] as const) {
    bench.graph.events.on(event, (data) => {
      const { type, error, 'node-name': name } = data as unknown as Record<string, string>;
      said.push([event, type, name, error].filter((word) => word !== undefined).join(' '));
    });
  }
  for (const name of NAMES) {
    const bytes = pattern(SIZE);
    bytes[1000] = contents[name] ?? bytes[1000];
    bench.host.writeFile(`/${name}`, bytes);
    await openNode(bench.graph, { driver: 'file', 'node-name': name, filename: `/${name}` });
  }
  const options = { driver: 'quorum', 'node-name': 'q', children: NAMES, 'vote-threshold': 2, ...own };
  return { bench, node: await used(openNode(bench.graph, options as unknown as BlockdevOptions)), said };
}

async function byteOf(node: BlockNode): Promise<number> {
  const bytes = new Uint8Array(512);
  await node.read(900, bytes);
  return bytes[100];
}

const GOOD = pattern(SIZE)[1000];

describe('quorum', () => {
  it('reads what most children have, and reports the other one', async () => {
    const { node, said } = await voters({}, { b: 255 });
    expect(await byteOf(node)).to.equal(GOOD);
    expect(said).to.deep.equal(['QUORUM_REPORT_BAD read b']);
  });

  it('gives all memory back where there is not enough for every child', async () => {
    const { bench, node } = await voters({});
    const { memory } = bench.host;
    const [allocate, free] = [memory.allocate.bind(memory), memory.free.bind(memory)];
    const held = new Set<Uint8Array>();
    memory.allocate = (bytes) => {
      if (held.size === 2) throw new BlockError('limit', 'no memory is left');
      const buffer = allocate(bytes);
      held.add(buffer);
      return buffer;
    };
    memory.free = (buffer) => {
      held.delete(buffer);
      free(buffer);
    };
    expect(await failureOf(node.read(0, new Uint8Array(512)))).to.have.property('code', 'limit');
    expect(held.size).to.equal(0);
  });

  it('says nothing of children that agree', async () => {
    const { node, said } = await voters({});
    await node.write(0, pattern(SIZE, 3));
    await node.flush();
    expect(await byteOf(node)).to.equal(pattern(SIZE, 3)[1000]);
    expect(said).to.deep.equal([]);
  });

  it('fails where too few agree', async () => {
    const { node, said } = await voters({}, { a: 1, b: 2, c: 3 });
    expect((await failureOf(byteOf(node) as Promise<never>)).code).to.equal('io');
    expect(said).to.deep.equal(['QUORUM_FAILURE']);
  });

  it('writes what a child was outvoted on to it again, where it is told to', async () => {
    const { node, bench } = await voters({ 'rewrite-corrupted': true }, { c: 255 });
    await byteOf(node);
    expect(bench.host.readFile('/c')[1000]).to.equal(GOOD);
    const { node: other, bench: kept } = await voters({}, { c: 255 });
    await byteOf(other);
    expect(kept.host.readFile('/c')[1000]).to.equal(255);
  });

  it('goes on without a child that fails, and fails where too many do', async () => {
    const { node, said } = await voters({}, {}, ['write /a', 'read /b']);
    await node.write(0, new Uint8Array(512));
    await byteOf(node);
    expect(said).to.deep.equal([
      'QUORUM_REPORT_BAD write a Input/output error',
      'QUORUM_REPORT_BAD read b Input/output error',
    ]);
    const { node: other, said: more } = await voters({}, {}, ['fdatasync /a', 'fdatasync /b', 'write /a', 'write /b']);
    expect((await failureOf(other.write(0, new Uint8Array(512)))).code).to.equal('io');
    expect(more.at(-1)).to.equal('QUORUM_FAILURE');
  });

  it('with fifo, reads the first child that does not fail', async () => {
    const { node, said } = await voters({ 'read-pattern': 'fifo' }, { a: 7, b: 8, c: 9 }, ['read /a']);
    expect(await byteOf(node)).to.equal(8);
    expect(said).to.deep.equal(['QUORUM_REPORT_BAD read a Input/output error']);
  });

  it('with blkverify, says where two children differ', async () => {
    const own = { blkverify: true, children: ['a', 'b'] };
    const { node } = await voters(own, { b: 255 });
    expect((await failureOf(byteOf(node) as Promise<never>)).message).to.match(/contents mismatch at byte 1000$/);
  });

  it('takes and gives up children while it is open', async () => {
    const { node, bench } = await voters({ children: ['a', 'b'], 'vote-threshold': 1 });
    await changeChildren(bench.graph, 'q', { add: 'c' });
    await node.write(0, new Uint8Array(512).fill(77));
    expect(bench.host.readFile('/c')[0]).to.equal(77);
    await changeChildren(bench.graph, 'q', { remove: 'children.0' });
    expect([...node.children.keys()]).to.deep.equal(['children.1', 'children.2']);
    await node.write(0, new Uint8Array(512).fill(78));
    expect([bench.host.readFile('/a')[0], bench.host.readFile('/c')[0]]).to.deep.equal([77, 78]);
    await changeChildren(bench.graph, 'q', { remove: 'children.1' });
    expect((await failureOf(changeChildren(bench.graph, 'q', { remove: 'children.2' }))).message).to.equal(
      'The number of children cannot be lower than the vote threshold 1',
    );
  });

  it('lets nobody else write to its children', async () => {
    const { bench } = await voters({});
    expect(() => bench.graph.find('a').attach({ userName: 'x' }, 'root', 2, 15)).to.throw('Permission conflict');
  });
});
