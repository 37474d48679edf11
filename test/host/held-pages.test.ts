// Bytes of files that links send without copying them (`Link.pushFile`): the pages are held from the call on, until they are sent.
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import type { HostFile } from '../../src/host/host.js';
import type { Link, NetAddress } from '../../src/host/net.js';
import { pagesCanBeHeld } from '../support/held-pages.js';
import { leaveOut } from '../support/needs.js';
import { overEngines, pattern } from './engines.js';
import { Collector, pairOf } from './net-support.js';

const KIB = 1024;
const MIB = 1024 * KIB;
/** What a system that does not say what its page cache holds (before Linux 6.5) never holds. */
const pipes = () =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('pipe:');
    } catch {
      return false;
    }
  }).length;

overEngines('sockets: held pages', (bench) => {
  const content = pattern(5 * MIB + 777, 13);
  const unix = (name: string): NetAddress => ({ type: 'unix', path: bench.path(name) });
  let file: HostFile;
  let head: Uint8Array;

  before(async function () {
    if (!(await pagesCanBeHeld())) leaveOut(this, 'held pages');
  });
  beforeEach(async () => {
    writeFileSync(bench.path('data'), content);
    file = await bench.host.open(bench.path('data'), { writable: true });
    head = bench.host.memory.allocate(4096);
    head.set(pattern(4096, 1));
  });
  afterEach(async () => {
    bench.host.setFaults({});
    await file.close();
  });

  /** What the other side receives of `parts`, with a header of 28 bytes each. */
  async function sent(address: NetAddress, parts: readonly [offset: number, length: number][]): Promise<void> {
    const { server, client, close } = await pairOf(bench.host, address);
    const out = new Collector(bench.host, client);
    const into = new Collector(bench.host, server, 70001);
    const expected: Uint8Array[] = [];
    let pieces = 0;
    for (const [offset, length] of parts) {
      const pushed = client.pushFile(head, 100, 128, file, offset, length);
      expect(pushed, `${offset}, ${length}`).to.be.above(1);
      pieces += pushed;
      expected.push(head.slice(100, 128), content.subarray(offset, offset + length));
    }
    client.push(head, 0, 5);
    expected.push(head.slice(0, 5));
    client.flush();
    const all = Buffer.concat(expected);
    into.read();
    await into.until(() => into.bytes >= all.length);
    expect(into.content.equals(all)).to.equal(true);
    await out.until(() => client.sentPieces === pieces + 1);
    expect(client.unsentBytes).to.equal(0);
    await close();
  }

  const parts: [number, number][] = [
    [0, MIB],
    [4095, 2],
    [777, 3 * MIB + 11],
    [5 * MIB, 777],
    [MIB - 1, MIB],
  ];
  it('UNIX: header and bytes arrive in order, from odd places, in parts of more than a pipe', () =>
    sent(unix('order.sock'), parts));
  it('TCP: the same', () => sent({ type: 'inet', host: '127.0.0.1', port: 0 }, parts));

  it('nothing is queued where the bytes are not all there', async () => {
    const { server, client, close } = await pairOf(bench.host, unix('refused.sock'));
    const none = (offset: number, length: number, of = file) =>
      expect(client.pushFile(head, 0, 16, of, offset, length), `${offset}, ${length}`).to.equal(0);
    none(5 * MIB, 778);
    none(4 * MIB, 2 * MIB);
    none(2 ** 53 - 4096, 8192);
    none(0, 5 * MIB);
    // Not in the page cache.
    bench.host.setFaults({ again: 1 });
    none(0, MIB);
    bench.host.setFaults({});
    const direct = await bench.host.open(bench.path('data'), { writable: false, direct: true });
    none(0, MIB, direct);
    await direct.close();
    none(0, MIB, direct);
    expect(client.unsentBytes).to.equal(0);
    client.push(head, 0, 4);
    expect(client.flush()).to.equal(true);
    const into = new Collector(bench.host, server).read();
    await into.until(() => into.bytes === 4);
    expect(into.bytes).to.equal(4);
    await close();
  });

  it('what is held outlives its file', async () => {
    const { server, client, close } = await pairOf(bench.host, unix('outlives.sock'));
    const other = await bench.host.open(bench.path('other'), { writable: true, create: 'truncate' });
    await other.write(0, content.subarray(0, 3 * MIB));
    expect(client.pushFile(head, 0, 16, other, 0, 3 * MIB)).to.equal(4);
    client.flush();
    await other.truncate(0);
    await other.close();
    const into = new Collector(bench.host, server, MIB).read();
    await into.until(() => into.bytes === 16 + 3 * MIB);
    expect(into.content.subarray(16).equals(content.subarray(0, 3 * MIB))).to.equal(true);
    await close();
  });

  it('what is in the socket already is sent when the link ends gracefully', async () => {
    const { server, client, close } = await pairOf(bench.host, unix('graceful.sock'));
    const into = new Collector(bench.host, server, MIB);
    client.pushFile(head, 0, 16, file, 0, 2 * MIB);
    const closed = client.close(true);
    into.read();
    expect(await into.ended()).to.equal(null);
    expect(into.bytes).to.equal(16 + 2 * MIB);
    await closed;
    await close();
  });

  it('links that end, whichever side ends them, let go of what they hold', async () => {
    const before = pipes();
    const many: { server: Link; client: Link; close: () => Promise<void> }[] = [];
    for (let i = 0; i < 4; i++) many.push(await pairOf(bench.host, unix(`end${i}.sock`)));
    const owners = many.map(({ client }) => new Collector(bench.host, client).read());
    for (const { client } of many) {
      expect(client.pushFile(head, 0, 16, file, 0, 2 * MIB)).to.equal(3);
      expect(client.flush()).to.equal(false);
      // Not flushed.
      expect(client.pushFile(head, 0, 16, file, 0, MIB)).to.equal(2);
    }
    expect(pipes()).to.be.above(before);
    await many[0].client.close();
    await many[1].server.close();
    // It ended with bytes unread.
    await owners[1].ended();
    await many[2].client.close();
    await many[3].client.close();
    expect(pipes()).to.equal(before);
    for (const { close } of many) await close();
  });

  it('links share what may be held, and it comes back', async () => {
    const { server, client, close } = await pairOf(bench.host, unix('share.sock'));
    const out = new Collector(bench.host, client);
    let held = 0;
    while (client.pushFile(head, 0, 16, file, 0, MIB) > 0) held++;
    expect(held).to.be.within(4, 64);
    client.flush();
    const into = new Collector(bench.host, server, MIB).read();
    await out.until(() => client.unsentBytes === 0);
    await into.until(() => into.bytes === held * (16 + MIB));
    expect(client.pushFile(head, 0, 16, file, 0, MIB)).to.equal(2);
    await close();
  });

  it('short and interrupted calls of the system change nothing', async () => {
    bench.host.setFaults({ maxBytes: 65536 });
    await sent(unix('short.sock'), [[4096, MIB]]);
    // Parts that are no whole pages take more of them than a pipe holds.
    bench.host.setFaults({ maxBytes: 1000 });
    const { client, close } = await pairOf(bench.host, unix('shorter.sock'));
    expect(client.pushFile(head, 0, 16, file, 0, MIB)).to.equal(0);
    await close();
  });
});
