// Connections that break: requests fail or wait as `reconnect-delay` says, and are sent again. The clock is the test's.

import { expect } from 'chai';
import { Perm } from '../../src/block/types.js';
import { TransmissionFlag } from '../../src/wire/nbd/constants.js';
import { FakeClock, settle } from '../support/fake-clock.js';
import { ALL_FLAGS, type FakePeer, serveMemory } from '../support/fake-nbd.js';
import { u32 } from '../support/wire-fields.js';
import { NbdLab } from './nbd-support.js';
import { failureOf, linkTo, pattern } from './support.js';

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

  it('without a delay, requests that found no room fail with the others', async () => {
    const fake = await lab.fake(cutAfter(100));
    const node = await lab.openNbd(fake.path);
    const requests = Array.from({ length: 2000 }, () => failureOf(node.read(0, new Uint8Array(512))));
    await fake.close();
    for (const error of await Promise.all(requests)) expect(error.code).to.equal('io');
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
    [
      'of a server that offers fewer features',
      { size: SIZE, flags: TransmissionFlag.hasFlags },
      /offers fewer features/,
    ],
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

  it('several connections are not gone on with where a flush counts for one of them only', async () => {
    const over: number[] = [];
    const fake = await lab.fake(async (peer, index) => {
      if (index === 0) return serve(peer);
      await peer.negotiate({ size: SIZE, flags: index < 3 ? ALL_FLAGS : ALL_FLAGS & ~TransmissionFlag.canMultiConn });
      await peer.request().finally(() => over.push(index));
    });
    const node = await lab.openNbd(fake.path, { 'reconnect-delay': 10, 'x-multi-conn': 2 });
    await Promise.all([0, 512].map((at) => node.read(at, new Uint8Array(512))));
    await until('connected again', () => fake.connections === 3);
    await until('both', () => node.connections === 2);
    await Promise.all([0, 512].map((at) => node.read(at, new Uint8Array(512))));
    await until('the fourth is over', () => over.includes(3));
    await clock.advance(60_000);
    expect(node.connections).to.equal(1);
    expect(fake.connections).to.equal(4);
    await fake.close();
    await until('lost', () => node.connections === 0);
    // Nobody connects again: there is nothing to wait for.
    expect((await failureOf(node.read(0, new Uint8Array(512)))).code).to.equal('io');
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

  it('can be closed while a server is silent, also below a format; what is under way fails', async () => {
    const fake = await lab.fake(async (peer) => {
      await peer.negotiate({ size: SIZE });
      await peer.gone();
    });
    for (const reconnect of [0, 3600]) {
      const server = { type: 'unix', path: fake.path } as const;
      const file = { driver: 'nbd', server, 'reconnect-delay': reconnect } as const;
      const node = await lab.open({ driver: 'raw', file });
      const link = linkTo(node, Perm.CONSISTENT_READ);
      const reading = failureOf(link.read(0, new Uint8Array(512)));
      node.detach(link);
      await clock.advance(3_000_000);
      let closed = false;
      const closing = lab.graph.release(node).then(() => {
        closed = true;
      });
      await pass(9000, () => closed);
      expect(closed).to.equal(false);
      await pass(12_000, () => closed);
      await closing;
      expect((await reading).message).to.match(/no answer from the server for 10 s/);
      await until('no timer left', () => clock.pending === 0);
    }
  });

  it('a slow server is waited for, also after `abortStalled`', async () => {
    let answer: () => void = () => {};
    let turn = -1;
    const fake = await lab.fake(async (peer) => {
      await peer.negotiate({ size: SIZE });
      const request = await peer.request();
      const reply = Buffer.concat([u32(0x67446698), u32(0), request.cookie, Buffer.alloc(512, 7)]);
      for (let at = 0; at < reply.length; at += 66) {
        await new Promise<void>((resolve) => {
          answer = resolve;
          turn++;
        });
        peer.write(reply.subarray(at, at + 66));
      }
      await peer.gone();
    });
    const node = await lab.openNbd(fake.path);
    const buffer = new Uint8Array(512);
    lab.graph.abortStalled();
    // What begins when it has been idle for long has all the time, too.
    await clock.advance(9999);
    const reading = node.read(0, buffer);
    await until('it has come', () => turn === 0);
    for (let part = 0; part < 8; part++) {
      await clock.advance(9000);
      await until('its turn', () => turn === part);
      answer();
      const end = Math.min(512, 66 * part + 50);
      await until('received', () => buffer[end - 1] === 7);
    }
    await reading;
    expect(buffer).to.deep.equal(new Uint8Array(512).fill(7));
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
