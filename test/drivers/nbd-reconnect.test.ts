// Connections that break: requests fail or wait as `reconnect-delay` says, and are sent again. The clock is the test's.

import { expect } from 'chai';
import { TransmissionFlag } from '../../src/drivers/protocols/nbd/wire.js';
import { FakeClock, settle } from '../support/fake-clock.js';
import { ALL_FLAGS, type FakePeer, serveMemory } from '../support/fake-nbd.js';
import { NbdLab } from './nbd-support.js';
import { failureOf, pattern } from './support.js';

const SIZE = 1 << 16;
const LIMIT_MS = 5000;

async function until(what: string, done: () => boolean): Promise<void> {
  const deadline = Date.now() + LIMIT_MS;
  while (!done()) {
    if (Date.now() > deadline) throw new Error(`never: ${what}`);
    await settle();
  }
}

describe('nbd: reconnect', () => {
  let clock: FakeClock;
  let lab: NbdLab;
  let content: Buffer;
  beforeEach(() => {
    clock = new FakeClock();
    lab = new NbdLab(clock);
    content = Buffer.from(pattern(SIZE));
  });
  afterEach(() => lab.close());

  const serve = (peer: FakePeer): Promise<void> => serveMemory(peer, { size: SIZE }, content);

  /** Lets attempts and pauses go on until `done`, but no further than `ms`. */
  async function pass(ms: number, done: () => boolean): Promise<void> {
    for (let passed = 0; passed < ms && !done(); passed += 50) {
      await clock.advance(50);
      for (let i = 0; i < 5; i++) await settle();
    }
  }

  /** Answers nothing of the first connection's transmission, and hangs up after `count` requests. */
  const cutAfter = (count: number) => async (peer: FakePeer, index: number) => {
    if (index > 0) return serve(peer);
    await peer.negotiate({ size: SIZE });
    for (let i = 0; i < count; i++) await peer.request();
  };

  it('without a delay, what is under way fails at once, and the next request after the connection is there works', async () => {
    const fake = await lab.fake(cutAfter(2));
    const node = await lab.openNbd(fake.path);
    const [read, write] = await Promise.all([
      failureOf(node.read(0, new Uint8Array(512))),
      failureOf(node.write(512, new Uint8Array(512))),
    ]);
    expect(read).to.include({ code: 'io', operation: 'read', offset: 0, length: 512, path: node.filename });
    expect(write).to.include({ code: 'io', operation: 'write', offset: 512 });
    await until('connected again', () => node.connections === 1);
    const buffer = new Uint8Array(512);
    await node.read(512, buffer);
    expect(Buffer.compare(buffer, content.subarray(512, 1024))).to.equal(0);
  });

  it('without a delay, requests fail at once until there is a connection', async () => {
    const fake = await lab.fake(cutAfter(1));
    const node = await lab.openNbd(fake.path);
    const reading = failureOf(node.read(0, new Uint8Array(512)));
    await fake.close();
    await reading;
    expect((await failureOf(node.read(0, new Uint8Array(512)))).code).to.equal('io');
    await clock.advance(10_000);
    expect((await failureOf(node.read(0, new Uint8Array(512)))).code).to.equal('io');
    await lab.fake(serve, fake.path);
    await pass(10_000, () => node.connections === 1);
    await node.read(0, new Uint8Array(512));
  });

  it('with a delay, requests wait and are sent again', async () => {
    const fake = await lab.fake(cutAfter(3));
    const node = await lab.openNbd(fake.path, { 'reconnect-delay': 10 });
    const data = pattern(2048, 9);
    const buffer = new Uint8Array(4096);
    const requests = [node.write(8192, data), node.read(0, buffer), node.flush()];
    await Promise.all(requests);
    expect(Buffer.compare(buffer, content.subarray(0, 4096))).to.equal(0);
    expect(Buffer.compare(data, content.subarray(8192, 8192 + 2048))).to.equal(0);
    expect(fake.connections).to.equal(2);
  });

  it('with a delay, a server may be away for a while', async () => {
    const fake = await lab.fake(serve);
    const node = await lab.openNbd(fake.path, { 'reconnect-delay': 10 });
    await node.read(0, new Uint8Array(512));
    await fake.close();
    await until('lost', () => node.connections === 0);
    const data = pattern(512, 3);
    let done = 0;
    const requests = [node.write(0, data), node.write(512, data)].map((request) => request.then(() => done++));
    await pass(6000, () => done > 0);
    expect(done).to.equal(0);
    await lab.fake(serve, fake.path);
    await pass(5000, () => done === 2);
    await Promise.all(requests);
    expect(Buffer.compare(data, content.subarray(512, 1024))).to.equal(0);
  });

  it('after the delay, what waits fails, and new requests fail at once until there is a connection', async () => {
    const fake = await lab.fake(serve);
    const node = await lab.openNbd(fake.path, { 'reconnect-delay': 10 });
    await fake.close();
    await until('lost', () => node.connections === 0);
    let failed = false;
    const waiting = failureOf(node.read(0, new Uint8Array(512))).then((error) => {
      failed = true;
      return error;
    });
    await clock.advance(9000);
    await settle();
    expect(failed).to.equal(false);
    await clock.advance(2000);
    expect((await waiting).code).to.equal('io');
    expect((await failureOf(node.write(0, new Uint8Array(512)))).code).to.equal('io');
    await lab.fake(serve, fake.path);
    await pass(10_000, () => node.connections === 1);
    await node.write(0, new Uint8Array(512));
  });

  it('pauses between attempts grow, to some seconds', async () => {
    const fake = await lab.fake(serve);
    const node = await lab.openNbd(fake.path);
    await fake.close();
    await until('lost', () => node.connections === 0);
    // It takes connections and hangs up: each attempt is counted.
    const counting = await lab.fake(async () => {}, fake.path);
    const counts: number[] = [];
    for (let second = 0; second < 30; second++) {
      await pass(1000, () => false);
      counts.push(counting.connections);
    }
    expect(counts[0]).to.be.within(3, 6);
    expect(counts[29] - counts[9]).to.be.within(3, 6);
  });

  const changes: [string, Parameters<FakePeer['negotiate']>[0], RegExp][] = [
    ['of another size', { size: SIZE * 2 }, /had 65536 bytes and has 131072/],
    ['that is read-only now', { size: SIZE, flags: ALL_FLAGS | TransmissionFlag.readOnly }, /read-only after/],
    ['of a server that can do less', { size: SIZE, flags: TransmissionFlag.hasFlags }, /can do less/],
  ];
  for (const [what, offer, message] of changes) {
    it(`an export ${what} is not gone on with`, async () => {
      const fake = await lab.fake(async (peer, index) => {
        if (index === 0) {
          await peer.negotiate({ size: SIZE });
          await peer.request();
          return;
        }
        await serveMemory(peer, offer, content);
      });
      const node = await lab.openNbd(fake.path, { 'reconnect-delay': 10 });
      const error = await failureOf(node.read(0, new Uint8Array(512)));
      expect(error.message).to.match(message);
      await clock.advance(60_000);
      expect(fake.connections).to.equal(2);
      expect((await failureOf(node.read(0, new Uint8Array(512)))).message).to.match(message);
    });
  }

  it('a connection of several that breaks leaves the others', async () => {
    const fake = await lab.fake(async (peer, index) => {
      if (index !== 1) return serve(peer);
      await peer.negotiate({ size: SIZE });
      await peer.request();
    });
    const node = await lab.openNbd(fake.path, { 'reconnect-delay': 10, 'x-multi-conn': 3 });
    expect(node.connections).to.equal(3);
    const parts = Array.from({ length: 16 }, () => new Uint8Array(4096));
    await Promise.all(parts.map((part, i) => node.read(i * 4096, part)));
    expect(Buffer.compare(Buffer.concat(parts), content)).to.equal(0);
    await until('all again', () => node.connections === 3);
  });

  it('more requests than there are slots wait their turn, also through a lost connection', async () => {
    const fake = await lab.fake(async (peer, index) => {
      if (index > 0) return serve(peer);
      await peer.negotiate({ size: SIZE });
      for (let i = 0; i < 100; i++) await peer.request();
    });
    const node = await lab.openNbd(fake.path, { 'reconnect-delay': 10 });
    const parts = Array.from({ length: 3000 }, () => new Uint8Array(512));
    await Promise.all(parts.map((part, i) => node.read((i % 128) * 512, part)));
    for (const [i, part] of parts.entries()) {
      const at = (i % 128) * 512;
      expect(Buffer.compare(part, content.subarray(at, at + 512)), `${i}`).to.equal(0);
    }
  });

  it('can be closed while it is away', async () => {
    const fake = await lab.fake(serve);
    const node = await lab.openNbd(fake.path, { 'reconnect-delay': 1 });
    await fake.close();
    await until('lost', () => node.connections === 0);
    await lab.graph.release(node);
    expect((await failureOf(node.read(0, new Uint8Array(512)))).code).to.equal('closed');
  });

  it('can be closed while a server does not answer its handshake', async () => {
    const fake = await lab.fake(async (peer, index) => {
      if (index === 0) await peer.negotiate({ size: SIZE });
      else await peer.gone();
    });
    const node = await lab.openNbd(fake.path);
    await until('second attempt', () => fake.connections === 2);
    await lab.graph.release(node);
    await until('no timer left', () => clock.pending === 0);
  });

  it('open-timeout tries until there is a server', async () => {
    const path = lab.freshSocket();
    const opening = lab.openNbd(path, { 'open-timeout': 10 });
    await clock.advance(3000);
    await lab.fake(serve, path);
    let node: Awaited<typeof opening> | null = null;
    void opening.then((opened) => {
      node = opened;
    });
    await pass(7000, () => node !== null);
    expect(node!.length).to.equal(SIZE);
  });

  it('open-timeout ends with why', async () => {
    const path = lab.freshSocket();
    const opening = failureOf(lab.openNbd(path, { 'open-timeout': 2 }));
    let error: unknown = null;
    void opening.then((failure) => {
      error = failure;
    });
    await pass(2500, () => error !== null);
    expect((await opening).message).to.equal(`Failed to connect to '${path}': No such file or directory`);
    expect((await failureOf(lab.openNbd(path))).code).to.equal('not-found');
  });
});
