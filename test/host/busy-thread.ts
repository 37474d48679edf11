// A thread, or a process, that has requests in flight when something happens to it (see lifetime.test.ts).
//   idle   opens a host, does some I/O, and leaves everything as it is
//   exit   calls process.exit with requests in flight
//   drain  has requests in flight that nobody awaits, and writes a last file when they are answered
//   busy   keeps requests in flight, for ever
//   talk   keeps bytes on the way through links, and some in a link that nobody reads, for ever
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import type { Link } from '../../src/host/net.js';
import { openRealHost } from '../../src/host/real/index.js';

const [engine, folder, what] = (workerData ?? process.argv.slice(2)) as ['threads' | 'io_uring', string, string];

const host = openRealHost({ engine });
const direct = await host.open(join(folder, 'direct'), { writable: true, create: 'keep', direct: true });
const plain = await host.open(join(folder, 'plain'), { writable: true, create: 'keep' });

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

if (what === 'talk') {
  const size = 1024 * 1024;
  const data = host.memory.allocate(size);
  const path = join(folder, 'talk.sock');
  const echo = (link: Link) => {
    const into = host.memory.allocate(size);
    const next = () => link.window(into, 0, size);
    link.owner = {
      received: (count) => {
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
  setInterval(() => ++rounds === 5 && parentPort?.postMessage('busy'), 1);
}
