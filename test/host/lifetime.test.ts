// Ends: of a file, a host, a thread, a process, with requests in flight.
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import type { Link } from '../../src/host/net.js';
import { openRealHost } from '../../src/host/real/index.js';
import { failure, overEngines, pattern } from './engines.js';
import { openTo, runBusy, startBusy } from './threads.js';

overEngines('ends', (bench) => {
  function run(what: string) {
    return runBusy(bench.host.engine, bench.folder, what);
  }

  function thread(what: string): Worker {
    return startBusy(bench.host.engine, bench.folder, what);
  }

  it('close of a file waits for what is in flight and refuses what comes later', async () => {
    const file = await bench.open('closing');
    bench.host.setFaults({ delayMs: 10 });
    let answered = 0;
    const all: Promise<void>[] = [];
    for (let i = 0; i < 12; i++)
      all.push(file.write(i * 300000, pattern(300000, i)), file.flush(), file.zeroRange(0, 4096));
    for (const one of all) {
      void one.then(() => {
        answered++;
      });
    }
    expect(file.inFlight).to.equal(all.length);
    const closed = file.close();
    const late = failure(file.read(0, new Uint8Array(10)));
    await closed;
    expect(answered).to.equal(all.length);
    expect(file.inFlight).to.equal(0);
    expect((await late).code).to.equal('closed');
    expect(openTo(file.path)).to.equal(0);
  });

  it('close of a host closes its files and waits for what is in flight', async () => {
    const host = openRealHost({ engine: bench.host.engine as 'threads' | 'io_uring' });
    const file = await host.open(bench.path('host-close'), { writable: true, create: 'keep', direct: true });
    const results: string[] = [];
    for (let i = 0; i < 40; i++) {
      const buffer = host.memory.allocate(4096);
      file.write(i * 4096, buffer).then(
        () => results.push('done'),
        (error) => results.push(error.code),
      );
    }
    await host.close();
    await host.close();
    expect(results).to.deep.equal(Array(40).fill('done'));
    expect(openTo(bench.path('host-close'))).to.equal(0);
    expect((await failure(host.open(file.path, { writable: false }))).code).to.equal('closed');
    const compressed = host.codecs.compress('zlib', Buffer.alloc(9), Buffer.alloc(99));
    expect((await failure(compressed)).code).to.equal('closed');
  });

  it('many hosts, one after the other and side by side', async () => {
    const engine = bench.host.engine as 'threads' | 'io_uring';
    for (let round = 0; round < 10; round++) {
      const hosts = Array.from({ length: 4 }, () => openRealHost({ engine, slots: 64 }));
      await Promise.all(
        hosts.map(async (host, i) => {
          const file = await host.open(bench.path(`many-${i}`), { writable: true, create: 'keep' });
          await file.write(round * 5000, pattern(5000, round));
          await host.close();
        }),
      );
    }
    expect(openTo(bench.path('many'))).to.equal(0);
  });

  it('a thread that is terminated with requests in flight leaves nothing behind', async () => {
    for (let round = 0; round < 3; round++) {
      const worker = thread('busy');
      await once(worker, 'message');
      await worker.terminate();
      expect(openTo(bench.path('direct')) + openTo(bench.path('plain')), 'open files').to.equal(0);
    }
  });

  it('a thread that is terminated while its links are busy leaves no socket behind', async () => {
    const before = openTo('socket:');
    for (let round = 0; round < 3; round++) {
      const worker = thread('talk');
      await once(worker, 'message');
      expect(openTo('socket:')).to.be.greaterThan(before);
      await worker.terminate();
      expect(openTo('socket:'), 'open sockets').to.equal(before);
    }
  });

  it('close of a host ends its links and listeners', async () => {
    const before = openTo('socket:');
    const host = openRealHost({ engine: bench.host.engine as 'threads' | 'io_uring' });
    const links: Link[] = [];
    const address = { type: 'unix', path: bench.path('host-close.sock') } as const;
    await host.net.listen(address, (link) => links.push(link));
    const data = host.memory.allocate(4 * 1024 * 1024);
    for (let i = 0; i < 5; i++) {
      const link = await host.net.connect(address);
      link.push(data, 0, data.length);
      link.flush();
      links.push(link);
    }
    while (links.length < 10) await new Promise(setImmediate);
    links[0].window(data, 0, data.length);
    await host.close();
    expect(openTo('socket:')).to.equal(before);
    expect(existsSync(address.path)).to.equal(false);
    expect((await failure(host.net.connect(address))).code).to.equal('closed');
  });

  it('a thread that ends by itself needs no close', async () => {
    const worker = thread('idle');
    const [code] = await once(worker, 'exit');
    expect(code).to.equal(0);
    expect(openTo(bench.path('direct'))).to.equal(0);
  });

  it('a process with an idle host ends by itself', () => {
    const { status, signal, stderr } = run('idle');
    expect({ status, signal, stderr }).to.deep.equal({ status: 0, signal: null, stderr: '' });
  });

  it('process.exit with requests in flight is an exit, not a crash', () => {
    const { status, signal, stderr } = run('exit');
    expect({ status, signal, stderr }).to.deep.equal({ status: 7, signal: null, stderr: '' });
  });

  it('a process does not end before its requests are answered', () => {
    const { status, signal } = run('drain');
    expect({ status, signal }).to.deep.equal({ status: 0, signal: null });
    expect(existsSync(bench.path('drained'))).to.equal(true);
  });
});
