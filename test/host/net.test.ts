// Sockets of the real host: bytes, back pressure, ends, addresses.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { expect } from 'chai';
import type { Link, NetAddress } from '../../src/host/net.js';
import { loadNative } from '../../src/host/real/binding.js';
import { openRealHost } from '../../src/host/real/index.js';
import { failure, overEngines, pattern } from './engines.js';
import { Collector, pairOf } from './net-support.js';

const LOCAL: NetAddress = { type: 'inet', host: '127.0.0.1', port: 0 };
const openFiles = () => readdirSync('/proc/self/fd').length;

function residentBytes(): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1024;
}

overEngines('sockets', (bench) => {
  const unix = (name: string): NetAddress => ({ type: 'unix', path: bench.path(name) });

  for (const [title, addressOf] of [
    ['UNIX', () => unix('bytes.sock')],
    ['TCP', () => LOCAL],
    ['abstract', () => ({ type: 'unix', path: `diskwright-test-${process.pid}`, abstract: true }) as const],
  ] as const) {
    it(`${title}: bytes go both ways through odd windows, in odd pieces`, async () => {
      const { memory } = bench.host;
      const { server, client, close } = await pairOf(bench.host, addressOf());
      const sizes = [1, 0, 7, 4096, 65537, 3, 200001, 28, 16];
      const total = sizes.reduce((sum, size) => sum + size, 0);
      const ends = [
        { link: server, into: new Collector(bench.host, server, 1237).read(), seed: 5 },
        { link: client, into: new Collector(bench.host, client, 50000).read(), seed: 9 },
      ];
      for (const { link, seed } of ends) {
        const data = memory.allocate(total);
        data.set(pattern(total, seed));
        let at = 0;
        for (const size of sizes) {
          link.push(data, at, at + size);
          at += size;
        }
        link.flush();
      }
      await ends[0].into.until(() => ends[0].into.bytes === total);
      await ends[1].into.until(() => ends[1].into.bytes === total);
      expect(ends[0].into.content.equals(pattern(total, 9))).to.equal(true);
      expect(ends[1].into.content.equals(pattern(total, 5))).to.equal(true);
      for (const { link, into } of ends) {
        await into.until(() => link.sentPieces === sizes.length);
        expect(link.unsentBytes).to.equal(0);
      }
      await close();
    });
  }

  it('more pieces than one table holds go out in order', async () => {
    const { server, client, close } = await pairOf(bench.host, unix('many-pieces.sock'));
    const into = new Collector(bench.host, server, 100000).read();
    const out = new Collector(bench.host, client);
    const data = bench.host.memory.allocate(3000 * 17);
    data.set(pattern(3000 * 17, 3));
    for (let i = 0; i < 3000; i++) client.push(data, i * 17, (i + 1) * 17);
    client.flush();
    await into.until(() => into.bytes === data.length);
    await out.until(() => client.sentPieces === 3000);
    expect(into.content.equals(Buffer.from(data))).to.equal(true);
    await close();
  });

  it('a queue that is never empty does not grow, and keeps its order', async () => {
    const { server, client, close } = await pairOf(bench.host, unix('behind.sock'));
    const data = bench.host.memory.allocate(256 * 16);
    data.set(pattern(data.length, 21));
    const expected = Buffer.from(data);
    const window = bench.host.memory.allocate(data.length);
    let received = 0;
    let wrong = 0;
    server.owner = {
      received: (count) => {
        const at = received % data.length;
        if (expected.compare(window, 0, count, at, at + count) !== 0) wrong++;
        received += count;
        server.window(window, 0, data.length - (received % data.length));
      },
      progressed: () => {},
      closed: () => {},
    };
    let sent = 0;
    const push = () => {
      for (let at = 0; at < data.length; at += 16) client.push(data, at, at + 16);
      client.flush();
      sent += data.length;
    };
    // More than the socket takes: from here on something always waits.
    while (client.unsentBytes < 256 * 1024) push();
    server.window(window, 0, data.length);
    const before = residentBytes();
    while (sent < 24 * 1024 * 1024) {
      if (client.unsentBytes < 256 * 1024) push();
      else await new Promise(setImmediate);
      if (client.unsentBytes === 0) throw new Error('nothing waits');
    }
    // Kept until the queue is empty, the pieces alone would take 24 MiB, and twice that while they move.
    expect(residentBytes() - before).to.be.below(12 * 1024 * 1024);
    while (received < sent) await new Promise(setImmediate);
    expect(wrong).to.equal(0);
    expect(client.sentPieces).to.equal(sent / 16);
    await close();
  });

  it('without a window the other side is held back, and goes on when there is one', async () => {
    const { server, client, close } = await pairOf(bench.host, unix('pressure.sock'));
    const data = bench.host.memory.allocate(8 * 1024 * 1024);
    data.set(pattern(data.length, 11));
    const out = new Collector(bench.host, client);
    client.push(data, 0, data.length);
    expect(client.flush()).to.equal(false);
    const held = client.unsentBytes;
    expect(held).to.be.greaterThan(0);
    expect(client.sentPieces).to.equal(0);
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
    expect(client.unsentBytes).to.equal(held);
    const into = new Collector(bench.host, server, 65536).read();
    await into.until(() => into.bytes === data.length);
    await out.until(() => client.sentPieces === 1);
    expect(out.progress).to.be.greaterThan(0);
    expect(into.content.equals(Buffer.from(data))).to.equal(true);
    await close();
  });

  it('windows that come late lose nothing', async () => {
    const { server, client, close } = await pairOf(bench.host, unix('late.sock'));
    const data = bench.host.memory.allocate(400_000);
    data.set(pattern(data.length, 12));
    const into = new Collector(bench.host, server, 1501);
    into.late = true;
    new Collector(bench.host, client);
    client.push(data, 0, data.length);
    client.flush();
    into.read();
    await into.until(() => into.bytes === data.length);
    expect(into.content.equals(Buffer.from(data))).to.equal(true);
    await close();
  });

  it('a window that is to be full is told when it is; what is in it before can be asked for', async () => {
    const { server, client, close } = await pairOf(bench.host, unix('whole.sock'));
    const { memory } = bench.host;
    const data = memory.allocate(300_000);
    data.set(pattern(data.length, 6));
    const window = memory.allocate(250_000);
    const told: number[] = [];
    let end: unknown;
    server.owner = {
      received: (count) => {
        told.push(count);
        expect(server.gatheredBytes).to.equal(0);
        server.window(window, 0, 100_000, true);
      },
      progressed: () => {},
      closed: (error) => {
        end = error;
      },
    };
    const gathered = async (bytes: number) => {
      while (server.gatheredBytes !== bytes) await new Promise((resolve) => setImmediate(resolve));
    };
    const send = (from: number, to: number) => {
      client.push(data, from, to);
      client.flush();
    };
    server.window(window, 0, window.length, true);
    send(0, 10);
    await gathered(10);
    send(10, 249_999);
    await gathered(249_999);
    expect(told).to.deep.equal([]);
    send(249_999, 260_000);
    await gathered(10_000);
    expect(told).to.deep.equal([250_000]);
    expect(Buffer.compare(window.subarray(10_000), data.subarray(10_000, 250_000))).to.equal(0);
    expect(Buffer.compare(window.subarray(0, 10_000), data.subarray(250_000, 260_000))).to.equal(0);
    await client.close();
    while (end === undefined) await new Promise((resolve) => setImmediate(resolve));
    expect(told).to.deep.equal([250_000]);
    await close();
  });

  it('closed by the other side in the middle of a message: what came is told, then the end', async () => {
    const { server, client, close } = await pairOf(bench.host, unix('middle.sock'));
    const into = new Collector(bench.host, server).read();
    const data = bench.host.memory.allocate(100);
    client.push(data, 0, 13);
    client.flush();
    await client.close();
    expect(await into.ended()).to.equal(null);
    expect(into.bytes).to.equal(13);
    expect(server.flush()).to.equal(false);
    await close();
  });

  it('one who leaves with replies unread, while data is on the way: both are told', async () => {
    const { server, client, close } = await pairOf(bench.host, unix('unread.sock'));
    const data = bench.host.memory.allocate(4096);
    server.push(data, 0, 4096);
    expect(server.flush()).to.equal(true);
    const into = new Collector(bench.host, server).read();
    client.push(data, 0, 100);
    client.flush();
    // In the same turn: the server sees the data and the reset at once.
    await client.close();
    const error = await into.ended();
    expect(into.bytes).to.equal(100);
    expect(error?.errno).to.be.oneOf([undefined, 'ECONNRESET']);
    await close();
  });

  it('a graceful close sends all there is to a slow reader first', async () => {
    const { server, client, close } = await pairOf(bench.host, unix('graceful.sock'));
    const data = bench.host.memory.allocate(4 * 1024 * 1024);
    data.set(pattern(data.length, 21));
    client.push(data, 0, data.length);
    client.flush();
    const closed = client.close(true);
    const into = new Collector(bench.host, server, 9999).read();
    expect(await into.ended()).to.equal(null);
    await closed;
    expect(into.content.equals(Buffer.from(data))).to.equal(true);
    await close();
  });

  it('a graceful close does not wait long for one who has got everything and keeps its side open', async () => {
    const { server, client, close } = await pairOf(bench.host, unix('idle.sock'));
    const data = bench.host.memory.allocate(4096);
    server.push(data, 0, data.length);
    expect(server.flush()).to.equal(true);
    const begun = performance.now();
    // The client reads nothing: it does not learn that the stream has ended.
    await server.close(true);
    expect(performance.now() - begun).to.be.below(1500);
    const into = new Collector(bench.host, client).read();
    await into.ended();
    expect(into.bytes).to.equal(data.length);
    await close();
  });

  it('a graceful close waits for one who still sends, and does not cut it off', async () => {
    const { server, client, close } = await pairOf(bench.host, unix('busy.sock'));
    const data = bench.host.memory.allocate(4096);
    server.push(data, 0, data.length);
    server.flush();
    let closed = false;
    const closing = server.close(true).then(() => {
      closed = true;
    });
    // Longer than an idle client is waited for.
    for (let i = 0; i < 12; i++) {
      client.push(data, 0, 512);
      expect(client.flush()).to.equal(true);
      await new Promise((resolve) => setTimeout(resolve, 30));
      expect(closed).to.equal(false);
    }
    const into = new Collector(bench.host, client).read();
    expect(await into.ended()).to.equal(null);
    expect(into.bytes).to.equal(data.length);
    await closing;
    await close();
  });

  it('a write to one who is gone is an error, told once and not from within a call', async () => {
    const { server, client, close } = await pairOf(bench.host, unix('gone.sock'));
    const out = new Collector(bench.host, server);
    await client.close();
    const data = bench.host.memory.allocate(4096);
    server.push(data, 0, 4096);
    expect(server.flush()).to.equal(false);
    expect(out.end).to.equal(undefined);
    const error = await out.ended();
    expect(error?.code).to.equal('io');
    expect(error?.errno).to.equal('EPIPE');
    await close();
  });

  it('a reset by the other side is an error', async () => {
    let taken: (link: Link) => void = () => {};
    const accepted = new Promise<Link>((resolve) => {
      taken = resolve;
    });
    const listener = await bench.host.net.listen(LOCAL, taken);
    const { port } = listener.address as { port: number };
    const peer = createConnection({ port, host: '127.0.0.1' });
    const into = new Collector(bench.host, await accepted).read();
    expect(into.link.peer).to.match(/^127\.0\.0\.1:\d+$/);
    peer.resetAndDestroy();
    const error = await into.ended();
    expect(error?.errno).to.equal('ECONNRESET');
    await listener.close();
  });

  it('one who only ends its own side is told to be gone', async () => {
    const peers: Socket[] = [];
    const server = createServer({ allowHalfOpen: true }, (socket) => peers.push(socket.end('bye')));
    await new Promise<void>((resolve) => server.listen(bench.path('half.sock'), resolve));
    const client = await bench.host.net.connect(unix('half.sock'));
    const into = new Collector(bench.host, client).read();
    expect(await into.ended()).to.equal(null);
    expect(into.content.toString()).to.equal('bye');
    for (const peer of peers) peer.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  it('a window or a piece outside of the host is refused', async () => {
    const { client, close } = await pairOf(bench.host, unix('foreign.sock'));
    const own = bench.host.memory.allocate(100);
    const code = (call: () => void) => {
      try {
        call();
      } catch (error) {
        return (error as { code: string }).code;
      }
      return 'fine';
    };
    expect(code(() => client.window(Buffer.alloc(10), 0, 10))).to.equal('invalid-argument');
    expect(code(() => client.push(Buffer.alloc(10), 0, 10))).to.equal('invalid-argument');
    expect(code(() => client.window(own, 0, 101))).to.equal('invalid-argument');
    expect(code(() => client.push(own, -1, 5))).to.equal('invalid-argument');
    expect(code(() => client.push(own, 6, 5))).to.equal('invalid-argument');
    expect(code(() => client.push(own, 0, 100))).to.equal('fine');
    await close();
  });

  it('without a descriptor for whoever comes, it rests and tries again', async () => {
    const path = bench.path('rest.sock');
    let accepted = 0;
    let come: () => void = () => undefined;
    const first = new Promise<void>((resolve) => {
      come = resolve;
    });
    const listener = await bench.host.net.listen({ type: 'unix', path }, (link) => {
      accepted++;
      void link.close();
      come();
    });
    // Another process takes this one's descriptors away, connects, and gives them back when it is told to.
    const script = `
      const { execFileSync } = require('node:child_process');
      const limit = (soft) => execFileSync('prlimit', ['--pid', '${process.pid}', '--nofile=' + soft + ':']);
      const before = execFileSync('prlimit', ['--pid', '${process.pid}', '--nofile', '-o', 'SOFT', '--noheadings']);
      limit(3);
      const socket = require('node:net').connect(${JSON.stringify(path)}, () => process.stdout.write('connected'));
      socket.on('error', () => {}).resume();
      process.stdin.once('data', () => { limit(String(before).trim()); process.exit(); });
    `;
    const other = spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'pipe', 'inherit'] });
    const gone = once(other, 'exit');
    try {
      await once(other.stdout, 'data');
      for (let i = 0; i < 20; i++) await new Promise(setImmediate);
      expect(accepted).to.equal(0);
    } finally {
      other.stdin.write('go');
      await gone;
    }
    await first;
    expect(accepted).to.equal(1);
    await listener.close();
  });

  it('1,000 idle links cost little, and all of it is given back', async function () {
    this.timeout(60000);
    const before = openFiles();
    const links: Link[] = [];
    const taken: Collector[] = [];
    const listener = await bench.host.net.listen(unix('thousand.sock'), (link) => {
      links.push(link);
      taken.push(new Collector(bench.host, link, 28));
      if (taken.length % 2 === 0) taken[taken.length - 1].read();
    });
    const data = bench.host.memory.allocate(28);
    const used = residentBytes();
    for (let i = 0; i < 500; i++) {
      const link = await bench.host.net.connect(unix('thousand.sock'));
      links.push(link);
      link.push(data, 0, 28);
      link.flush();
    }
    while (taken.length < 500) await new Promise(setImmediate);
    // The windows of the test's own collectors: a page each.
    const cost = residentBytes() - used - 500 * 4096;
    expect(cost / links.length, 'bytes a link').to.be.lessThan(20000);
    for (const one of taken.filter((_, i) => i % 2 === 1)) await one.until(() => one.bytes === 28);
    await Promise.all([...links.map((link) => link.close()), listener.close()]);
    expect(openFiles()).to.equal(before);
  });

  describe('addresses', () => {
    it('port 0 takes a free one, which is told and can be connected to', async () => {
      const { client, close } = await pairOf(bench.host, LOCAL);
      expect(client.peer).to.match(/^127\.0\.0\.1:[1-9]\d*$/);
      await close();
    });

    it('an empty host listens on all addresses', async () => {
      const listener = await bench.host.net.listen({ type: 'inet', host: '', port: 0 }, (link) => void link.close());
      const { port } = listener.address as { port: number };
      for (const host of ['127.0.0.1', 'localhost']) {
        const client = await bench.host.net.connect({ type: 'inet', host, port, keepAlive: true });
        await client.close();
      }
      await listener.close();
    });

    it('an address in use is busy; after close it is free', async () => {
      const first = await bench.host.net.listen(LOCAL, () => {});
      const error = await failure(bench.host.net.listen(first.address, () => {}));
      expect(error.code).to.equal('busy');
      expect(error.message).to.equal('Failed to find an available port: Address already in use');
      await first.close();
      const again = await bench.host.net.listen(first.address, () => {});
      await again.close();
    });

    it('a UNIX socket at which somebody listens is busy, and its file goes with the listener', async () => {
      const address = unix('live.sock');
      const first = await bench.host.net.listen(address, (link) => void link.close());
      const { ino } = statSync(bench.path('live.sock'));
      expect((await failure(bench.host.net.listen(address, () => {}))).code).to.equal('busy');
      expect(statSync(bench.path('live.sock')).ino).to.equal(ino);
      await first.close();
      expect(existsSync(bench.path('live.sock'))).to.equal(false);
      const second = await bench.host.net.listen(address, () => {});
      await second.close();
    });

    it('a file that is no socket stays', async () => {
      writeFileSync(bench.path('image'), 'precious');
      const error = await failure(bench.host.net.listen(unix('image'), () => {}));
      expect(error.code).to.equal('busy');
      expect(readFileSync(bench.path('image'), 'utf8')).to.equal('precious');
    });

    it('nobody there: the error says where, in the words of qemu-nbd', async () => {
      const path = bench.path('nobody.sock');
      const missing = await failure(bench.host.net.connect({ type: 'unix', path }));
      expect([missing.code, missing.message]).to.deep.equal([
        'not-found',
        `Failed to connect to '${path}': No such file or directory`,
      ]);
      const listener = await bench.host.net.listen(LOCAL, () => {});
      const { port } = listener.address as { port: number };
      await listener.close();
      const refused = await failure(bench.host.net.connect(listener.address));
      expect([refused.code, refused.errno, refused.message]).to.deep.equal([
        'io',
        'ECONNREFUSED',
        `Failed to connect to '127.0.0.1:${port}': Connection refused`,
      ]);
    });

    it('what is no address is refused', async () => {
      const { net } = bench.host;
      const wrong: NetAddress[] = [
        { type: 'unix', path: '' },
        { type: 'unix', path: `/${'x'.repeat(107)}` },
        { type: 'unix', path: 'a\0b' },
        { type: 'inet', host: '127.0.0.1', port: 65536 },
        { type: 'inet', host: '127.0.0.1', port: -1 },
        { type: 'fd', fd: -1 },
      ];
      for (const address of wrong) {
        expect((await failure(net.connect(address))).code).to.equal('invalid-argument');
        expect((await failure(net.listen(address, () => {}))).code).to.equal('invalid-argument');
      }
    });

    it('connecting is given up at its time limit, and with the host', async () => {
      // Nobody takes from this one's queue.
      const path = bench.path('full.sock');
      const native = loadNative();
      const fd = native.listenOn(native.bindUnix(Buffer.from(path), false), 0);
      const host = openRealHost({ engine: bench.host.engine as 'threads' | 'io_uring' });
      await host.net.connect({ type: 'unix', path });
      const late = await failure(host.net.connect({ type: 'unix', path }, { timeoutMs: 20 }));
      expect([late.code, late.message]).to.deep.equal([
        'cancelled',
        `Failed to connect to '${path}': no answer within 20 ms`,
      ]);
      const waiting = failure(host.net.connect({ type: 'unix', path }));
      await host.close();
      expect((await waiting).code).to.equal('closed');
      native.closeSocket(fd);
    });
  });
});
