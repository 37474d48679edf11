// Encrypted qcow2 images on a simulated disk: content, the parts of the driver that must not take the file's bytes for it, and broken headers.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { Graph } from '../../../src/block/graph.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import { registerDrivers } from '../../../src/drivers/index.js';
import { createSimHost, Random, type SimHost } from '../../../src/host/sim/index.js';
import { failureOf, readNode, used } from '../support.js';
import { ModelRun, randomShape } from './model.js';

const PATH = '/disk.qcow2';
const KIB = 1024;
const LUKS = { format: 'luks', 'key-secret': 's', 'iter-time': 1, 'cipher-alg': 'aes-128' } as const;
const AES = { format: 'qcow', 'key-secret': 's' } as const;
type Options = Record<string, unknown>;

async function graphOn(host: SimHost, password = 'the password'): Promise<Graph> {
  registerDrivers();
  const graph = new Graph(host);
  await graph.objects.add({ 'qom-type': 'secret', id: 's', data: password });
  return graph;
}

async function make(encrypt: typeof LUKS | typeof AES, more: Options = {}): Promise<{ host: SimHost; graph: Graph }> {
  const host = createSimHost();
  const graph = await graphOn(host);
  await createImage(graph, PATH, { driver: 'qcow2', size: 256 * KIB, 'cluster-size': 4096, encrypt, ...more } as never);
  return { host, graph };
}

function openIn(graph: Graph, format: 'luks' | 'aes', more: Options = {}): Promise<BlockNode> {
  const file = { driver: 'file', filename: PATH };
  return used(openNode(graph, { driver: 'qcow2', encrypt: { format, 'key-secret': 's' }, file, ...more } as never));
}

async function contentOf(node: BlockNode): Promise<Buffer> {
  const all = Buffer.alloc(node.length);
  await readNode(node, 0, all);
  return all;
}

async function findings(node: BlockNode): Promise<number> {
  const result = await node.abilities.check!(() => undefined);
  return result.corruptions + result.leaks + result.checkErrors;
}

for (const [format, encrypt] of [
  ['luks', LUKS],
  ['aes', AES],
] as const) {
  describe(`encrypted qcow2: ${format}`, () => {
    for (const version of ['v2', 'v3']) {
      it(`${version}: reads what was written, discarded and zeroed, in ranges of any size`, async () => {
        const { host, graph } = await make(encrypt, { version });
        let node = await openIn(graph, format, { discard: 'unmap' });
        const model = Buffer.alloc(node.length);
        expect((await contentOf(node)).equals(model), 'a new image reads as zeroes').to.equal(true);
        const random = new Random(11, 1);
        for (let i = 0; i < 150; i++) {
          const offset = random.below(node.length);
          const length = Math.min(node.length - offset, random.between(1, random.pick([20, 700, 5000, 30000])));
          const data = Buffer.alloc(length, `<${i}>${'secret text '.repeat(3)}`);
          const kind = random.below(5);
          if (kind === 0) await node.writeZeroes(offset, length, { mayUnmap: random.chance(0.5) });
          else await node.write(offset, data);
          model.set(kind === 0 ? Buffer.alloc(length) : data, offset);
          if (random.chance(0.1)) await node.flush();
        }
        expect((await contentOf(node)).equals(model)).to.equal(true);
        expect(await findings(node)).to.equal(0);
        await graph.closeAll();
        expect(Buffer.from(host.readFile(PATH)).includes('secret')).to.equal(false);
        node = await openIn(await graphOn(host), format, { 'read-only': true });
        expect((await contentOf(node)).equals(model)).to.equal(true);
      });
    }

    it('copies on write from an encrypted backing file', async () => {
      const { host, graph } = await make(encrypt);
      const base = await openIn(graph, format);
      await base.write(0, Buffer.alloc(64 * KIB, 'base'));
      await graph.closeAll();
      const over = await graphOn(host);
      const top = { driver: 'qcow2', size: 256 * KIB, encrypt: AES, 'backing-file': PATH, 'backing-fmt': 'qcow2' };
      await createImage(over, '/top.qcow2', top as never);
      const options = {
        encrypt: { format: 'aes', 'key-secret': 's' },
        file: { driver: 'file', filename: '/top.qcow2' },
      };
      const below = {
        driver: 'qcow2',
        encrypt: { format, 'key-secret': 's' },
        file: { driver: 'file', filename: PATH },
      };
      const node = await used(openNode(over, { driver: 'qcow2', ...options, backing: below } as never));
      await node.write(1000, Buffer.from('top'));
      const expected = Buffer.concat([Buffer.alloc(64 * KIB, 'base'), Buffer.alloc(192 * KIB)]);
      expected.write('top', 1000);
      expect((await contentOf(node)).equals(expected)).to.equal(true);
    });

    it('passes no place of its content on, and refuses compressed clusters', async () => {
      const { graph } = await make(encrypt);
      const node = await openIn(graph, format);
      await node.write(0, new Uint8Array(8192).fill(1));
      const into = { file: null, offset: 0, guard: null };
      expect([node.locate(0, 512, false, into), node.locate(0, 512, true, into)]).to.deep.equal([false, false]);
      const status = await node.blockStatus(0, 256 * KIB);
      expect(status).to.include({ length: 8192, data: true, zero: false, offset: -1 });
      const refused = await failureOf(node.write(0, new Uint8Array(4096), { compressed: true }));
      expect(refused.message).to.match(/Compression and encryption not supported at the same time/);
    });

    it('grows with clusters allocated ahead, which read as zeroes', async () => {
      const { graph } = await make(encrypt);
      const node = await openIn(graph, format);
      await node.write(0, Buffer.alloc(256 * KIB, 'x'));
      await node.truncate(300 * KIB, { preallocation: 'metadata' });
      await node.truncate(340 * KIB, { preallocation: 'full' });
      const expected = Buffer.concat([Buffer.alloc(256 * KIB, 'x'), Buffer.alloc(84 * KIB)]);
      expect((await contentOf(node)).equals(expected)).to.equal(true);
      expect(await findings(node)).to.equal(0);
    });

    it('is not taken for zeroes where it was made with clusters allocated ahead', async () => {
      for (const preallocation of ['off', 'metadata', 'full']) {
        const { graph } = await make(encrypt, { preallocation });
        expect((await openIn(graph, format)).zeroWhenNew, preallocation).to.equal(preallocation === 'off');
      }
    });

    it('needs a password for its content, and none for its information', async () => {
      const { host, graph: first } = await make(encrypt);
      await (await openIn(first, format)).write(0, new Uint8Array(512).fill(1));
      await first.closeAll();
      const graph = await graphOn(host);
      expect((await failureOf(openNode(graph, PATH))).message).to.match(/'encrypt.key-secret' is required for cipher/);
      const other = format === 'luks' ? 'aes' : 'luks';
      expect((await failureOf(openIn(graph, other))).message).to.match(/Header reported/);
      const node = await openNode(graph, PATH, { readOnly: true, backing: false });
      const specific = node.abilities.details?.().specific;
      expect(specific?.type === 'qcow2' && specific.data.encrypt?.format).to.equal(format);
      expect((await failureOf(readNode(node, 0, new Uint8Array(512)))).code).to.equal('permission');
    });
  });
}

describe('encrypted qcow2: what is wrong', () => {
  it('a wrong password', async () => {
    const { host } = await make(LUKS);
    expect((await failureOf(openIn(await graphOn(host, 'wrong'), 'luks'))).message).to.match(/Invalid password/);
  });

  it('a pointer to the LUKS header that leads anywhere else, and a method that nobody knows', async () => {
    const { host } = await make(LUKS);
    const good = Buffer.from(host.readFile(PATH));
    const at = good.indexOf(Buffer.from('0537be7700000010', 'hex')) + 8;
    const set = (offset: number, value: bigint) => (bytes: Buffer) => void bytes.writeBigUInt64BE(value, offset);
    const wrong: [(bytes: Buffer) => void, RegExp][] = [
      [set(at, 0n), /not a multiple of cluster size/],
      [set(at, 4097n), /not a multiple of cluster size/],
      [set(at, 2n ** 63n), /not a multiple|exceeds the file/],
      [set(at, 2n ** 40n), /exceeds the file/],
      [set(at + 8, 2n ** 40n), /exceeds the file/],
      [set(at + 8, 100n), /too short/],
      [set(at + 8, 5000n), /exceeds its room/],
      [set(at, 4096n), /not in LUKS format/],
      [(bytes) => void bytes.writeUInt32BE(8, at - 4), /CRYPTO header extension size 8|not in|extension too large/],
      [(bytes) => void bytes.writeUInt32BE(0x12345678, at - 8), /Missing CRYPTO header/],
      [(bytes) => void bytes.writeUInt32BE(3, 32), /Unsupported encryption method 3/],
    ];
    for (const [change, message] of wrong) {
      const bad = Buffer.from(good);
      change(bad);
      host.writeFile(PATH, bad);
      expect((await failureOf(openIn(await graphOn(host), 'luks'))).message).to.match(message);
    }
  });

  it('options for an image that is not encrypted', async () => {
    const host = createSimHost();
    const graph = await graphOn(host);
    await createImage(graph, PATH, { driver: 'qcow2', size: KIB });
    expect((await failureOf(openIn(graph, 'luks'))).message).to.match(/No encryption in image header, but/);
  });

  it('a creation without its secret touches nothing', async () => {
    const host = createSimHost();
    const graph = await graphOn(host);
    host.writeFile(PATH, Buffer.from('precious'));
    const made = (encrypt: object) => createImage(graph, PATH, { driver: 'qcow2', size: KIB, encrypt } as never);
    expect((await failureOf(made({ ...LUKS, 'key-secret': 'other' }))).message).to.equal("No secret with id 'other'");
    expect((await failureOf(made({ format: 'luks' }))).message).to.match(/'encrypt.key-secret' is required/);
    expect((await failureOf(made({ ...LUKS, 'cipher-alg': 'serpent-256' }))).message).to.match(
      /'serpent-256' not supported/,
    );
    expect(Buffer.from(host.readFile(PATH)).toString()).to.equal('precious');
  });
});

describe('encrypted qcow2 against a model', () => {
  // Of each third seed, discarded clusters stay allocated.
  for (let seed = 3; seed <= 36; seed += 3) {
    it(`keeps after power loss what a flush acknowledged, and reads no noise, seed ${seed}`, async () => {
      const run = new ModelRun(seed, { ...randomShape(new Random(seed, 79)), version: 'v3', encrypted: true });
      await run.losePower();
      await run.host.run(async () => {
        await run.open(true);
        expect((await run.check()).errors).to.deep.equal([]);
        await run.verify(true);
        await run.graph.closeAll();
      });
    });
  }
});
