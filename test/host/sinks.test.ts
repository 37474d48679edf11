// Requests without a promise: every answer once, with its tag, and the sink is told when a batch is over.
import { constants } from 'node:os';
import { expect } from 'chai';
import type { HostFile, RequestSink } from '../../src/host/host.js';
import { failure, overEngines, pattern } from './engines.js';

/** Notes what it is told; `until` resolves when there are so many answers. */
class Notes implements RequestSink {
  readonly answers: [tag: number, result: number][] = [];
  settlements = 0;
  /** Answers that had come when the last settlement was told. */
  settledAt = 0;
  onCompleted: (tag: number, result: number) => void = () => {};
  onSettled: () => void = () => {};
  #waiting: { count: number; resolve: () => void }[] = [];

  completed(tag: number, result: number): void {
    this.answers.push([tag, result]);
    this.onCompleted(tag, result);
  }

  settled(): void {
    this.settlements++;
    this.settledAt = this.answers.length;
    this.onSettled();
    for (const one of this.#waiting) if (this.answers.length >= one.count) one.resolve();
  }

  async until(count: number): Promise<void> {
    if (this.settledAt >= count) return;
    await new Promise<void>((resolve) => this.#waiting.push({ count, resolve }));
  }

  get tags(): number[] {
    return this.answers.map(([tag]) => tag).sort((a, b) => a - b);
  }
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

overEngines(
  'sinks',
  (bench) => {
    const BLOCK = 4096;
    const COUNT = 40;

    async function filled(name: string, direct: boolean): Promise<HostFile> {
      const plain = await bench.open(name, { direct });
      for (let i = 0; i < COUNT; i++) {
        const block = bench.host.memory.allocate(BLOCK);
        block.set(pattern(BLOCK, i));
        await plain.write(i * BLOCK, block);
        bench.host.memory.free(block);
      }
      return plain;
    }

    for (const direct of [false, true]) {
      const kind = direct ? 'direct' : 'buffered';

      it(`${kind}: reads are answered once each, with the bytes`, async () => {
        const file = await filled(`read-${kind}`, direct);
        const room = bench.host.memory.allocate(COUNT * BLOCK);
        const notes = new Notes();
        for (let i = 0; i < COUNT; i++) {
          expect(file.beginRead(i * BLOCK, room, i * BLOCK, (i + 1) * BLOCK, notes, i)).to.equal(true);
          expect(notes.answers.length, 'answered within the call').to.equal(0);
        }
        expect(file.inFlight).to.equal(COUNT);
        bench.host.submit();
        if (!direct) expect(notes.settledAt, 'page-cache hits are answered by submit').to.equal(COUNT);
        await notes.until(COUNT);
        expect(notes.tags).to.deep.equal(upTo(COUNT));
        expect(file.inFlight).to.equal(0);
        for (let i = 0; i < COUNT; i++) {
          expect(Buffer.compare(room.subarray(i * BLOCK, (i + 1) * BLOCK), pattern(BLOCK, i))).to.equal(0);
        }
        bench.host.memory.free(room);
        await file.close();
      });

      it(`${kind}: writes arrive without a call of submit`, async () => {
        const file = await bench.open(`write-${kind}`, { direct });
        const room = bench.host.memory.allocate(COUNT * BLOCK);
        room.set(pattern(COUNT * BLOCK, 7));
        const notes = new Notes();
        for (let i = 0; i < COUNT; i++) {
          expect(file.beginWrite(i * BLOCK, room, i * BLOCK, (i + 1) * BLOCK, notes, i)).to.equal(true);
        }
        await notes.until(COUNT);
        expect(notes.tags).to.deep.equal(upTo(COUNT));
        const back = Buffer.alloc(COUNT * BLOCK);
        await file.read(0, back);
        expect(back.equals(pattern(COUNT * BLOCK, 7))).to.equal(true);
        bench.host.memory.free(room);
        await file.close();
      });
    }

    it('says no where it would have to wait, bounce or change what is read-only', async () => {
      const file = await filled('no', true);
      const { host } = bench;
      const room = host.memory.allocate(2 * BLOCK);
      const notes = new Notes();
      expect(file.beginRead(1, room, 0, BLOCK, notes, 0), 'offset').to.equal(false);
      expect(file.beginRead(0, room, 0, 100, notes, 0), 'length').to.equal(false);
      expect(file.beginRead(0, room, 8, BLOCK + 8, notes, 0), 'address').to.equal(false);
      expect(file.beginRead(0, Buffer.alloc(BLOCK), 0, BLOCK, notes, 0), 'foreign memory').to.equal(false);
      expect(file.beginRead(-1, room, 0, BLOCK, notes, 0), 'negative').to.equal(false);
      expect(file.beginRead(2 ** 60, room, 0, BLOCK, notes, 0), 'beyond').to.equal(false);
      const reader = await bench.open('no', { writable: false });
      expect(reader.beginWrite(0, room, 0, BLOCK, notes, 0), 'read-only').to.equal(false);
      await Promise.all([reader.close(), file.close()]);
      expect(file.beginRead(0, room, 0, BLOCK, notes, 0), 'closed').to.equal(false);
      expect(notes.answers).to.deep.equal([]);
      host.memory.free(room);
    });

    it('a direct write stays out of a block that another is changing', async () => {
      const file = await filled('conflict', true);
      const { memory } = bench.host;
      const room = memory.allocate(BLOCK);
      room.set(pattern(BLOCK, 77));
      const notes = new Notes();
      bench.host.setFaults({ delayMs: 5 });
      // Part of a block: it is read, changed and written, and must be alone meanwhile.
      const part = file.write(10, Buffer.from('abc'));
      await Promise.resolve();
      expect(file.beginWrite(0, room, 0, BLOCK, notes, 0)).to.equal(false);
      expect(file.beginWrite(BLOCK, room, 0, BLOCK, notes, 1)).to.equal(true);
      await part;
      await notes.until(1);
      expect(file.beginWrite(0, room, 0, BLOCK, notes, 2)).to.equal(true);
      await notes.until(2);
      const whole = file.write(20, Buffer.from('x'));
      await whole;
      const back = Buffer.alloc(BLOCK);
      await file.read(0, back);
      const wanted = pattern(BLOCK, 77);
      wanted[20] = 'x'.charCodeAt(0);
      expect(back.equals(wanted)).to.equal(true);
      memory.free(room);
      await file.close();
    });

    it('slots run out: then it says no, and everything begun is answered', async () => {
      const file = await filled('slots', false);
      const room = bench.host.memory.allocate(BLOCK);
      const notes = new Notes();
      let begun = 0;
      while (file.beginRead(0, room, 0, BLOCK, notes, begun)) begun++;
      expect(begun).to.equal(64);
      // The way out: a request that waits in line.
      const inLine = file.read(0, room);
      expect(file.beginRead(0, room, 0, BLOCK, notes, begun)).to.equal(false);
      bench.host.submit();
      await notes.until(begun);
      await inLine;
      expect(notes.tags).to.deep.equal(upTo(begun));
      expect(file.beginRead(0, room, 0, BLOCK, notes, begun)).to.equal(true);
      await notes.until(begun + 1);
      bench.host.memory.free(room);
      await file.close();
    });

    it('what is begun while answers are given goes out, too, one after the other', async () => {
      const file = await filled('chain', false);
      const room = bench.host.memory.allocate(BLOCK);
      const notes = new Notes();
      let depth = 0;
      notes.onCompleted = (tag) => {
        expect(++depth, 'nested').to.equal(1);
        if (tag < 5000) file.beginRead(0, room, 0, BLOCK, notes, tag + 1);
        depth--;
      };
      notes.onSettled = () => bench.host.submit();
      let ticks = 0;
      const timer = setInterval(() => ticks++, 1);
      file.beginRead(0, room, 0, BLOCK, notes, 1);
      bench.host.submit();
      expect(notes.answers.length, 'others get a turn').to.be.lessThan(5000);
      await notes.until(5000);
      clearInterval(timer);
      expect(notes.tags).to.deep.equal(upTo(5001).slice(1));
      expect(ticks).to.be.greaterThan(0);
      bench.host.memory.free(room);
      await file.close();
    });

    it('submit from within an answer disturbs none of the others', async () => {
      const file = await filled('nested', false);
      const room = bench.host.memory.allocate(BLOCK);
      const notes = new Notes();
      notes.onCompleted = (tag) => {
        for (const next of tag < 20 ? [20 + tag, 40 + tag] : []) file.beginRead(0, room, 0, BLOCK, notes, next);
        bench.host.submit();
      };
      for (let i = 0; i < 20; i++) file.beginRead(0, room, 0, BLOCK, notes, i);
      bench.host.submit();
      await notes.until(60);
      expect(notes.tags).to.deep.equal(upTo(60));
      expect(file.inFlight).to.equal(0);
      bench.host.memory.free(room);
      await file.close();
    });

    it('each sink is told once that a batch is over, promises beside it or not', async () => {
      const file = await filled('several', false);
      const room = bench.host.memory.allocate(BLOCK);
      const sinks = [new Notes(), new Notes(), new Notes()];
      const others: Promise<void>[] = [];
      for (let i = 0; i < 30; i++) {
        file.beginRead(0, room, 0, BLOCK, sinks[i % 3], i);
        if (i % 5 === 0) others.push(file.read(0, room));
      }
      bench.host.submit();
      await Promise.all(others);
      for (const [i, sink] of sinks.entries()) {
        await sink.until(10);
        expect(sink.settlements).to.equal(1);
        expect(sink.tags.every((tag) => tag % 3 === i)).to.equal(true);
      }
      bench.host.memory.free(room);
      await file.close();
    });

    it('an answer that is an error has its errno, and errorOf makes a BlockError of it', async () => {
      const full = await bench.host.open('/dev/full', { writable: true });
      const room = bench.host.memory.allocate(BLOCK);
      const notes = new Notes();
      expect(full.beginWrite(0, room, 0, BLOCK, notes, 3)).to.equal(true);
      await notes.until(1);
      expect(notes.answers).to.deep.equal([[3, -constants.errno.ENOSPC]]);
      const error = full.errorOf('write', 0, BLOCK, notes.answers[0][1]);
      const { code, errno, operation, offset, length, path } = error;
      expect({ code, errno, operation, offset, length, path }).to.deep.equal({
        code: (await failure(full.write(0, room))).code,
        errno: 'ENOSPC',
        operation: 'write',
        offset: 0,
        length: BLOCK,
        path: '/dev/full',
      });
      bench.host.memory.free(room);
      await full.close();
    });

    it('close waits for what is begun', async () => {
      const file = await filled('closing', true);
      const room = bench.host.memory.allocate(16 * BLOCK);
      const notes = new Notes();
      bench.host.setFaults({ delayMs: 5 });
      for (let i = 0; i < 16; i++) file.beginWrite(i * BLOCK, room, i * BLOCK, (i + 1) * BLOCK, notes, i);
      await file.close();
      expect(notes.tags).to.deep.equal(upTo(16));
      bench.host.memory.free(room);
    });
  },
  { slots: 64 },
);
