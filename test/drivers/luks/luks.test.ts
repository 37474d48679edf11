// The luks driver on a simulated disk: requests of any range, sizes, what is refused, and broken headers.

import { inspect } from 'node:util';
import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { Graph } from '../../../src/block/graph.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import { hasLuksMagic } from '../../../src/drivers/formats/luks/header.js';
import { registerDrivers } from '../../../src/drivers/index.js';
import { createSimHost, Random, type SimHost } from '../../../src/host/sim/index.js';
import type { BlockdevCreateOptionsLUKS } from '../../../src/schema/generated/types.js';
import { failureOf, readNode, used } from '../support.js';

const PATH = '/disk.luks';
const PASSWORD = 'correct horse battery staple';
const KIB = 1024;

async function graphOn(host: SimHost, password = PASSWORD): Promise<Graph> {
  registerDrivers();
  const graph = new Graph(host);
  await graph.objects.add({ 'qom-type': 'secret', id: 's', data: password });
  return graph;
}

type Options = Partial<Omit<BlockdevCreateOptionsLUKS, 'file'>>;

async function make(options: Options = {}): Promise<{ host: SimHost; graph: Graph }> {
  const host = createSimHost();
  const graph = await graphOn(host);
  await createImage(graph, PATH, { driver: 'luks', size: 64 * KIB, 'key-secret': 's', 'iter-time': 1, ...options });
  return { host, graph };
}

const OPTIONS = { driver: 'luks', 'key-secret': 's', file: { driver: 'file', filename: PATH } } as const;

function openIn(graph: Graph, more: object = {}): Promise<BlockNode> {
  return used(openNode(graph, { ...OPTIONS, ...more }));
}

async function contentOf(node: BlockNode): Promise<Buffer> {
  const all = Buffer.alloc(node.length);
  await readNode(node, 0, all);
  return all;
}

describe('luks', () => {
  for (const mode of ['xts', 'cbc', 'ecb', 'ctr'] as const) {
    it(`${mode}: reads what was written, in ranges of any size, and none of it is in the file`, async () => {
      const { host, graph } = await make({ 'cipher-mode': mode });
      const node = await openIn(graph);
      const model = await contentOf(node);
      const random = new Random(7, 1);
      for (let i = 0; i < 120; i++) {
        const offset = random.below(node.length);
        const length = Math.min(node.length - offset, random.between(1, random.pick([20, 700, 5000, 40000])));
        if (random.chance(0.2)) {
          await node.writeZeroes(offset, length);
          model.fill(0, offset, offset + length);
        } else {
          const data = Buffer.alloc(length, `<${i}>${'secret text '.repeat(3)}`);
          await node.write(offset, data);
          model.set(data, offset);
        }
        const from = random.below(node.length);
        const part = Buffer.alloc(random.between(1, node.length - from));
        await readNode(node, from, part);
        expect(part.equals(model.subarray(from, from + part.length)), `step ${i}`).to.equal(true);
      }
      await graph.closeAll();
      expect(Buffer.from(host.readFile(PATH)).includes('secret')).to.equal(false);
      const again = await openIn(await graphOn(host));
      expect((await contentOf(again)).equals(model)).to.equal(true);
    });
  }

  it('has several writes of one sector at the same time one after the other', async () => {
    const { graph } = await make();
    const node = await openIn(graph);
    await node.write(0, new Uint8Array(512));
    await Promise.all(Array.from({ length: 64 }, (_, i) => node.write(i * 8, new Uint8Array(8).fill(i + 1))));
    const sector = Buffer.alloc(512);
    await readNode(node, 0, sector);
    expect([...sector]).to.deep.equal(Array.from({ length: 512 }, (_, i) => (i >> 3) + 1));
  });

  it('grows and shrinks', async () => {
    const { host, graph } = await make();
    const node = await openIn(graph);
    await node.write(0, Buffer.alloc(64 * KIB, 'x'));
    await node.truncate(100 * KIB);
    await node.write(99 * KIB, Buffer.alloc(KIB, 'y'));
    await node.truncate(10 * KIB);
    expect(node.length).to.equal(10 * KIB);
    await graph.closeAll();
    const again = await openIn(await graphOn(host));
    expect((await contentOf(again)).equals(Buffer.alloc(10 * KIB, 'x'))).to.equal(true);
  });

  it('passes no place of its content on, and is data all over', async () => {
    const { graph } = await make();
    const node = await openIn(graph);
    const into = { file: null, offset: 0, guard: null };
    expect([node.locate(0, 512, false, into), node.locate(0, 512, true, into)]).to.deep.equal([false, false]);
    const status = await node.blockStatus(100, 5000);
    expect(status).to.include({ length: 5000, data: true, zero: false, allocated: true, offset: -1 });
    expect(node.zeroWhenNew).to.equal(false);
  });

  it('needs the right password, but for its information', async () => {
    const { host } = await make();
    const graph = await graphOn(host, 'wrong');
    expect((await failureOf(openNode(graph, OPTIONS))).message).to.match(/Invalid password, cannot unlock any keyslot/);
    expect((await failureOf(openNode(graph, PATH))).message).to.match(/Parameter 'key-secret' is required for cipher/);
    const unknown = { ...OPTIONS, 'key-secret': 'other' };
    expect((await failureOf(openNode(graph, unknown))).message).to.equal("No secret with id 'other'");
    const node = await openNode(graph, PATH, { readOnly: true, backing: false });
    expect(node.abilities.details?.().specific?.type).to.equal('luks');
    expect((await failureOf(readNode(node, 0, new Uint8Array(512)))).code).to.equal('permission');
  });

  it('zeroes a password with its object; whoever uses it meanwhile has a copy', async () => {
    const { host } = await make();
    const graph = await graphOn(host);
    const bytes = graph.objects.secret('s');
    const { ciphers } = host;
    const derive = ciphers.derive.bind(ciphers);
    let removed = false;
    Object.assign(ciphers, {
      derive: (...order: Parameters<typeof derive>) => {
        if (!removed) graph.objects.remove('s');
        removed = true;
        return derive(...order);
      },
    });
    expect((await openIn(graph)).length).to.equal(64 * KIB);
    expect(bytes.length).to.equal(PASSWORD.length);
    expect(bytes.every((byte) => byte === 0)).to.equal(true);
  });

  it('gives up where the key slots together take too long', async () => {
    const { host } = await make();
    const image = Buffer.from(host.readFile(PATH));
    // On the simulated host, 9 seconds each; nothing but the first is derived really.
    for (let slot = 0; slot < 8; slot++) {
      const at = 208 + slot * 48;
      image.writeUInt32BE(0x00ac71f3, at);
      image.writeUInt32BE(slot === 0 ? 1000 : 900_000, at + 4);
    }
    host.writeFile(PATH, image);
    const graph = await graphOn(host, 'wrong');
    const { ciphers } = host;
    const derive = ciphers.derive.bind(ciphers);
    let slots = 0;
    Object.assign(ciphers, {
      derive: async (...[hash, password, salt, iterations, key]: Parameters<typeof derive>) => {
        if (iterations === 900_000) slots++;
        await derive(hash, password, salt, Math.min(iterations, 10), key);
        return iterations / 100;
      },
    });
    const failed = await failureOf(openNode(graph, OPTIONS));
    expect([failed.code, slots]).to.deep.equal(['limit', 4]);
    expect(failed.message).to.match(/36 seconds of key derivation have found no key slot .* take 9; the limit is 40/);
  });

  it('notes the hash of vectors that need none in the header, as QEMU does', async () => {
    const { host, graph } = await make({ 'ivgen-hash-alg': 'sha512' });
    expect(Buffer.from(host.readFile(PATH)).toString('latin1', 40, 59)).to.equal('xts-plain64:sha512\0');
    const { data } = (await openIn(graph)).abilities.details!().specific!;
    expect(data).to.include({ 'ivgen-alg': 'plain64' }).and.not.to.have.property('ivgen-hash-alg');
  });

  it('shows no key in what is printed of it, nor in an error', async () => {
    const { host, graph } = await make();
    const node = await openIn(graph);
    const wrong = await failureOf(openNode(await graphOn(host, 'a wrong password'), OPTIONS));
    for (const shown of [node, graph, wrong]) {
      const text = inspect(shown, { depth: 5, showHidden: true, maxArrayLength: 2000 });
      expect(text).not.to.include(PASSWORD);
      expect(text).not.to.include(Buffer.from(PASSWORD).toString('hex', 0, 8));
    }
  });

  it('is not replaced, and not made, where an option is wrong', async () => {
    const host = createSimHost();
    const graph = await graphOn(host);
    host.writeFile(PATH, Buffer.from('precious'));
    const wrong: [Options, RegExp][] = [
      [{ 'key-secret': undefined }, /Parameter 'key-secret' is required/],
      [{ 'key-secret': 'other' }, /No secret with id 'other'/],
      [{ 'cipher-alg': 'serpent-256' }, /Algorithm 'serpent-256' not supported/],
      [{ 'ivgen-alg': 'essiv', 'ivgen-hash-alg': 'sha1' }, /No AES cipher with key size 20/],
      [{ 'iter-time': -1 }, /iter-time must not be negative/],
      [{ preallocation: 'metadata' }, /Unsupported preallocation mode: metadata/],
      [{ size: 2 ** 53 - 1024 }, /2\^53/],
    ];
    for (const [options, message] of wrong) {
      const all = { driver: 'luks', size: 64 * KIB, 'key-secret': 's', 'iter-time': 1, ...options } as const;
      expect((await failureOf(createImage(graph, PATH, all))).message).to.match(message);
      expect(Buffer.from(host.readFile(PATH)).toString()).to.equal('precious');
    }
  });

  it('leaves no LUKS image behind where its creation is broken off at any request', async () => {
    for (let at = 1; ; at++) {
      const host = createSimHost();
      const graph = await graphOn(host);
      const size = 4 * KIB;
      host.setFaults({ rules: [{ operations: ['write', 'flush', 'truncate'], after: at, times: 1 }] });
      const making = createImage(graph, PATH, { driver: 'luks', size, 'key-secret': 's', 'iter-time': 1 });
      const failed = await making.then(
        () => false,
        () => true,
      );
      if (!failed) break;
      host.setFaults({});
      const left = host.exists(PATH) ? host.readFile(PATH) : new Uint8Array(0);
      expect(hasLuksMagic(left), `request ${at}`).to.equal(false);
      expect(at).to.be.lessThan(50);
    }
  });

  it('says in one error, and soon, what is wrong with a broken header; or reads the right data', async () => {
    const { host, graph } = await make();
    const node = await openIn(graph);
    await node.write(0, Buffer.alloc(4 * KIB, 'x'));
    await graph.closeAll();
    const good = Buffer.from(host.readFile(PATH));
    const random = new Random(20261128, 1);
    const spread = [0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 512, 4000, 0xac71f3, 0xdead];
    let opened = 0;
    for (let i = 0; i < 150; i++) {
      const bad = Buffer.from(good.subarray(0, random.chance(0.1) ? random.below(8192) : good.length));
      for (let change = random.between(1, 3); change > 0 && bad.length > 592; change--) {
        if (random.chance(0.5)) bad[random.below(592)] = random.below(256);
        else bad.writeUInt32BE(random.pick(spread), random.pick([104, 108, 164, 208, 212, 248, 252, 256, 260, 296]));
      }
      host.writeFile(PATH, bad);
      const begun = performance.now();
      const own = await graphOn(host);
      try {
        const again = await openIn(own, { 'read-only': true });
        const start = Buffer.alloc(Math.min(again.length, 4 * KIB));
        await readNode(again, 0, start);
        opened++;
      } catch (error) {
        expect(error).to.include({ name: 'BlockError' });
        expect((error as { code: string }).code).to.be.oneOf(['invalid-image', 'unsupported', 'permission', 'limit']);
      }
      await own.closeAll();
      expect(performance.now() - begun, `mutant ${i}`).to.be.lessThan(1000);
    }
    expect(opened).to.be.greaterThan(3);
    expect(opened).to.be.lessThan(145);
  });
});
