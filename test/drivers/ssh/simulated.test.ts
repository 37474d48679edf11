// ssh over bad networks, in the simulation. What only reads gets the right bytes or one clear error. What writes is told of everything that may be lost, and nothing is written twice.

import { expect } from 'chai';
import { openNode } from '../../../src/block/open.js';
import { Random } from '../../../src/host/sim/index.js';
import type { SimRemoteFile, SimSshAnswer } from '../../../src/host/sim/ssh.js';
import { BlockError } from '../../../src/util/errors.js';
import { seedsOf, spanOf, timeLimit } from '../../support/sample.js';
import { type Bench, failureOf, linkTo, makeBench, used } from '../support.js';

const SEEDS = seedsOf({ fixed: 40, daily: 20, soak: 10_000 });
const NAME = 'ssh://server/disk?host_key_check=no';
const KIB = 1 << 10;

function serve({ host }: Bench, bytes: Uint8Array): SimRemoteFile {
  const file = { bytes, durable: bytes.slice(), modified: 1 };
  host.ssh.files.set('/disk', file);
  return file;
}

/** What a network does, in percent. */
interface Mood {
  lost: number;
  refused: number;
  short: number;
  late: number;
}

function moodOf(random: Random): Mood {
  const some = (most: number) => (random.below(3) === 0 ? 0 : random.below(most));
  return { lost: some(10), refused: random.below(6) === 0 ? 95 : some(50), short: some(40), late: some(50) };
}

function answerOf(random: Random, mood: Mood, operation: string, length: number): SimSshAnswer {
  const happens = (percent: number) => random.below(100) < percent;
  const answer: SimSshAnswer = happens(mood.late) ? { delayMs: random.below(2000) } : {};
  if (happens(operation === 'connect' ? mood.refused : mood.lost)) answer.lost = happens(50) ? 'before' : 'after';
  if (length > 1 && happens(mood.short)) answer.shortBytes = random.between(1, length);
  return answer;
}

async function readRun(seed: number): Promise<boolean> {
  const random = new Random(seed, 50);
  const bench = makeBench({ seed });
  const { host, graph } = bench;
  const content = new Uint8Array(random.between(1, 400 * KIB)).map((_, at) => (at * 31 + (at >> 9)) & 0xff);
  serve(bench, content.slice());
  // The node has whole sectors.
  const whole = new Uint8Array(content.length + 512);
  whole.set(content);
  let right = true;
  await host.run(async () => {
    const node = await openNode(graph, NAME, { format: 'raw', readOnly: true });
    const mood = moodOf(random);
    host.ssh.onRequest = ({ operation, length }) => answerOf(random, mood, operation, length);
    const link = linkTo(node, 1);
    const read = async (offset: number, length: number): Promise<void> => {
      const buffer = new Uint8Array(length).fill(0xee);
      try {
        await link.read(offset, buffer);
      } catch (error) {
        right = false;
        if (!(error instanceof BlockError) || error.code !== 'io') throw error;
        return;
      }
      if (Buffer.compare(buffer, whole.subarray(offset, offset + length)) !== 0)
        throw new Error(`wrong bytes at ${offset}`);
    };
    for (let round = 0; round < 4; round++) {
      const places = Array.from({ length: 3 }, () => random.below(node.length));
      await Promise.all(places.map((at) => read(at, Math.min(node.length - at, random.between(1, 300 * KIB)))));
    }
    host.ssh.onRequest = () => ({});
    await read(0, node.length);
    for (const one of node.parents) node.detach(one);
    await graph.release(node);
  });
  expect(host.ssh.sessions.size).to.equal(0);
  return right;
}

/** A disk of one writer, who remembers what was acknowledged, and what a flush has covered. */
async function writeRun(seed: number): Promise<string> {
  const random = new Random(seed, 51);
  const bench = makeBench({ seed });
  const { host, graph } = bench;
  const BLOCKS = 16;
  const file = serve(bench, new Uint8Array(BLOCKS * KIB));
  const acknowledged = new Uint8Array(BLOCKS);
  let flushed: Uint8Array | null = acknowledged.slice();
  const sent = new Map<string, number>();
  let end = 'all';
  await host.run(async () => {
    const node = await used(openNode(graph, NAME, { format: 'raw' }));
    const mood = { ...moodOf(random), refused: 0 };
    host.ssh.onRequest = ({ operation, offset, length }) => {
      if (operation === 'write') sent.set(`${offset}:${version}`, (sent.get(`${offset}:${version}`) ?? 0) + 1);
      const answer = answerOf(random, mood, operation, length);
      // The server's machine, and not only the connection.
      if (answer.lost !== undefined && random.below(2) === 0) host.ssh.crash();
      return answer;
    };
    let version = 0;
    let failed = false;
    for (let step = 0; step < 30; step++) {
      version++;
      if (random.below(3) > 0) {
        const block = random.below(BLOCKS);
        const bytes = new Uint8Array(KIB).fill(version);
        try {
          await node.write(block * KIB, bytes);
          expect(failed, 'a write after one that was lost').to.equal(false);
          acknowledged[block] = version;
          flushed = null;
        } catch (error) {
          expect((error as BlockError).code).to.equal('io');
          failed = true;
          flushed = null;
        }
      } else {
        try {
          await node.flush();
          expect(failed, 'a flush after a write that was lost').to.equal(false);
          flushed = acknowledged.slice();
          for (let block = 0; block < BLOCKS; block++) {
            expect(file.durable[block * KIB], `block ${block} after a flush`).to.equal(acknowledged[block]);
          }
        } catch (error) {
          if (!(error instanceof BlockError)) throw error;
          failed = true;
        }
      }
    }
    for (const [write, times] of sent) expect(times, write).to.equal(1);
    for (const one of node.parents) node.detach(one);
    const closing = await graph.release(node).then(
      () => null,
      (error: unknown) => error as BlockError,
    );
    if (closing === null) {
      for (let block = 0; block < BLOCKS; block++) expect(file.durable[block * KIB]).to.equal(acknowledged[block]);
    } else end = closing.code;
    expect(closing === null || failed || flushed === null).to.equal(true);
  });
  expect(host.ssh.sessions.size).to.equal(0);
  return end;
}

describe('ssh in the simulation', () => {
  it(`reads the right bytes over bad networks (${spanOf(SEEDS)})`, async function () {
    this.timeout(timeLimit(60_000));
    let right = 0;
    for (const seed of SEEDS) {
      try {
        if (await readRun(seed)) right++;
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    expect(right).to.be.within(SEEDS.length / 4, SEEDS.length - 1);
  });

  it(`says what may be lost, and writes nothing twice (${spanOf(SEEDS)})`, async function () {
    this.timeout(timeLimit(60_000));
    const ends = new Set<string>();
    for (const seed of SEEDS) {
      try {
        ends.add(await writeRun(seed));
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    expect([...ends].sort()).to.deep.equal(['all', 'io']);
  });

  it('fails for good where the connection is lost after a write, and says so to a flush', async () => {
    const bench = makeBench();
    serve(bench, new Uint8Array(4 * KIB));
    const node = await used(openNode(bench.graph, NAME, { format: 'raw' }));
    await node.write(0, new Uint8Array(512).fill(1));
    bench.host.ssh.crash();
    expect((await failureOf(node.flush())).code).to.equal('io');
    expect((await failureOf(node.read(0, new Uint8Array(512)))).code).to.equal('io');
    expect((await failureOf(node.flush())).code).to.equal('io');
    expect(bench.host.ssh.opened).to.have.length(1);
  });

  it('says so to a flush also where the server cannot make anything durable', async () => {
    const bench = makeBench();
    bench.host.ssh.syncs = false;
    serve(bench, new Uint8Array(4 * KIB));
    const node = await used(openNode(bench.graph, NAME, { format: 'raw' }));
    await node.write(0, new Uint8Array(512).fill(1));
    await node.flush();
    expect(bench.warnings[0]).to.include('does not support fsync');
    bench.host.ssh.crash();
    expect((await failureOf(node.flush())).code).to.equal('io');
  });

  it('does not take what was written during a flush for durable', async () => {
    for (const during of ['sync', 'attributes']) {
      const bench = makeBench();
      serve(bench, new Uint8Array(4 * KIB));
      const node = await used(openNode(bench.graph, NAME, { format: 'raw' }));
      await node.write(0, new Uint8Array(512).fill(1));
      let writing: Promise<void> | null = null;
      bench.host.ssh.onRequest = ({ operation }) => {
        if (operation === during && writing === null) writing = node.write(512, new Uint8Array(512).fill(2));
        return operation === during ? { delayMs: 1000 } : {};
      };
      await node.flush();
      await writing;
      bench.host.ssh.crash();
      expect((await failureOf(node.read(0, new Uint8Array(512)))).code, during).to.equal('io');
    }
  });

  it('connects again where all is durable, and goes on', async () => {
    const bench = makeBench();
    const file = serve(bench, new Uint8Array(4 * KIB));
    const node = await used(openNode(bench.graph, NAME, { format: 'raw' }));
    await node.write(0, new Uint8Array(512).fill(1));
    await node.flush();
    bench.host.ssh.crash();
    await node.write(512, new Uint8Array(512).fill(2));
    await node.flush();
    expect([file.durable[0], file.durable[512]]).to.deep.equal([1, 2]);
    expect(bench.host.ssh.opened).to.have.length(2);
  });

  it('does not go on with another file', async () => {
    for (const change of [
      (file: SimRemoteFile) => file.modified++,
      (file: SimRemoteFile) => (file.bytes = new Uint8Array(512)),
    ]) {
      const bench = makeBench();
      const file = serve(bench, new Uint8Array(4 * KIB));
      const node = await used(openNode(bench.graph, NAME, { format: 'raw' }));
      bench.host.ssh.crash();
      change(file);
      expect((await failureOf(node.read(0, new Uint8Array(512)))).code).to.equal('bad-state');
    }
  });

  it('remembers a flush that failed', async () => {
    const bench = makeBench();
    serve(bench, new Uint8Array(4 * KIB));
    const node = await used(openNode(bench.graph, NAME, { format: 'raw' }));
    await node.write(0, new Uint8Array(512).fill(1));
    bench.host.ssh.onRequest = ({ operation }) =>
      operation === 'sync' ? { error: new BlockError('io', 'Failure (sftp error code: 4)') } : {};
    expect((await failureOf(node.flush())).code).to.equal('io');
    bench.host.ssh.onRequest = () => ({});
    expect((await failureOf(node.flush())).message).to.include('Failure');
  });

  it('fails where the file ends before its size', async () => {
    const bench = makeBench();
    const file = serve(bench, new Uint8Array(4 * KIB));
    const node = await used(openNode(bench.graph, NAME, { format: 'raw' }));
    file.bytes = file.bytes.slice(0, 1000);
    expect((await failureOf(node.read(0, new Uint8Array(2 * KIB)))).code).to.equal('io');
  });
});
