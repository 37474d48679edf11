// Broken NBD sessions at our server: it neither crashes nor grows nor keeps a good client waiting, and writes nothing that it may not.
//
//   npm run soak -- fuzz                                      a long run
//   DISKWRIGHT_SEED=... npx mocha test/fuzz/nbd.test.ts       from that session on

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Duplex, PassThrough } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';
import { expect } from 'chai';
import { seeded } from '../interop/chain-maker.js';
import { requirePeer } from '../support/peers.js';
import { repeats, seedOf, timeLimit } from '../support/sample.js';
import { validSession } from './messages.js';
import { attack, deliver } from './nbd-fuzz.js';
import { Range, SUBJECT } from './range.js';
import { makeSession, makeTlsSession } from './session.js';

const SESSIONS = repeats(1000, 100_000);
const SEED = seedOf(20261121);
/** Sessions after which code is compiled and memory pools are as large as they get. */
const WARM_SESSIONS = 1000;
const MAX_PAUSE_MS = 2000;
const MAX_GROWTH_BYTES = 64 << 20;
const MAX_HEAP_GROWTH_BYTES = 8 << 20;
/** Half of them is the budget of requests in flight. */
const MAX_PEAK_BYTES = 128 << 20;
const SETTLE_MS = 10_000;

describe('broken NBD sessions', function () {
  this.timeout(timeLimit(120_000 + SESSIONS * 20));
  let range: Range;

  beforeEach(async function () {
    requirePeer(this, 'qemu-img');
    range = new Range();
    await range.open();
  });

  afterEach(() => range?.remove());

  /** Connections and requests of broken sessions are gone at the latest when the handshake's time is up. */
  async function settled(sockets: number): Promise<Awaited<ReturnType<Range['stats']>>> {
    const deadline = performance.now() + SETTLE_MS;
    for (;;) {
      const stats = await range.stats();
      const gone = stats.connections === 0 && stats.bytesInFlight === 0 && range.socketCount() <= sockets;
      if (gone || performance.now() > deadline) return stats;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(1);

  function expectSound(): void {
    for (const file of ['fuzzed', 'sized', 'fixed']) {
      execFileSync('qemu-img', ['check', '-q', '-f', 'qcow2', range.path(`${file}.qcow2`)]);
    }
  }

  it(`end with the server as it was (${SESSIONS} from seed ${SEED})`, async () => {
    const crash = range.crash();
    crash.catch(() => undefined);
    const fixed = readFileSync(range.path('fixed.qcow2'));
    const sockets = range.socketCount();
    await Promise.race([crash, attack(range.socket, broken, SEED - WARM_SESSIONS, WARM_SESSIONS)]);
    const before = await settled(sockets);
    const peakBefore = range.peakBytes();
    await range.startGoodClient();
    const start = performance.now();
    await Promise.race([crash, attack(range.socket, broken, SEED, SESSIONS)]);
    const seconds = (performance.now() - start) / 1000;
    const pauses = await range.stopGoodClient();
    const after = await settled(sockets);
    const growth = after.residentBytes - before.residentBytes;
    console.log(
      `      ${SESSIONS} sessions in ${seconds.toFixed(1)} s; good client: ${pauses.reads} reads (longest ` +
        `${pauses.longestReadMs.toFixed(0)} ms), ${pauses.visits} visits (${pauses.longestVisitMs.toFixed(0)} ms); ` +
        `memory ${mib(after.residentBytes)} MiB (${mib(growth)} more, heap ${mib(after.heapBytes - before.heapBytes)} more)`,
    );

    expect(after.connections, 'connections').to.equal(0);
    expect(after.bytesInFlight, 'bytes in flight').to.equal(0);
    expect(range.socketCount(), 'sockets').to.equal(sockets);
    expect(growth, 'growth').to.be.below(MAX_GROWTH_BYTES);
    expect(after.heapBytes - before.heapBytes, 'growth of the heap').to.be.below(MAX_HEAP_GROWTH_BYTES);
    expect(range.peakBytes() - peakBefore, 'growth of the peak').to.be.below(MAX_PEAK_BYTES);
    expect(pauses.longestReadMs, 'longest read of a good client').to.be.below(MAX_PAUSE_MS);
    expect(pauses.longestVisitMs, 'longest visit of a good client').to.be.below(MAX_PAUSE_MS);
    expect(pauses.reads).to.be.above(0);
    await deliver(range.socket, { ...whole(validBytes(1)), reads: true });
    await range.close();
    expect(range.complaint).to.equal('');
    expect(readFileSync(range.path('fixed.qcow2')).equals(fixed), 'a read-only image').to.equal(true);
    expectSound();
  });

  it('end in front of TLS', async () => {
    const sockets = range.socketCount();
    const secret = readFileSync(range.path('secret.qcow2'));
    const hello = await clientHello();
    await range.startGoodClient();
    const crash = range.crash();
    crash.catch(() => undefined);
    const count = Math.ceil(SESSIONS / 10);
    await Promise.race([crash, attack(range.secureSocket, broken, SEED, count)]);
    await Promise.race([crash, attack(range.secureSocket, (seed) => makeTlsSession(seed, hello), SEED, count)]);
    const { longestReadMs, longestVisitMs } = await range.stopGoodClient();
    const { connections, bytesInFlight } = await settled(sockets);
    expect([connections, bytesInFlight, range.socketCount()]).to.deep.equal([0, 0, sockets]);
    expect(Math.max(longestReadMs, longestVisitMs), 'longest pause of a good client').to.be.below(MAX_PAUSE_MS);
    await range.close();
    expect(range.complaint).to.equal('');
    expect(readFileSync(range.path('secret.qcow2')).equals(secret), 'the secret image').to.equal(true);
  });

  it('are cut off at every byte', async () => {
    const sockets = range.socketCount();
    const bytes = validBytes(3);
    for (const ending of ['end', 'destroy'] as const) {
      for (let length = 0; length <= Math.min(bytes.length, 800); length++) {
        await deliver(range.socket, { ...whole(bytes.subarray(0, length)), ending });
      }
    }
    const { connections, bytesInFlight } = await settled(sockets);
    expect([connections, bytesInFlight, range.socketCount()]).to.deep.equal([0, 0, sockets]);
    await range.close();
    expectSound();
  });

  const broken = (seed: number) => makeSession(seed, SUBJECT);

  function validBytes(seed: number): Buffer {
    return Buffer.concat(validSession(seeded(seed), { exports: [SUBJECT.exports[0]] }).map((one) => one.bytes));
  }

  function whole(bytes: Buffer) {
    return { bytes, cuts: [], pauseMs: 0, reads: true, ending: 'end' as const };
  }
});

/** What a client of TLS with pre-shared keys says first. */
async function clientHello(): Promise<Buffer> {
  const [here, there] = [new PassThrough(), new PassThrough()];
  const client = tlsConnect({ socket: Duplex.from({ readable: there, writable: here }) as never, ciphers: 'PSK' });
  client.on('error', () => undefined);
  const [hello] = await once(here, 'data');
  client.destroy();
  return hello;
}
