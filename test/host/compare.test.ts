// The compare step: the same on both engines and on the simulated host. Where two sides differ first, what counts as zeroes, and what is said of a failure.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type ComparePiece, type Host, type HostFile, MAX_COMPARE_BYTES } from '../../src/host/host.js';
import { openRealHost } from '../../src/host/real/index.js';
import { createSimHost } from '../../src/host/sim/index.js';
import { ENGINES, failure, overEngines, pattern } from './engines.js';

const KiB = 1024;
const MiB = 1024 * KiB;

interface Subject {
  host: Host;
  file(name: string, content: Uint8Array): Promise<HostFile>;
  end(): Promise<void>;
}

function realSubject(engine: 'io_uring' | 'threads'): Subject {
  const folder = mkdtempSync(join(tmpdir(), 'diskwright-compare-'));
  const host = openRealHost({ engine });
  return {
    host,
    file: (name, content) => {
      writeFileSync(join(folder, name), content);
      return host.open(join(folder, name), { writable: false });
    },
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
      return host.open(`/${name}`, { writable: false });
    },
    end: () => host.close(),
  };
}

function piece(a: HostFile | null, aOffset: number, b: HostFile | null, bOffset: number, length: number): ComparePiece {
  return { a, b, aOffset, bOffset, length };
}

function compare(host: Host, pieces: ComparePiece[]) {
  return host.compare({ pieces, bytes: pieces.reduce((sum, { length }) => sum + length, 0) });
}

const subjects: [string, () => Subject][] = [
  ...ENGINES.map((engine): [string, () => Subject] => [engine, () => realSubject(engine)]),
  ['simulated', simulatedSubject],
];

for (const [title, make] of subjects) {
  describe(`compare step (${title})`, () => {
    let subject: Subject;
    before(() => {
      subject = make();
    });
    after(() => subject.end());

    it('says which byte differs first, wherever it lies', async () => {
      const content = pattern(MAX_COMPARE_BYTES, 1);
      const a = await subject.file('a', content);
      const same = await subject.file('same', content);
      const whole = piece(a, 0, same, 0, content.length);
      expect(await compare(subject.host, [whole])).to.deep.equal({ difference: -1, fault: null });
      for (const at of [0, 4095, 256 * KiB - 1, 256 * KiB, 3 * MiB + 17, content.length - 1]) {
        const other = Buffer.from(content);
        other[at] ^= 1;
        other[content.length - 1] ^= 2;
        const b = await subject.file(`b${at}`, other);
        const { difference, fault } = await compare(subject.host, [piece(a, 0, b, 0, content.length)]);
        expect({ difference, fault }).to.deep.equal({ difference: at, fault: null });
      }
      expect([a.inFlight, same.inFlight]).to.deep.equal([0, 0]);
    });

    it('counts over pieces of several files, at other offsets on each side', async () => {
      const content = pattern(600 * KiB, 2);
      const one = await subject.file('one', content);
      const two = await subject.file('two', content.subarray(100 * KiB));
      const pieces = [
        piece(one, 100 * KiB, two, 0, 300 * KiB),
        piece(two, 1, one, 100 * KiB + 1, 5),
        piece(one, 500 * KiB, two, 400 * KiB, 100 * KiB),
      ];
      expect(await compare(subject.host, pieces)).to.deep.equal({ difference: -1, fault: null });
      pieces[2].bOffset--;
      const { difference } = await compare(subject.host, pieces);
      const shifted = content.findIndex((_, i) => i >= 500 * KiB && content[i] !== content[i - 1]);
      expect(difference).to.equal(300 * KiB + 5 + shifted - 500 * KiB);
    });

    it('takes for zeroes: a side without a file, and what lies behind the end of one', async () => {
      const data = Buffer.alloc(700 * KiB);
      data[600 * KiB + 3] = 9;
      const a = await subject.file('z', data);
      const empty = await subject.file('empty', new Uint8Array(0));
      const both = [piece(null, 0, null, 0, 100), piece(null, 0, empty, 12345, 100)];
      expect((await compare(subject.host, both)).difference).to.equal(-1);
      for (const pieces of [
        [piece(null, 0, null, 0, 100), piece(a, 0, null, 0, data.length)],
        [piece(null, 0, null, 0, 100), piece(null, 0, a, 0, data.length)],
        [piece(null, 0, null, 0, 100), piece(empty, 0, a, 0, data.length)],
      ]) {
        expect((await compare(subject.host, pieces)).difference).to.equal(100 + 600 * KiB + 3);
      }
    });

    it('refuses a file that is closed', async () => {
      const a = await subject.file('c1', pattern(512, 1));
      const b = await subject.file('c2', pattern(512, 1));
      await b.close();
      expect(b.movable).to.equal(false);
      const answer = await compare(subject.host, [piece(a, 0, b, 0, 512)]).then(
        ({ fault }) => fault?.error,
        (error) => error,
      );
      expect(answer.code).to.equal('closed');
      expect(a.inFlight).to.equal(0);
    });
  });
}

describe('compare step: faults of the simulation', () => {
  for (const side of ['a', 'b'] as const) {
    it(`says what of side ${side} could not be read, and that all before it is the same`, async () => {
      const host = createSimHost();
      for (const name of ['/a', '/b']) host.writeFile(name, pattern(MiB, 1));
      const [a, b] = await Promise.all(['/a', '/b'].map((name) => host.open(name, { writable: false })));
      host.setFaults({ rules: [{ operations: ['read'], path: `/${side}`, after: 2 }] });
      const { difference, fault } = await compare(host, [piece(a, 0, b, 0, 512 * KiB), piece(a, 0, b, 0, MiB / 2)]);
      expect(difference).to.equal(-1);
      expect(fault).to.deep.include({ side, at: 512 * KiB });
      expect(fault!.error).to.deep.include({ code: 'io', path: `/${side}` });
    });
  }

  it('does not read what lies behind the first difference', async () => {
    const host = createSimHost();
    host.writeFile('/a', pattern(MiB, 1));
    host.writeFile('/b', pattern(MiB, 2));
    const [a, b] = await Promise.all(['/a', '/b'].map((name) => host.open(name, { writable: false })));
    host.setFaults({ rules: [{ operations: ['read'], after: 2 }] });
    const { difference, fault } = await compare(host, [piece(a, 0, b, 0, MiB)]);
    expect(fault).to.equal(null);
    expect(difference).to.be.lessThan(16);
  });
});

overEngines('compare step on bad days', (bench) => {
  for (const [title, faults] of [
    ['short reads', { maxBytes: 3000 }],
    ['EINTR', { interrupts: 300 }],
    ['a slow worker', { delayMs: 5 }],
  ] as const) {
    it(`${title}: all bytes are compared`, async () => {
      const content = pattern(MiB, 3);
      const a = await bench.open(`a-${title}`);
      const b = await bench.open(`b-${title}`);
      await a.write(0, content);
      await b.write(0, content);
      await b.write(MiB - 1, Buffer.from([content[MiB - 1] ^ 1]));
      bench.host.setFaults(faults);
      expect((await compare(bench.host, [piece(a, 0, b, 0, MiB)])).difference).to.equal(MiB - 1);
      expect((await compare(bench.host, [piece(a, 0, b, 0, MiB - 1)])).difference).to.equal(-1);
    });
  }

  it('says the system error, the side and the offset of what cannot be read', async () => {
    const a = await bench.open('readable');
    await a.write(0, pattern(MiB, 4));
    // Nothing of a process lies at the first page of its memory.
    const memory = await bench.host.open('/proc/self/mem', { writable: false });
    const pieces = [piece(a, 0, a, 0, 600 * KiB), piece(a, 700, memory, 512, 600)];
    const { difference, fault } = await compare(bench.host, pieces);
    expect(difference).to.equal(-1);
    expect(fault).to.deep.include({ side: 'b', at: 600 * KiB });
    expect(fault!.error).to.deep.include({
      code: 'io',
      errno: 'EIO',
      path: '/proc/self/mem',
      offset: 512,
      length: 600,
    });
    const swapped = await compare(bench.host, [piece(memory, 512, a, 0, 600)]);
    expect(swapped.fault).to.deep.include({ side: 'a', at: 0 });
    await memory.close();
  });

  it('refuses what is out of all bounds', async () => {
    const a = await bench.open('bounds');
    const refused = async (pieces: ComparePiece[], bytes: number) =>
      (await failure(bench.host.compare({ pieces, bytes }))).errno;
    expect(await refused([piece(a, 0, a, 0, 5 * MiB)], 5 * MiB)).to.equal('EINVAL');
    expect(await refused([piece(a, -512, a, 0, 512)], 512)).to.equal('EINVAL');
    expect(await refused([piece(a, 0, a, Number.NaN, 512)], 512)).to.equal('EINVAL');
    expect(await refused([piece(a, 0, a, 0, 512)], 1024)).to.equal('EINVAL');
    expect(await refused([], 512)).to.equal('EINVAL');
  });
});
