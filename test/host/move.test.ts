// The copy step: the same on both engines and on the simulated host. What is read, what is left out, and where the rest goes.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { FROM_RUN, type HostFile, MAX_PACKED_BYTES, type Packing } from '../../src/host/host.js';
import { openRealHost } from '../../src/host/real/index.js';
import { createSimHost } from '../../src/host/sim/index.js';
import { ENGINES, failure, pattern } from './engines.js';

import { KiB, packClusters, packed, piece, request, STEP, type Subject } from './moves.js';

function realSubject(engine: 'io_uring' | 'threads'): Subject {
  const folder = mkdtempSync(join(tmpdir(), 'diskwright-move-'));
  const host = openRealHost({ engine });
  return {
    host,
    file: async (name, content) => {
      const file = await host.open(join(folder, name), { writable: true, create: 'truncate' });
      if (content.length > 0) await file.write(0, content);
      return file;
    },
    content: (name) => readFileSync(join(folder, name)),
    end: async () => {
      await host.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function simulatedSubject(): Subject {
  const host = createSimHost();
  return {
    host,
    file: (name, content) => {
      host.writeFile(`/${name}`, content);
      return host.open(`/${name}`, { writable: true });
    },
    content: (name) => Buffer.from(host.readFile(`/${name}`)),
    end: () => host.close(),
  };
}

const subjects: [string, () => Subject][] = [
  ...ENGINES.map((engine): [string, () => Subject] => [engine, () => realSubject(engine)]),
  ['simulated', simulatedSubject],
];

for (const [title, make] of subjects) {
  describe(`copy step (${title})`, () => {
    let subject: Subject;
    before(() => {
      subject = make();
    });
    after(() => subject.end());

    it('gathers pieces of several files, each to its place', async () => {
      const [one, two] = [pattern(3 * STEP, 1), pattern(STEP, 2)];
      const a = await subject.file('a', one);
      const b = await subject.file('b', two);
      const target = await subject.file('t', new Uint8Array(0));
      const pieces = [
        piece(a, 512, STEP, 0),
        piece(b, 0, 100, 4 * STEP),
        piece(a, 2 * STEP, STEP, STEP),
        piece(null, 0, 50, 3 * STEP),
      ];
      const moved = await subject.host.move(request(target, pieces));
      expect(moved.slices).to.deep.equal([{ start: -1, taken: 0 }]);
      expect(moved.fault).to.equal(null);
      expect(moved.map.length).to.equal(0);
      const expected = Buffer.alloc(4 * STEP + 100);
      one.copy(expected, 0, 512, 512 + STEP);
      one.copy(expected, STEP, 2 * STEP, 3 * STEP);
      two.copy(expected, 4 * STEP, 0, 100);
      expect(subject.content('t').equals(expected)).to.equal(true);
      expect([a.inFlight, b.inFlight, target.inFlight]).to.deep.equal([0, 0, 0]);
    });

    it('leaves out steps of zeroes: what is there stays, and the rest lies together in the run', async () => {
      const content = Buffer.concat([
        pattern(STEP, 3),
        Buffer.alloc(STEP),
        pattern(2 * STEP, 4),
        Buffer.alloc(STEP),
        pattern(STEP, 5),
      ]);
      const source = await subject.file('s', content);
      const fixed = await subject.file('f', pattern(6 * STEP, 6));
      const there = await subject.host.move(request(fixed, [piece(source, 0, 6 * STEP, 0)], { granule: STEP }));
      expect([...there.map]).to.deep.equal([0, 1, 0, 0, 1, 0]);
      const expected = Buffer.from(content);
      pattern(6 * STEP, 6).copy(expected, STEP, STEP, 2 * STEP);
      pattern(6 * STEP, 6).copy(expected, 4 * STEP, 4 * STEP, 5 * STEP);
      expect(subject.content('f').equals(expected)).to.equal(true);

      const target = await subject.file('r', new Uint8Array(0));
      const run = subject.host.openRun(STEP);
      const pieces = [
        piece(source, 0, 3 * STEP, FROM_RUN),
        piece(source, 3 * STEP, STEP, 0),
        piece(source, 4 * STEP, 2 * STEP, FROM_RUN),
      ];
      const moved = await subject.host.move(request(target, pieces, { granule: STEP, run }));
      expect(moved.slices).to.deep.equal([{ start: STEP, taken: 3 * STEP }]);
      expect(moved.fault).to.equal(null);
      expect(run.next).to.equal(4 * STEP);
      run.free();
      const parts = [3, 0, 2, 5].map((i) => content.subarray(i * STEP, (i + 1) * STEP));
      expect(subject.content('r').equals(Buffer.concat(parts))).to.equal(true);
    });

    it('of zeroes only takes and writes nothing', async () => {
      const source = await subject.file('z', new Uint8Array(2 * STEP));
      const target = await subject.file('zt', new Uint8Array(0));
      const run = subject.host.openRun(0);
      const moved = await subject.host.move(
        request(target, [piece(source, 0, 2 * STEP, FROM_RUN)], { granule: 4096, run }),
      );
      expect(moved.slices).to.deep.equal([{ start: -1, taken: 0 }]);
      expect(moved.map.every((zero) => zero === 1)).to.equal(true);
      expect(run.next).to.equal(0);
      expect(subject.content('zt').length).to.equal(0);
    });

    it('reads zeroes behind the end of a file, and tests a short last step', async () => {
      const source = await subject.file('short', pattern(STEP + 100, 7));
      const target = await subject.file('st', new Uint8Array(0));
      const moved = await subject.host.move(request(target, [piece(source, 0, 3 * STEP + 700, 0)], { granule: STEP }));
      expect([...moved.map]).to.deep.equal([0, 0, 1, 1]);
      expect(subject.content('st').equals(Buffer.concat([pattern(STEP + 100, 7), Buffer.alloc(STEP - 100)]))).to.equal(
        true,
      );
    });

    it('of many at once gives each its own place in the run, without gaps', async () => {
      const parts = Array.from({ length: 40 }, (_, i) => pattern((1 + (i % 4)) * STEP, 100 + i));
      const sources = await Promise.all(parts.map((part, i) => subject.file(`m${i}`, part)));
      const target = await subject.file('many', new Uint8Array(0));
      const run = subject.host.openRun(0);
      const moves = await Promise.all(
        sources.map((source, i) =>
          subject.host.move(request(target, [piece(source, 0, parts[i].length, FROM_RUN)], { granule: STEP, run })),
        ),
      );
      const content = subject.content('many');
      expect(run.next).to.equal(content.length);
      expect(content.length).to.equal(parts.reduce((sum, { length }) => sum + length, 0));
      for (const [i, { slices }] of moves.entries()) {
        const [{ start, taken }] = slices;
        expect(content.subarray(start, start + taken).equals(parts[i]), `move ${i}`).to.equal(true);
      }
    });

    it('works slice by slice: each takes bytes of the run that lie together, and a failure leaves those before it', async () => {
      const content = Buffer.concat([pattern(3 * STEP, 11), Buffer.alloc(STEP), pattern(5 * STEP + 512, 12)]);
      const source = await subject.file('sl', content);
      const target = await subject.file('slt', new Uint8Array(0));
      const run = subject.host.openRun(0);
      // Pieces end within slices, and slices within pieces.
      const ends = [0, STEP, 5 * STEP + 512, content.length];
      const pieces = [1, 2, 3].map((i) => piece(source, ends[i - 1], ends[i] - ends[i - 1], FROM_RUN));
      const { slices, map, fault } = await subject.host.move(
        request(target, pieces, { granule: STEP, slice: 2 * STEP, run }),
      );
      expect(fault).to.equal(null);
      expect([...map]).to.deep.equal([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
      expect(slices.map(({ taken }) => taken)).to.deep.equal([2 * STEP, STEP, 2 * STEP, 2 * STEP, STEP + 512]);
      const written = subject.content('slt');
      const parts = slices.map(({ start, taken }) => written.subarray(start, start + taken));
      expect(Buffer.concat(parts).equals(Buffer.concat([pattern(3 * STEP, 11), pattern(5 * STEP + 512, 12)]))).to.equal(
        true,
      );
    });

    for (const type of ['zlib', 'zstd'] as const) {
      for (const clusterBytes of [512, 4 * KiB, STEP, MAX_PACKED_BYTES]) {
        it(`decompresses ${type} clusters of ${clusterBytes} bytes, whole and in part`, async () => {
          const { source, packings, clusters } = await packClusters(subject, type, clusterBytes);
          const target = await subject.file('pt', pattern(3 * clusterBytes, 9));
          const unit = clusterBytes / 512;
          const places = [0, 1, 2].map((i) => packed(source, packings[i], 0, clusterBytes, i * clusterBytes));
          const slice = Math.min(clusterBytes, 4 * STEP);
          const whole = await subject.host.move(
            request(target, places, { granule: Math.min(clusterBytes, STEP), slice }),
          );
          expect(whole.fault).to.equal(null);
          const left = Math.min(clusterBytes, STEP);
          expect([...whole.map]).to.deep.equal(
            Array.from({ length: (3 * clusterBytes) / left }, (_, i) =>
              Math.floor((i * left) / clusterBytes) === 1 ? 1 : 0,
            ),
          );
          const expected = Buffer.concat(clusters);
          pattern(3 * clusterBytes, 9).copy(expected, clusterBytes, clusterBytes, 2 * clusterBytes);
          expect(subject.content('pt').equals(expected)).to.equal(true);

          // Parts of clusters, some in two slices, the same cluster for two pieces, beside one that is not compressed.
          const parts: [cluster: number, lead: number, length: number][] = [
            [0, unit * 100, unit * 300],
            [0, unit * 400, unit * 112],
            [2, 0, unit * 7],
            [0, 0, unit],
            [2, unit * 500, unit * 12],
          ];
          let to = 0;
          const pieces = parts.map(([i, lead, length]) => {
            to += length;
            return packed(source, packings[i], lead, length, to - length);
          });
          const some = await subject.file('ps', new Uint8Array(0));
          const plain = pattern(100, 8);
          pieces.push(piece(await subject.file('pp', plain), 0, 100, to));
          const moved = await subject.host.move(request(some, pieces, { slice: Math.ceil(to / 3) }));
          expect(moved.fault).to.equal(null);
          const content = parts.map(([i, lead, length]) => clusters[i].subarray(lead, lead + length));
          expect(subject.content('ps').equals(Buffer.concat([...content, plain]))).to.equal(true);
          expect([source.inFlight, some.inFlight]).to.deep.equal([0, 0]);
        });
      }

      it(`says that ${type} data is broken, or cut off, as the codec does, in which piece, and writes nothing of that slice`, async () => {
        const { source, packings, clusters } = await packClusters(subject, type, STEP);
        const [good, , cut] = packings;
        const stored = new Uint8Array(cut.packing.stored);
        await source.read(cut.offset, stored);
        await source.write(cut.offset, stored.fill(0, 100));
        const error = await failure(subject.host.codecs.decompress(type, stored, new Uint8Array(STEP)));
        const target = await subject.file('bt', new Uint8Array(0));
        const pieces = [packed(source, good, 0, STEP, 0), packed(source, cut, 512, 1024, STEP)];
        const { fault, map } = await subject.host.move(request(target, pieces, { granule: STEP }));
        expect(fault).to.deep.include({ isRead: true, piece: 1 });
        expect(fault!.error).to.include({ code: 'invalid-image', message: error.message, operation: 'decompress' });
        expect(map.length).to.equal(0);
        expect(subject.content('bt').length).to.equal(0);

        // Where the file ends within the data, what is missing reads as zeroes. What follows the data does no harm.
        const more = { ...good, packing: { ...good.packing, stored: 2 * MAX_PACKED_BYTES } };
        expect((await subject.host.move(request(target, [packed(source, more, 0, STEP, 0)]))).fault).to.equal(null);
        expect(subject.content('bt').equals(clusters[0])).to.equal(true);
        await source.truncate(good.offset + 100);
        const short = await subject.host.move(request(target, [packed(source, good, 0, STEP, 0)]));
        expect(short.fault?.error.code).to.equal('invalid-image');
      });
    }

    it('refuses to read or allocate more for a cluster than one can have', async () => {
      const source = await subject.file('bs', pattern(STEP, 1));
      const target = await subject.file('bounds', new Uint8Array(0));
      const good: Packing = { type: 'zlib', stored: 100, clusterBytes: STEP, lead: 0 };
      const wrong: [Partial<Packing>, HostFile | null][] = [
        [{ stored: 0 }, source],
        [{ stored: -1 }, source],
        [{ stored: 2 * MAX_PACKED_BYTES + 1 }, source],
        [{ clusterBytes: 0 }, source],
        [{ clusterBytes: MAX_PACKED_BYTES + 1 }, source],
        [{ lead: -1 }, source],
        [{ lead: STEP - 511 }, source],
        [{ clusterBytes: 511 }, source],
        [{}, null],
      ];
      for (const [more, file] of wrong) {
        const packing = { ...good, ...more };
        const moving = subject.host.move(request(target, [{ file, offset: 0, length: 512, to: 0, packing }]));
        expect((await failure(moving)).errno, JSON.stringify(packing)).to.equal('EINVAL');
      }
      expect([source.inFlight, target.inFlight]).to.deep.equal([0, 0]);
    });

    it('of several slices keeps the order of its data in the run; on a real host it lies in one piece', async () => {
      const [count, each] = [9, 7 * STEP];
      const target = await subject.file('ordered', new Uint8Array(0));
      const run = subject.host.openRun(0);
      const contents = Array.from({ length: count }, (_, i) => {
        const content = pattern(each, 200 + i);
        content.fill(0, 2 * STEP, 3 * STEP);
        return content;
      });
      const sources = await Promise.all(contents.map((content, i) => subject.file(`or${i}`, content)));
      const moves = await Promise.all(
        sources.map((source) =>
          subject.host.move(request(target, [piece(source, 0, each, FROM_RUN)], { granule: STEP, slice: STEP, run })),
        ),
      );
      const written = subject.content('ordered');
      expect(run.next).to.equal(count * (each - STEP));
      for (const [i, { slices, map }] of moves.entries()) {
        expect([...map]).to.deep.equal([0, 0, 1, 0, 0, 0, 0]);
        const content = Buffer.concat([contents[i].subarray(0, 2 * STEP), contents[i].subarray(3 * STEP)]);
        const { start } = slices[0];
        if (title !== 'simulated') {
          expect(written.subarray(start, start + content.length).equals(content), `move ${i}`).to.equal(true);
        }
        for (const [at, slice] of slices.entries()) {
          const part = contents[i].subarray(at * STEP, (at + 1) * STEP);
          if (at === 2) expect(slice.taken).to.equal(0);
          else expect(written.subarray(slice.start, slice.start + STEP).equals(part), `slice ${at}`).to.equal(true);
        }
      }
    });

    it('refuses a target that is closed', async () => {
      const source = await subject.file('c1', pattern(512, 1));
      const target = await subject.file('c2', new Uint8Array(0));
      await target.close();
      expect(target.movable).to.equal(false);
      const answer = await subject.host.move(request(target, [piece(source, 0, 512, 0)])).then(
        ({ fault }) => fault?.error,
        (error) => error,
      );
      expect(answer.code).to.equal('closed');
    });
  });
}
