// http over bad networks, in the simulation: whatever a server and the way to it do, a read gives the right bytes or one clear error; it ends, and leaves nothing under way.

import { expect } from 'chai';
import { openNode } from '../../../src/block/open.js';
import { Perm } from '../../../src/block/types.js';
import { Random } from '../../../src/host/sim/index.js';
import { BlockError } from '../../../src/util/errors.js';
import { seedsOf, spanOf, timeLimit } from '../../support/sample.js';
import { failureOf, linkTo, makeBench } from '../support.js';
import { badServer, GOOD, type Mood, URL_OF_IMAGE } from './bad-server.js';

const SEEDS = seedsOf({ fixed: 60, daily: 40, soak: 10_000 });
const MIB = 1 << 20;
/** What a read may fail with where the server is like that. */
const ALLOWED = new Set(['io', 'unsupported', 'bad-state', 'refused']);
const LONGEST_MS = 15 * 60_000;

function contentOf(random: Random): Uint8Array {
  const content = new Uint8Array(random.between(1, MIB));
  for (let at = 0; at < content.length; at += 7) content[at] = random.below(256);
  return content;
}

function moodOf(random: Random): Mood {
  const hopeless = random.below(8) === 0;
  const some = (most: number) => (random.below(2) === 0 ? 0 : random.below(most));
  return {
    breaks: some(40),
    refuses: hopeless ? 85 : some(20),
    busy: some(20),
    late: some(20),
    nonsense: some(6),
    short: some(50),
    changes: random.below(4) === 0 ? 3 : 0,
  };
}

interface Result {
  right: number;
  failed: Map<string, number>;
}

async function oneRun(seed: number, result: Result): Promise<void> {
  const random = new Random(seed, 40);
  const content = contentOf(random);
  const { host, graph } = makeBench({ seed });
  const tagged = random.below(2) === 0;
  const { server, hasChanged } = badServer(random, content, moodOf(random), tagged);
  host.http.server = server;
  await host.run(async () => {
    const node = await openNode(graph, URL_OF_IMAGE, { format: 'raw', readOnly: true }).catch((error: unknown) => {
      expectClear(error, result);
    });
    if (node === undefined) return;
    const opened = !hasChanged();
    const link = linkTo(node, Perm.CONSISTENT_READ);
    const read = async (offset: number, length: number): Promise<void> => {
      const buffer = new Uint8Array(length).fill(0xee);
      const started = host.clock.now();
      try {
        await link.read(offset, buffer);
      } catch (error) {
        expectClear(error, result);
        return;
      } finally {
        expect(host.clock.now() - started, 'milliseconds of one read').to.be.below(LONGEST_MS);
      }
      result.right++;
      const wanted = new Uint8Array(length);
      wanted.set(content.subarray(offset, offset + length));
      if (!opened) for (let i = 0; i < Math.min(length, content.length - offset); i++) wanted[i] ^= 0xff;
      expect(Buffer.compare(buffer, wanted), `bytes at ${offset}, ${length}`).to.equal(0);
    };
    let at = 0;
    for (let round = random.between(1, 12); round > 0; round--) {
      const several = Array.from({ length: random.between(1, 4) }, () => {
        if (random.below(3) === 0) at = random.below(Math.max(1, node.length / 512)) * 512;
        const length = Math.min(node.length - at, random.pick([512, 4096, 65536, 300 * 1024, MIB]));
        const offset = at;
        at = at + length >= node.length ? 0 : at + length;
        return length > 0 ? read(offset, length) : Promise.resolve();
      });
      await Promise.all(several);
    }
    node.detach(link);
    await graph.closeAll();
    expect(host.http.underWay, 'requests under way after the end').to.equal(0);
  });
}

function expectClear(error: unknown, result: Result): void {
  if (!(error instanceof BlockError) || !ALLOWED.has(error.code)) throw error;
  result.failed.set(error.code, (result.failed.get(error.code) ?? 0) + 1);
}

describe('http over a bad network', function () {
  this.timeout(timeLimit(120_000));

  it(`gives the right bytes or one clear error (${spanOf(SEEDS)})`, async () => {
    const result: Result = { right: 0, failed: new Map() };
    for (const seed of SEEDS) {
      await oneRun(seed, result).catch((error: Error) => {
        error.message = `seed ${seed}: ${error.message}`;
        throw error;
      });
    }
    // Neither all nor nothing: the servers were bad enough, and not too bad.
    if (SEEDS.length < 100) return;
    expect(result.right).to.be.above(SEEDS.length);
    expect([...result.failed.keys()]).to.include.members(['io', 'bad-state']);
  });

  it('goes on where an answer broke off, without asking again for what came', async () => {
    const { host, graph } = makeBench();
    const content = new Uint8Array(MIB).map((_, i) => i % 251);
    const asked: string[] = [];
    const { server } = badServer(new Random(1), content, GOOD, true);
    host.http.server = (request) => {
      const answer = server(request)!;
      if (request.method === 'HEAD') return answer;
      asked.push(request.headers['range']);
      const [first] = /\d+/.exec(request.headers['range'])!;
      if (asked.length > 3) return answer;
      return { ...answer, body: [content.subarray(Number(first), Number(first) + 1000)], breaks: true };
    };
    const node = await openNode(graph, URL_OF_IMAGE, { format: 'raw', readOnly: true });
    const link = linkTo(node, Perm.CONSISTENT_READ);
    const buffer = new Uint8Array(MIB);
    await link.read(0, buffer);
    expect(Buffer.compare(buffer, content)).to.equal(0);
    expect(asked).to.deep.equal([0, 1000, 2000, 3000].map((at) => `bytes=${at}-${MIB - 1}`));
  });

  it('gives up after six attempts in a row that bring nothing, and can be read again later', async () => {
    const { host, graph } = makeBench();
    const content = new Uint8Array(4096).fill(7);
    const { server } = badServer(new Random(1), content, GOOD, true);
    let attempts = 0;
    let isUp = false;
    host.http.server = (request) => {
      if (request.method === 'HEAD' || isUp) return server(request);
      attempts++;
      return null;
    };
    const node = await openNode(graph, URL_OF_IMAGE, { format: 'raw', readOnly: true });
    const link = linkTo(node, Perm.CONSISTENT_READ);
    const buffer = new Uint8Array(512);
    expect((await failureOf(link.read(0, buffer))).code).to.equal('io');
    expect(attempts).to.equal(6);
    isUp = true;
    await link.read(0, buffer);
    expect([...new Set(buffer)]).to.deep.equal([7]);
  });

  it('fetches small reads in order in windows that grow, and large ones as they are', async () => {
    const { host, graph } = makeBench();
    const content = new Uint8Array(6 * MIB).map((_, i) => (i >> 9) % 253);
    const { server } = badServer(new Random(1), content, GOOD, true);
    const asked: number[] = [];
    host.http.server = (request) => {
      const match = /bytes=(\d+)-(\d+)/.exec(request.headers['range'] ?? '');
      if (match !== null) asked.push(Number(match[2]) - Number(match[1]) + 1);
      return server(request);
    };
    const node = await openNode(graph, URL_OF_IMAGE, { format: 'raw', readOnly: true });
    const link = linkTo(node, Perm.CONSISTENT_READ);
    for (let at = 0; at < 4 * MIB; at += 16384) await link.read(at, new Uint8Array(16384));
    expect(asked.slice(0, 4)).to.deep.equal([256, 512, 1024, 2048].map((kib) => kib * 1024));
    expect(asked.length).to.be.below(10);
    asked.length = 0;
    await link.read(5 * MIB, new Uint8Array(MIB));
    expect(asked).to.deep.equal([MIB]);
  });
});
