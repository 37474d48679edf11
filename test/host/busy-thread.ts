// A thread, or a process, that has requests in flight when something happens to it (see lifetime.test.ts).
//   idle   opens a host, does some I/O, and leaves everything as it is
//   exit   calls process.exit with requests in flight
//   drain  has requests in flight that nobody awaits, and writes a last file when they are answered
//   busy   keeps requests in flight, for ever
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
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
