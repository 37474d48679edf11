// The simulated host's sockets: a schedule by the seed, the same bytes whatever it is.
import { expect } from 'chai';
import type { Link, NetAddress } from '../../src/host/net.js';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import { failure, pattern } from './engines.js';
import { Collector, pairOf } from './net-support.js';

const ADDRESS: NetAddress = { type: 'inet', host: 'server', port: 0 };

/** Sends to and fro through odd windows: what each side got. */
async function exchange(host: SimHost): Promise<Collector[]> {
  const { server, client, close } = await pairOf(host, ADDRESS);
  const size = 300_007;
  const into = [new Collector(host, server, 1237).read(), new Collector(host, client, 70000).read()];
  for (const [i, link] of [server, client].entries()) {
    const data = host.memory.allocate(size);
    data.set(pattern(size, i));
    for (let at = 0; at < size; at += 33333) link.push(data, at, Math.min(size, at + 33333));
    expect(link.flush()).to.equal(false);
  }
  for (const one of into) {
    await one.until(() => one.bytes === size);
    await one.until(() => one.link.unsentBytes === 0);
    expect(one.link.sentPieces).to.equal(Math.ceil(size / 33333));
  }
  await close();
  return into;
}

describe('simulated sockets', () => {
  for (const seed of [undefined, 1, 2, 3]) {
    it(`bytes go both ways (${seed === undefined ? 'eager' : `seed ${seed}`})`, async () => {
      const host = createSimHost({ seed });
      const [left, right] = await host.run(() => exchange(host));
      expect(left.content.equals(pattern(300_007, 1))).to.equal(true);
      expect(right.content.equals(pattern(300_007, 0))).to.equal(true);
    });
  }

  for (const seed of [undefined, 1, 2, 3]) {
    it(`files go after their headers, as they are, and not where they cannot (${seed === undefined ? 'eager' : `seed ${seed}`})`, async () => {
      const host = createSimHost({ seed });
      await host.run(async () => {
        const file = await host.open('/disk', { writable: true, create: 'truncate' });
        const content = pattern(400_000, 8);
        await file.write(0, content);
        const { server, client, close } = await pairOf(host, ADDRESS);
        const head = host.memory.allocate(16);
        head.set(pattern(16, 2));
        const into = new Collector(host, server, 70_000).read();
        const expected: Uint8Array[] = [];
        let pieces = 0;
        for (let i = 0; i < 40; i++) {
          const pushed = client.pushFile(head, 0, 16, file, i * 1000, 65_536 + i);
          pieces += pushed;
          if (pushed > 0) expected.push(head, content.subarray(i * 1000, i * 1000 + 65_536 + i));
          expect(client.pushFile(head, 0, 16, file, 390_000, 65_536)).to.equal(0);
        }
        expect(pieces).to.be.above(20);
        if (seed !== undefined) expect(pieces).to.be.below(80);
        client.flush();
        const all = Buffer.concat(expected);
        await into.until(() => into.bytes >= all.length);
        expect(into.content.equals(all)).to.equal(true);
        expect(client.sentPieces).to.equal(pieces);
        expect(client.unsentBytes).to.equal(0);
        await file.close();
        expect(client.pushFile(head, 0, 16, file, 0, 4096)).to.equal(0);
        await close();
      });
    });
  }

  it('what is written before a file was sent may be received or not, by the seed', async () => {
    const seen = new Set<number>();
    for (let seed = 1; seed <= 30; seed++) {
      const host = createSimHost({ seed });
      await host.run(async () => {
        const file = await host.open('/disk', { writable: true, create: 'truncate' });
        await file.write(0, new Uint8Array(8192).fill(1));
        const { server, client, close } = await pairOf(host, ADDRESS);
        const head = host.memory.allocate(16);
        while (client.pushFile(head, 0, 16, file, 0, 8192) === 0);
        await file.write(0, new Uint8Array(8192).fill(2));
        client.flush();
        const into = new Collector(host, server, 70_000).read();
        await into.until(() => into.bytes === 8192 + 16);
        seen.add(into.content[16]);
        await close();
      });
    }
    expect([...seen].sort()).to.deep.equal([1, 2]);
  });

  it('a file that may fail to be read is not held', async () => {
    const host = createSimHost({ faults: { rules: [{ operations: ['read'], path: '/disk' }] } });
    await host.run(async () => {
      const file = await host.open('/disk', { writable: true, create: 'truncate' });
      await file.write(0, new Uint8Array(8192).fill(1));
      const { client, close } = await pairOf(host, ADDRESS);
      expect(client.pushFile(host.memory.allocate(16), 0, 16, file, 0, 8192)).to.equal(0);
      await close();
    });
  });

  it('one seed, one order of chunks; another seed, another', async () => {
    const sizes = async (seed: number) => {
      const host = createSimHost({ seed });
      const into = await host.run(() => exchange(host));
      return into.map((one) => one.chunks.map((chunk) => chunk.length));
    };
    const first = await sizes(7);
    expect(await sizes(7)).to.deep.equal(first);
    expect(await sizes(8)).not.to.deep.equal(first);
  });

  it('an end comes after what was sent before it, a cut at once to both', async () => {
    const host = createSimHost({ seed: 4 });
    await host.run(async () => {
      const ending = await pairOf(host, ADDRESS);
      const into = new Collector(host, ending.server).read();
      ending.client.push(host.memory.allocate(200_000), 0, 200_000);
      await ending.client.close(true);
      expect(await into.ended()).to.equal(null);
      expect(into.bytes).to.equal(200_000);
      const cutting = await pairOf(host, ADDRESS);
      const both = [cutting.server, cutting.client].map((link: Link) => new Collector(host, link).read());
      host.net.cut();
      for (const one of both) expect((await one.ended())?.errno).to.equal('ECONNRESET');
    });
  });

  it('where nobody listens, nobody answers', async () => {
    const host = createSimHost();
    expect((await failure(host.net.connect({ type: 'inet', host: 'x', port: 1 }))).code).to.equal('io');
    const address: NetAddress = { type: 'unix', path: '/run/a.sock' };
    expect((await failure(host.net.connect(address))).code).to.equal('not-found');
    const listener = await host.net.listen(address, () => {});
    await (await host.net.connect(address)).close();
    await listener.close();
    expect((await failure(host.net.connect(address))).code).to.equal('not-found');
  });
});
