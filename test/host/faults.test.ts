// What system calls do on a bad day: short, interrupted, "try again", no room in the ring. Nothing is lost, nothing
// is answered twice.
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import type { Faults } from '../../src/host/real/engine.js';
import { overEngines, pattern } from './engines.js';

const SIZE = 1024 * 1024;
const DAYS: [string, Faults][] = [
  ['short reads and writes', { maxBytes: 4096 }],
  ['reads and writes of 512 bytes at most', { maxBytes: 512 }],
  ['EINTR', { interrupts: 500 }],
  ['EAGAIN', { again: 500 }],
  ['a full ring', { ringFull: 500 }],
  ['all of it', { maxBytes: 8192, interrupts: 300, again: 300, ringFull: 300 }],
];

overEngines(
  'bad days',
  (bench) => {
    for (const [title, faults] of DAYS) {
      for (const direct of [false, true]) {
        it(`${title}, ${direct ? 'direct' : 'buffered'}: every request is answered once, with the right bytes`, async () => {
          const file = await bench.open(`${title}-${direct}`, { direct });
          const model = pattern(SIZE, 7);
          bench.host.setFaults(faults);
          let answers = 0;
          const count = () => {
            answers++;
          };
          const writes: Promise<void>[] = [];
          for (let at = 0; at < SIZE; at += 65536) {
            const buffer = bench.host.memory.allocate(65536);
            buffer.set(model.subarray(at, at + 65536));
            writes.push(file.write(at, buffer).then(count));
          }
          await Promise.all(writes);
          bench.host.setFaults(faults);
          const back = bench.host.memory.allocate(SIZE);
          const reads: Promise<void>[] = [];
          for (let at = 0; at < SIZE; at += 4096) reads.push(file.read(at, back.subarray(at, at + 4096)).then(count));
          const parts = [100000, 200000].map((length) => bench.host.memory.allocate(length));
          reads.push(file.readv(0, parts).then(count));
          await Promise.all(reads);
          expect(answers).to.equal(writes.length + reads.length);
          expect(Buffer.from(back).equals(model)).to.equal(true);
          expect(Buffer.concat(parts).equals(model.subarray(0, 300000))).to.equal(true);
          expect(file.inFlight).to.equal(0);
          bench.host.setFaults({});
          await file.close();
          expect(readFileSync(file.path).equals(model)).to.equal(true);
        });
      }
    }

    it('more requests than slots wait in line, and each has its turn once', async () => {
      const file = await bench.open('line');
      const buffer = bench.host.memory.allocate(512);
      const order: number[] = [];
      bench.host.setFaults({ delayMs: 1 });
      const all: Promise<unknown>[] = [];
      for (let i = 0; i < 100; i++) all.push(file.flush().then(() => order.push(i)));
      for (let i = 100; i < 9000; i++) all.push(file.write(i * 512, buffer).then(() => order.push(i)));
      await Promise.all(all);
      expect(order.length).to.equal(9000);
      expect(new Set(order).size).to.equal(9000);
      await file.close();
    });

    it('signals that arrive meanwhile do no harm', async () => {
      const file = await bench.open('signals', { direct: true });
      let signals = 0;
      const onSignal = () => {
        signals++;
      };
      process.on('SIGUSR2', onSignal);
      const buffer = bench.host.memory.allocate(65536).fill(5);
      for (let round = 0; round < 50; round++) {
        const all: Promise<void>[] = [];
        for (let i = 0; i < 8; i++) {
          all.push(file.write((round * 8 + i) * 65536, buffer));
          process.kill(process.pid, 'SIGUSR2');
        }
        all.push(file.flush());
        await Promise.all(all);
      }
      process.off('SIGUSR2', onSignal);
      expect(signals).to.be.greaterThan(0);
      expect(readFileSync(file.path).equals(Buffer.alloc(50 * 8 * 65536, 5))).to.equal(true);
      await file.close();
    });
  },
  { slots: 8 },
);
