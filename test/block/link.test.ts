// Requests go through a link, and a link without the permission lets none pass.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type { Child } from '../../src/block/child.js';
import { Device } from '../../src/block/device.js';
import { openNode } from '../../src/block/open.js';
import { PERM_ALL, Perm } from '../../src/block/types.js';
import { mirrorJob } from '../../src/jobs/mirror.js';
import { startJob } from '../../src/jobs/start.js';
import { failureOf, linkTo, makeBench, pattern } from '../drivers/support.js';
import { MemoryNode } from '../jobs/memory-node.js';
import { MiB, World } from '../jobs/world.js';

const { CONSISTENT_READ, WRITE, WRITE_UNCHANGED, RESIZE } = Perm;
const SIZE = 65536;
const bytes = () => new Uint8Array(512);

const REQUESTS: readonly [name: string, enough: number, send: (link: Child) => Promise<unknown>][] = [
  ['read', CONSISTENT_READ, (link) => link.read(0, bytes())],
  ['readExtents', CONSISTENT_READ, (link) => link.readExtents([{ offset: 0, length: 512 }], bytes())],
  ['write', WRITE, (link) => link.write(0, bytes())],
  ['write of what is there', WRITE | WRITE_UNCHANGED, (link) => link.write(0, bytes(), { serialised: true })],
  ['writeExtents', WRITE, (link) => link.writeExtents([{ offset: 0, length: 512 }], bytes())],
  ['writeZeroes', WRITE, (link) => link.writeZeroes(0, 512)],
  ['discard', WRITE, (link) => link.discard(0, 512)],
  ['reserve', WRITE | WRITE_UNCHANGED, (link) => link.reserve(0, 512)],
  ['truncate', RESIZE, (link) => link.truncate(2 * SIZE)],
  ['makeEmpty', WRITE | WRITE_UNCHANGED, (link) => link.makeEmpty()],
];

describe('a link', () => {
  for (const [name, enough, send] of REQUESTS) {
    it(`refuses ${name} without the permission, before the node sees it`, async () => {
      const node = new MemoryNode(makeBench().graph, { name: 'n', size: SIZE });
      const before = { ...node.counts };
      const link = linkTo(node, PERM_ALL & ~enough);
      expect(await failureOf(send(link))).to.include({ code: 'internal', path: '/n.img' });
      expect([node.counts, node.length, node.inFlight]).to.deep.equal([before, SIZE, 0]);
    });
  }

  it('locates nothing that it may not read or write', async () => {
    const bench = makeBench();
    bench.host.writeFile('/a', pattern(SIZE));
    const node = await openNode(bench.graph, '/a', { format: 'raw' });
    const into = { file: null, offset: 0, guard: null };
    const link = linkTo(node, CONSISTENT_READ);
    expect([link.locate(0, 512, false, into), link.locate(0, 512, true, into)]).to.deep.equal([true, false]);
    expect(linkTo(node, WRITE).locate(0, 512, false, into)).to.equal(false);
  });

  it('is the only way to a node: nobody in src/ sends a request past it', () => {
    const root = fileURLToPath(new URL('../../src', import.meta.url));
    const past =
      /\.node\.(read|readExtents|write|writeExtents|writeZeroes|discard|truncate|makeEmpty|reserve|locate|sent|answered)\(/;
    const files = (readdirSync(root, { recursive: true }) as string[]).filter((file) => file.endsWith('.ts'));
    const found = files.filter((file) => past.test(readFileSync(join(root, file), 'utf8')));
    expect(found).to.deep.equal([join('block', 'child.ts')]);
  });
});

describe('a change of the size', () => {
  it('takes the permission for its duration alone', async () => {
    const node = new MemoryNode(makeBench().graph, { name: 'n', size: SIZE });
    const device = new Device(node, { name: 'd', writable: true });
    const [link] = node.parents;
    await device.truncate(SIZE);
    expect(link.perm & RESIZE).to.equal(0);
    expect((await failureOf(new Device(node, { name: 'r', writable: false }).truncate(SIZE))).code).to.equal(
      'read-only',
    );
  });

  it('is refused while a mirror copies the node: no byte and no size is touched, and the mirror ends well', async () => {
    const world = new World();
    world.chain(1, MiB);
    const target = world.node('target', MiB);
    const job = await startJob(world.env, mirrorJob, { device: 'layer0', target: 'target', sync: 'full' });
    const writes = world.top.counts.write;
    const error = await failureOf(world.device.truncate(MiB / 2));
    expect(error).to.include({ code: 'permission', path: world.top.filename });
    expect(error.message).to.equal(
      "Permission conflict on node 'layer0': permissions 'resize' are both required by device 'drive0' " +
        `(uses node 'layer0' as 'root' child) and unshared by an unnamed block device (uses node 'layer0' as 'root' child).`,
    );
    expect([world.top.length, target.length, world.top.counts.write]).to.deep.equal([MiB, MiB, writes]);
    job.on('BLOCK_JOB_READY', () => void job.complete());
    await job.done;
    await world.device.write(MiB - 512, pattern(512));
    expect(target.content().subarray(MiB - 512)).to.deep.equal(Buffer.from(pattern(512)));
  });
});

describe('a node that is written to', () => {
  it('is not made read-only, in the words of the real tool', async () => {
    const bench = makeBench();
    bench.host.writeFile('/a', pattern(SIZE));
    const node = await openNode(bench.graph, '/a', { format: 'raw', nodeName: 'n' });
    const device = new Device(node, { name: 'd', writable: true });
    expect(await failureOf(node.reopen(true))).to.include({
      code: 'permission',
      message: "Read-only block node 'n' cannot support read-write users",
    });
    expect([node.readOnly, node.children.get('file')!.node.readOnly]).to.deep.equal([false, false]);
    await device.write(0, bytes());
  });

  it('takes no writer while it is made read-only', async () => {
    const bench = makeBench();
    bench.host.writeFile('/a', pattern(SIZE));
    const node = await openNode(bench.graph, '/a', { format: 'raw', nodeName: 'n' });
    // While it is flushed, `readOnly` is still false.
    let refusal: unknown;
    node.flush = async () => {
      expect(node.readOnly).to.equal(false);
      refusal = await failureOf(Promise.resolve().then(() => new Device(node, { name: 'd', writable: true })));
    };
    await node.reopen(true);
    expect(refusal).to.have.property('code', 'read-only');
    expect(node.readOnly).to.equal(true);
  });

  it('stays writable below one that is made read-only', async () => {
    const bench = makeBench();
    bench.host.writeFile('/a', pattern(SIZE));
    const node = await openNode(bench.graph, '/a', { format: 'raw' });
    const link = linkTo(node.children.get('file')!.node, CONSISTENT_READ | WRITE);
    await node.reopen(true);
    expect([node.readOnly, node.children.get('file')!.node.readOnly]).to.deep.equal([true, false]);
    await link.write(0, bytes());
  });
});

describe('Device.truncate', () => {
  const refused: readonly [what: string, size: unknown, options: unknown, code: string][] = [
    ['a negative size', -1, undefined, 'invalid-argument'],
    ['a size that is no number', '512', undefined, 'invalid-argument'],
    ['an option that nobody knows', 512, { preallocate: 'off' }, 'unknown-option'],
    ['a preallocation that nobody knows', 512, { preallocation: 'some' }, 'invalid-argument'],
    ['options that are none', 512, 7, 'invalid-argument'],
  ];
  for (const [what, size, options, code] of refused) {
    it(`refuses ${what} before it asks for anything`, async () => {
      const node = new MemoryNode(makeBench().graph, { name: 'n', size: SIZE });
      const device = new Device(node, { name: 'd', writable: true });
      expect((await failureOf(device.truncate(size as number, options as object))).code).to.equal(code);
      expect(node.length).to.equal(SIZE);
    });
  }
});
