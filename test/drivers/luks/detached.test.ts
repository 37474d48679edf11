// LUKS with a detached header: the header in one node, the disk in another.

import { expect } from 'chai';
import { createImage, type ImageCreateOptions } from '../../../src/block/create.js';
import { Graph } from '../../../src/block/graph.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import { PERM_ALL, Perm } from '../../../src/block/types.js';
import { hasLuksMagic } from '../../../src/drivers/formats/luks/header.js';
import { registerDrivers } from '../../../src/drivers/index.js';
import { ImageLocks } from '../../../src/drivers/protocols/file/locks.js';
import { createSimHost, type SimHost } from '../../../src/host/sim/index.js';
import { failureOf, readNode, used } from '../support.js';

const DISK = '/disk';
const HEADER = '/header';
const SIZE = 64 << 10;
const CONTENT = Buffer.alloc(SIZE, 'the content ');
const at = (filename: string) => ({ driver: 'file', filename }) as const;
const KEY = { 'key-secret': 'a', 'cipher-alg': 'aes-128', 'iter-time': 1 } as const;
const MADE: ImageCreateOptions = { driver: 'luks', size: SIZE, ...KEY, header: at(HEADER) };
const OPTIONS = { driver: 'luks', 'key-secret': 'a', file: at(DISK), header: at(HEADER) } as const;
const NEW_KEY = { options: { state: 'active', 'new-secret': 'b', 'iter-time': 1 }, force: false } as const;

async function graphOn(host: SimHost): Promise<Graph> {
  registerDrivers();
  const graph = new Graph(host);
  for (const id of ['a', 'b']) await graph.objects.add({ 'qom-type': 'secret', id, data: `password ${id}` });
  return graph;
}

async function make(): Promise<{ host: SimHost; graph: Graph }> {
  const host = createSimHost();
  const graph = await graphOn(host);
  await createImage(graph, DISK, MADE);
  return { host, graph };
}

function open(graph: Graph, more: object = {}): Promise<BlockNode> {
  return used(openNode(graph, { ...OPTIONS, ...more } as never));
}

async function contentOf(node: BlockNode): Promise<Buffer> {
  const all = Buffer.alloc(node.length);
  await readNode(node, 0, all);
  return all;
}

describe('luks with a detached header', () => {
  it('is all disk in the one file, and all header in the other', async () => {
    const { host, graph } = await make();
    expect(host.readFile(DISK).length).to.equal(SIZE);
    expect(hasLuksMagic(host.readFile(HEADER))).to.equal(true);
    expect(Buffer.from(host.readFile(HEADER)).readUInt32BE(104), 'payload offset').to.equal(0);
    const header = Buffer.from(host.readFile(HEADER));
    const node = await open(graph);
    expect(node.length).to.equal(SIZE);
    await node.write(0, CONTENT);
    expect(node.abilities.details!().specific!.data).to.include({ 'detached-header': true, 'payload-offset': 0 });
    await node.truncate(2 * SIZE);
    await graph.closeAll();
    expect(host.readFile(DISK).length).to.equal(2 * SIZE);
    expect(header.equals(host.readFile(HEADER)), 'the header is as it was').to.equal(true);
    expect(Buffer.from(host.readFile(DISK)).includes('content')).to.equal(false);
    const again = await open(await graphOn(host));
    expect((await contentOf(again)).subarray(0, SIZE).equals(CONTENT)).to.equal(true);
    await again.graph.closeAll();
    const byName = await openNode(await graphOn(host), again.filename, { readOnly: true, backing: false });
    expect(byName.length).to.equal(2 * SIZE);
  });

  it('opens an ordinary image by a copy of its header, whose offset counts', async () => {
    const host = createSimHost();
    const graph = await graphOn(host);
    await createImage(graph, DISK, { driver: 'luks', size: SIZE, ...KEY });
    const whole = { driver: 'luks', 'key-secret': 'a', file: at(DISK) } as never;
    await (await used(openNode(graph, whole))).write(0, CONTENT);
    await graph.closeAll();
    const start = Buffer.from(host.readFile(DISK)).readUInt32BE(104) * 512;
    host.writeFile(HEADER, host.readFile(DISK).slice(0, start));
    const lost = Buffer.from(host.readFile(DISK)).fill(0, 0, start);
    host.writeFile(DISK, lost);
    const node = await open(await graphOn(host));
    expect(node.length).to.equal(SIZE);
    expect((await contentOf(node)).equals(CONTENT)).to.equal(true);
  });

  it('refuses what does not fit', async () => {
    const { host, graph } = await make();
    host.writeFile('/plain', new Uint8Array(4096));
    const wrong: [object, RegExp][] = [
      [{ header: at('/plain') }, /Volume is not in LUKS format/],
      [{ header: at('/none') }, /Could not open '\/none'/],
      [{ header: at(DISK) }, /The LUKS header '\/disk' lies in '\/disk'/],
      [{ file: at(HEADER), header: undefined }, /header is a detached one: it is to be opened as 'header'/],
      [{ file: undefined }, /A block device must be specified for "file"/],
    ];
    for (const [more, words] of wrong) {
      expect((await failureOf(open(await graphOn(host), more))).message).to.match(words);
    }
    const header = Buffer.from(host.readFile(HEADER));
    header.writeUInt32BE(SIZE / 512 + 1, 104);
    host.writeFile('/far', header);
    expect((await failureOf(open(graph, { header: at('/far') }))).message).to.match(
      /begins beyond the end of the file/,
    );
    host.writeFile('/short', header.subarray(0, 592 + 4096));
    expect((await failureOf(open(graph, { header: at('/short') }))).message).to.match(/key material exceeds its room/);
    await graph.closeAll();
  });

  it('is not made, and replaces nothing, where that cannot be', async () => {
    const host = createSimHost();
    const graph = await graphOn(host);
    for (const path of [DISK, HEADER]) host.writeFile(path, Buffer.from('precious'));
    const wrong: [object, RegExp][] = [
      [{ header: at(DISK) }, /The header of an image cannot be the image itself/],
      [{ 'detached-header': true }, /can't be used at the same time/],
      [{ header: undefined, 'detached-header': true }, /no disk is made that could have a size/],
      [{ header: undefined, size: 0, preallocation: 'full', 'detached-header': true }, /could be preallocated/],
      [{ preallocation: 'metadata' }, /Unsupported preallocation mode/],
      [{ header: at('/nowhere/header') }, /nowhere/],
    ];
    for (const [more, words] of wrong) {
      const failed = await failureOf(createImage(graph, DISK, { ...MADE, ...more } as ImageCreateOptions));
      expect(failed.message).to.match(words);
      for (const path of [DISK, HEADER]) expect(Buffer.from(host.readFile(path)).toString()).to.equal('precious');
    }
  });

  it('leaves no header behind where its creation is broken off at any request', async () => {
    for (let after = 1, ended = false; !ended; after++) {
      const host = createSimHost();
      const graph = await graphOn(host);
      host.setFaults({ rules: [{ operations: ['write', 'flush', 'truncate'], after, times: 1 }] });
      ended = await createImage(graph, DISK, MADE).then(
        () => true,
        () => false,
      );
      if (ended) break;
      host.setFaults({});
      const left = host.exists(HEADER) ? host.readFile(HEADER) : new Uint8Array(0);
      expect(hasLuksMagic(left), `request ${after}`).to.equal(false);
      expect(after).to.be.lessThan(50);
    }
  });

  it('reads its header only, until key slots change; then nobody else may have it', async () => {
    const { host, graph } = await make();
    const node = await open(graph);
    const second = await open(await graphOn(host), { file: { driver: 'null-co', size: SIZE } });
    const refused = await failureOf(node.abilities.keySlots!(NEW_KEY));
    expect(refused.message).to.match(/Failed to get "write" lock/);
    await second.graph.closeAll();
    await node.abilities.keySlots!(NEW_KEY);
    const third = await open(await graphOn(host), { 'key-secret': 'b', file: { driver: 'null-co', size: SIZE } });
    expect(third.length).to.equal(SIZE);
    const other = await host.open(HEADER, { writable: true });
    expect(() => new ImageLocks(other).set(Perm.WRITE, PERM_ALL)).to.throw(/Failed to get "write" lock/);
    await other.close();
    await third.graph.closeAll();
    await graph.closeAll();
  });

  it('is a header of several disks in one graph, whose key slots do not change then', async () => {
    const { graph } = await make();
    await openNode(graph, { ...at(HEADER), 'node-name': 'h' });
    const node = await open(graph, { header: 'h' });
    const second = await open(graph, { header: 'h', file: { driver: 'null-co', size: SIZE } });
    const refused = await failureOf(node.abilities.keySlots!(NEW_KEY));
    expect(refused.message).to.match(/Permission conflict on node 'h': permissions 'write'/);
    for (const link of [...second.parents]) second.detach(link);
    await graph.release(second);
    await node.abilities.keySlots!(NEW_KEY);
    await graph.closeAll();
  });

  it('may have a header that cannot be written to; then its key slots stay as they are', async () => {
    const { host, graph } = await make();
    const node = await open(graph, { header: { ...at(HEADER), 'read-only': true } });
    await node.write(0, CONTENT);
    expect((await failureOf(node.abilities.keySlots!(NEW_KEY))).message).to.match(/is read-only/);
    await graph.closeAll();
    const again = await open(await graphOn(host), { 'read-only': true });
    expect((await contentOf(again)).equals(CONTENT)).to.equal(true);
    expect((await failureOf(again.abilities.keySlots!(NEW_KEY))).code).to.equal('read-only');
  });

  it('lies over any format', async () => {
    const { host, graph } = await make();
    await createImage(graph, '/top.qcow2', { driver: 'qcow2', size: SIZE });
    const file = { driver: 'qcow2', file: at('/top.qcow2') };
    const node = await open(graph, { file });
    await node.write(0, CONTENT);
    await graph.closeAll();
    expect((await contentOf(await open(await graphOn(host), { file }))).equals(CONTENT)).to.equal(true);
  });
});
