// A thread, or a process, that has requests in flight when something happens to it (see lifetime.test.ts, environment-end.test.ts).
//   idle   opens a host, does some I/O, and leaves everything as it is
//   exit   calls process.exit with requests in flight
//   drain  has requests in flight that nobody awaits, and writes a last file when they are answered
//   busy   keeps requests in flight, for ever
//   move   keeps copy steps in flight, for ever: some are at work, others wait
//   talk   keeps bytes on the way through links, and some in a link that nobody reads, for ever
//   exit-in-completion   calls process.exit where a request is answered, with others in flight
//   exit-in-move         calls process.exit where a copy step is answered, with others at work and waiting
//   exit-in-link         calls process.exit where a link has received
//   exit-in-closing      calls process.exit while the host closes
//   exit-opened          calls process.exit with a file that was opened from a descriptor
//   exit-before-close    calls process.exit while files wait to be closed, behind other requests
//   throw-in-completion  throws where a request is answered, and nobody catches it
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import type { Link } from '../../src/host/net.js';
import { openRealHost } from '../../src/host/real/index.js';

const [engine, folder, what] = (workerData ?? process.argv.slice(2)) as ['threads' | 'io_uring', string, string];

const host = openRealHost({ engine });
const direct = await host.open(join(folder, 'direct'), { writable: true, create: 'keep', direct: true });
const plain = await host.open(join(folder, 'plain'), { writable: true, create: 'keep' });

/** Copy steps of all workers into one file. */
function startMoves(): Promise<unknown>[] {
  const bytes = 1 << 20;
  return Array.from({ length: 48 }, (_, i) => {
    const pieces = [{ file: plain, offset: 0, length: bytes, to: i * bytes }];
    return host.move({ pieces, bytes, target: plain, run: null, granule: 4096, slice: 65536, background: i % 2 === 1 });
  });
}

function startSome(): Promise<unknown>[] {
  const all: Promise<unknown>[] = [];
  for (let i = 0; i < 16; i++) {
    const block = host.memory.allocate(65536);
    all.push(direct.write(i * 65536, block), direct.read(i * 65536, host.memory.allocate(65536)));
    all.push(plain.write(i * 300000, host.memory.allocate(300000)), plain.flush());
    all.push(host.codecs.compress('zlib', block, host.memory.allocate(70000)));
  }
  return all;
}

await Promise.all(startSome());
if (what === 'exit') {
  void Promise.all(startSome());
  setImmediate(() => process.exit(7));
} else if (what === 'drain') {
  host.setFaults({ delayMs: 20 });
  void Promise.all(startSome()).then(() => writeFileSync(join(folder, 'drained'), 'yes'));
} else if (what === 'busy') {
  host.setFaults({ delayMs: 2 });
  for (let round = 0; ; round++) {
    const all = startSome();
    if (round === 3) parentPort?.postMessage('busy');
    await Promise.all(all);
  }
}

if (what === 'move') {
  for (let round = 0; ; round++) {
    const all = startMoves();
    all[4].then(() => round === 1 && parentPort?.postMessage('busy'));
    await Promise.all(all);
  }
}

const leave = () => process.exit(7);
if (what === 'exit-in-completion') {
  host.setFaults({ delayMs: 2 });
  const all = startSome();
  all[20].then(leave);
} else if (what === 'exit-in-move') {
  startMoves()[4].then(leave);
} else if (what === 'exit-in-closing') {
  void Promise.all(startSome());
  host.close().then(leave);
  setImmediate(leave);
} else if (what === 'exit-before-close') {
  const descriptor = openSync(join(folder, 'plain'), 'r');
  const again = await host.open('again', { writable: false, descriptor });
  closeSync(descriptor);
  host.setFaults({ delayMs: 100 });
  // Each of the four workers waits; the closes are behind that.
  for (let i = 0; i < 4; i++) void plain.flush();
  void direct.close();
  void again.close();
  setTimeout(leave, 20);
} else if (what === 'exit-opened') {
  const descriptor = openSync(join(folder, 'plain'), 'r');
  await host.open('again', { writable: false, descriptor });
  closeSync(descriptor);
  leave();
} else if (what === 'throw-in-completion') {
  const all = startSome();
  process.once('uncaughtException', leave);
  all[3].then(() => {
    throw new Error('nobody catches this');
  });
}

if (what === 'talk' || what === 'exit-in-link') {
  const size = 1024 * 1024;
  const data = host.memory.allocate(size);
  const path = join(folder, 'talk.sock');
  const echo = (link: Link) => {
    const into = host.memory.allocate(size);
    const next = () => link.window(into, 0, size);
    link.owner = {
      received: (count) => {
        if (what === 'exit-in-link') leave();
        link.push(into, 0, count);
        if (link.flush()) next();
      },
      progressed: () => link.unsentBytes === 0 && next(),
      closed: () => {},
    };
    next();
  };
  await host.net.listen({ type: 'unix', path }, echo);
  for (let i = 0; i < 4; i++) {
    const link = await host.net.connect({ type: 'unix', path });
    if (i > 0) echo(link);
    link.push(data, 0, size);
    link.flush();
  }
  let rounds = 0;
  const then = what === 'talk' ? () => parentPort?.postMessage('busy') : () => {};
  setInterval(() => ++rounds === 5 && then(), 1);
}
