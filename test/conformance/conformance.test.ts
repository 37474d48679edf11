// One suite over every driver, each with what it claims (manifest.ts), on every host (place.ts). What holds for one holds for all.

import { expect } from 'chai';
import { backingFileOf, formatOf, needFormat } from '../../src/block/node/format.js';
import type { BlockNode } from '../../src/block/node/node.js';
import type { BlockStatus, Located } from '../../src/block/types.js';
import { createSimHost, Random, type SimHost } from '../../src/host/sim/index.js';
import { reopenUsed } from '../drivers/support.js';
import { leaveOut } from '../support/needs.js';
import { seedsOf } from '../support/sample.js';
import { contentOf, expectAllHonest, expectContent, expectSame, statusRuns } from './checks.js';
import { codeOf, DRIVERS, type DriverEntry, type Subject } from './manifest.js';
import { PLACES, type Place, type PlaceKind } from './place.js';
import { randomRun } from './random-run.js';
import { STACKS } from './stacks.js';

const SEEDS = seedsOf({ fixed: 2, soak: 50 });
/** A file below tells holes in steps of so many bytes. */
const PAGE = 4096;

interface Bench extends Subject {
  place: Place;
  seed: number;
  /** Closes the image and opens it once more. */
  again(readOnly?: boolean): Promise<BlockNode>;
}

function bytesOf(runs: readonly BlockStatus[], kind: 'data' | 'allocated'): number {
  return runs.reduce((sum, run) => sum + (run[kind] ? run.length : 0), 0);
}

/** A machine with what is surely on this one's disk. */
function durable(sim: SimHost): SimHost {
  const other = createSimHost();
  for (const path of sim.files()) other.writeFile(path, sim.durableFile(path));
  return other;
}

function conformance(kind: PlaceKind, driver: DriverEntry): void {
  const { size } = driver;
  const capabilities = { ...driver.capabilities, ...(kind.device ? driver.onDevice : {}) };
  const unit = capabilities.compressed || 4096;

  /** A test with an image of its own. Everything is closed afterwards, and no buffer is kept. */
  function behaves(what: string, test: (bench: Bench) => Promise<void>, seed = 1): void {
    it(what, async () => {
      const place = kind.make(seed);
      try {
        await place.run(async () => {
          let subject = await driver.make(place);
          const again = async (readOnly = false): Promise<BlockNode> => {
            await subject.graph.closeAll();
            const node = await driver.open(place, { readOnly });
            subject = { ...subject, graph: node.graph, node };
            return node;
          };
          await test({ ...subject, place, seed, again });
          await subject.graph.closeAll();
        });
        expect(place.sim?.memory.liveBuffers ?? 0, 'buffers that were not given back').to.equal(0);
      } finally {
        await place.close();
      }
    });
  }

  behaves('is new', async ({ node, fresh, below, seed, again }) => {
    expect(node.length).to.equal(size);
    await expectContent(node, fresh);
    await expectAllHonest(node, below, seed);
    await expectContent(await again(true), fresh);
  });

  for (const seed of SEEDS) {
    behaves(
      `reads what was written, at any place and length (seed ${seed})`,
      async ({ node, fresh, below, again }) => {
        const { keeps, compressed } = capabilities;
        for (let part = 0; part < 3; part++) {
          await randomRun(node, fresh, { seed: seed * 10 + part, steps: 25, unit, keeps, compressed });
          await expectContent(node, fresh);
          await expectAllHonest(node, below, seed);
        }
        const opened = await again(true);
        await expectContent(opened, fresh);
        await expectAllHonest(opened, below, seed);
      },
      seed,
    );
  }

  behaves('refuses what lies outside', async ({ node, fresh }) => {
    const buffer = new Uint8Array(1024).fill(1);
    for (const offset of [size - 1023, size, 2 ** 52]) {
      expect(await codeOf(node.read(offset, buffer))).to.equal('out-of-bounds');
      expect(await codeOf(node.write(offset, buffer))).to.equal('out-of-bounds');
      expect(await codeOf(node.writeZeroes(offset, 1024))).to.equal('out-of-bounds');
      expect(await codeOf(node.discard(offset, 1024))).to.equal('out-of-bounds');
      expect(await codeOf(node.blockStatus(offset, 1024))).to.equal('out-of-bounds');
    }
    await expectContent(node, fresh);
  });

  behaves('zeroes the whole of it, and its first and last bytes', async ({ node, fresh, below, seed }) => {
    await node.write(0, fresh.fill(7));
    if (!capabilities.keeps) fresh.fill(0);
    await node.writeZeroes(0, 1);
    await node.writeZeroes(size - 1, 1);
    fresh[0] = fresh[size - 1] = 0;
    await expectContent(node, fresh);
    await node.writeZeroes(0, size, { mayUnmap: true });
    await expectContent(node, fresh.fill(0));
    await expectAllHonest(node, below, seed);
    if (capabilities.zeroStatus) expect(bytesOf(await statusRuns(node), 'data')).to.be.at.most(2 * PAGE);
  });

  behaves('may be discarded as a whole', async ({ node, fresh, below, seed, again }) => {
    await node.write(0, fresh.fill(7));
    await node.discard(0, size);
    const content = await contentOf(node);
    expect(content.findIndex((byte) => byte !== 0 && byte !== 7)).to.equal(-1);
    await expectAllHonest(node, below, seed);
    await expectContent(await again(), content);
  });

  if (capabilities.zeroStatus && capabilities.keeps) {
    behaves('tells data from zeroes', async ({ node, below, seed }) => {
      await node.writeZeroes(0, size, { mayUnmap: true });
      const at = Math.floor(size / 2 / unit) * unit;
      await node.write(at, new Uint8Array(unit).fill(1));
      expect((await node.blockStatus(at, unit)).data).to.equal(true);
      expect(bytesOf(await statusRuns(node), 'data')).to.be.within(unit, unit + 3 * PAGE);
      await expectAllHonest(node, below, seed);
    });
  }

  if (capabilities.locate) {
    behaves('knows where plain data lies', async ({ node }) => {
      await node.write(0, new Uint8Array(size).fill(1));
      await node.flush();
      const place: Located = { file: null, offset: 0, guard: null };
      expect(node.locate(0, 512, false, place)).to.equal(true);
      const there = new Uint8Array(512);
      await place.file!.read(place.offset, there);
      place.guard?.release();
      expectSame(there, new Uint8Array(512).fill(1), 'located');
    });
  }

  for (const seed of SEEDS) {
    behaves(
      `keeps requests that run side by side apart (seed ${seed})`,
      async ({ node, fresh, below }) => {
        const random = new Random(seed, 9);
        const requests: Promise<void>[] = [];
        // Pieces that share clusters, and none of them a byte.
        for (let at = random.below(100); at < size; ) {
          const length = Math.min(size - at, random.between(1, Math.max(3000, Math.floor(size / 60))));
          const offset = at;
          if (random.chance(0.3)) {
            requests.push(node.writeZeroes(offset, length, { mayUnmap: random.chance(0.5) }));
            fresh.fill(0, offset, offset + length);
          } else {
            const bytes = new Uint8Array(length).fill(random.between(1, 255));
            requests.push(node.write(offset, bytes));
            fresh.set(bytes, offset);
          }
          at += length + random.pick([0, 0, 1, 700]);
          if (random.chance(0.1)) requests.push(node.flush());
        }
        await Promise.all(requests);
        if (!capabilities.keeps) fresh.fill(0);
        await expectContent(node, fresh);
        await expectAllHonest(node, below, seed);
      },
      seed,
    );

    behaves(
      `ends overlapping writes as one of them, sector by sector (seed ${seed})`,
      async ({ node, fresh, below, again }) => {
        const random = new Random(seed, 10);
        const allowed = Array.from({ length: size / 512 }, (_, sector) => new Set([fresh[sector * 512]]));
        const requests: Promise<void>[] = [];
        const area = Math.min(size / 512, Math.max(64, (3 * unit) / 512));
        for (let i = 0; i < 30; i++) {
          const first = random.below(area);
          const count = random.between(1, Math.min(area - first, 1 + Math.ceil(unit / 256)));
          const value = random.chance(0.2) ? 0 : i + 1;
          const [offset, length] = [first * 512, count * 512];
          requests.push(
            value === 0 ? node.writeZeroes(offset, length) : node.write(offset, new Uint8Array(length).fill(value)),
          );
          for (let sector = first; sector < first + count; sector++) allowed[sector].add(value);
        }
        await Promise.all(requests);
        const content = await contentOf(node);
        for (let sector = 0; sector < area; sector++) {
          const bytes = content.subarray(sector * 512, (sector + 1) * 512);
          if (allowed[sector].size === 1) continue;
          const whole = bytes.every((byte) => byte === bytes[0]);
          const old = Buffer.compare(bytes, fresh.subarray(sector * 512, (sector + 1) * 512)) === 0;
          expect(old || (whole && allowed[sector].has(bytes[0])) || !capabilities.keeps, `sector ${sector}`).to.equal(
            true,
          );
        }
        await expectAllHonest(node, below, seed);
        await expectContent(await again(true), content);
      },
      seed,
    );
  }

  behaves('answers reads beside writes with the old or the new', async ({ node, seed }) => {
    if (!capabilities.keeps) return;
    await node.write(0, new Uint8Array(size).fill(1));
    const random = new Random(seed, 11);
    const requests: Promise<void>[] = [];
    for (let i = 0; i < 20; i++) {
      const offset = random.below(size / 512) * 512;
      const bytes = Buffer.alloc(512, 0xee);
      requests.push(node.write(offset, new Uint8Array(512).fill(2)));
      requests.push(
        node.read(offset, bytes).then(() => {
          expect(bytes[0]).to.be.oneOf([1, 2]);
          expectSame(bytes, new Uint8Array(512).fill(bytes[0]), `sector at ${offset}`);
        }),
      );
    }
    await Promise.all(requests);
  });

  behaves('does not let a read see what is written elsewhere meanwhile', async ({ node }) => {
    if (!capabilities.keeps) return;
    const half = Math.floor(size / 2 / unit) * unit;
    for (let round = 0; round < 10; round++) {
      await node.write(0, new Uint8Array(half).fill(1));
      const pieces = Array.from({ length: 16 }, () => Buffer.alloc(64, 0xee));
      const reads = pieces.map((piece, i) => node.read(Math.floor((i * half) / 16), piece));
      // What is given back here could be taken again there.
      await node.discard(0, half);
      await node.flush();
      await node.flush();
      await node.write(half, new Uint8Array(size - half).fill(2));
      await Promise.all(reads);
      for (const piece of pieces) expect(piece[0]).to.be.oneOf([0, 1]);
      await node.writeZeroes(half, size - half, { mayUnmap: true });
      await node.flush();
    }
  });

  behaves('closes with requests under way: they are answered, and they last', async ({ node, graph, fresh, again }) => {
    const step = Math.floor(size / 8);
    const requests: Promise<void>[] = [];
    for (let i = 0; i < 8; i++) {
      fresh.fill(i + 1, i * step, (i + 1) * step);
      requests.push(node.write(i * step, fresh.slice(i * step, (i + 1) * step)));
    }
    requests.push(node.read(0, new Uint8Array(size)));
    const closing = graph.closeAll();
    expect(await codeOf(node.write(0, new Uint8Array(1)))).to.equal('closed');
    await Promise.all([closing, ...requests]);
    expect(await codeOf(node.read(0, new Uint8Array(1)))).to.equal('closed');
    if (!capabilities.keeps) fresh.fill(0);
    await expectContent(await again(), fresh);
  });

  behaves('is as it was after it is closed and opened, many times', async ({ fresh, again, below, seed }) => {
    for (let i = 0; i < 4; i++) {
      const node = await again();
      const offset = i * 700;
      const bytes = new Uint8Array(3000).fill(i + 1);
      await node.write(offset, bytes);
      if (capabilities.keeps) fresh.set(bytes, offset);
    }
    const node = await again(true);
    await expectContent(node, fresh);
    await expectAllHonest(node, below, seed);
  });

  behaves(
    'that is opened read-only refuses every change and changes no byte of its file',
    async ({ again, place, fresh }) => {
      const node = await again(true);
      const before = place.sim?.exists('/a') ? place.sim.readFile('/a') : null;
      const refused = [
        node.write(0, new Uint8Array(512)),
        node.writeZeroes(0, 512),
        node.discard(0, 512),
        node.truncate(512),
        node.makeEmpty(),
      ];
      const format = formatOf(node);
      if (format !== null) refused.push(format.changeBackingFile(null, null));
      for (const request of refused) expect(await codeOf(request)).to.equal('read-only');
      await node.flush();
      await expectContent(node, fresh);
      await node.graph.closeAll();
      if (before !== null) expectSame(place.sim!.readFile('/a'), before, 'file');
    },
  );

  if (capabilities.reopen) {
    behaves('is reopened read-only and back', async ({ node, fresh, below, seed }) => {
      await node.write(100, new Uint8Array(5000).fill(9));
      if (capabilities.keeps) fresh.fill(9, 100, 5100);
      await reopenUsed(node, true);
      expect(node.readOnly).to.equal(true);
      expect(await codeOf(node.write(0, new Uint8Array(1)))).to.equal('read-only');
      await expectContent(node, fresh);
      await reopenUsed(node, false);
      await node.write(size - 3000, new Uint8Array(3000).fill(8));
      if (capabilities.keeps) fresh.fill(8, size - 3000);
      await expectContent(node, fresh);
      await expectAllHonest(node, below, seed);
    });

    behaves('is opened read-only and reopened for writing', async ({ again, fresh }) => {
      const node = await again(true);
      await reopenUsed(node, false);
      await node.write(0, new Uint8Array(1000).fill(5));
      if (capabilities.keeps) fresh.fill(5, 0, 1000);
      await expectContent(await again(true), fresh);
    });
  }

  if (capabilities.truncate > 0) {
    behaves(
      'grows with zeroes and shrinks, and what was cut off does not come back',
      async ({ node, fresh, below, seed, again }) => {
        await node.write(0, fresh.fill(3));
        const cut = Math.floor(size / 3 / 512) * 512;
        const grown = size + 5 * unit + 512;
        await node.truncate(cut);
        expect(node.length).to.equal(cut);
        await expectContent(node, fresh.subarray(0, cut));
        expect(await codeOf(node.read(cut, new Uint8Array(1)))).to.equal('out-of-bounds');
        await node.truncate(grown);
        const expected = new Uint8Array(grown);
        expected.set(fresh.subarray(0, cut));
        await expectContent(node, expected);
        await node.write(grown - 1000, new Uint8Array(1000).fill(4));
        expected.fill(4, grown - 1000);
        const opened = await again();
        await expectContent(opened, expected);
        await expectAllHonest(opened, below, seed);
      },
    );

    behaves('grows by little steps, and by none', async ({ node, fresh, below, seed }) => {
      for (const step of [0, 512, 1024, unit, 0, 3 * unit + 512]) {
        await node.truncate(node.length + step);
        await node.write(node.length - 1, Uint8Array.of(1));
      }
      await node.truncate(size);
      if (fresh.length > 0) fresh[size - 1] = 1;
      await expectContent(node, fresh);
      await expectAllHonest(node, below, seed);
    });

    behaves('shrinks to nothing and grows again', async ({ node, again, below, seed }) => {
      await node.write(0, new Uint8Array(size).fill(1));
      await node.truncate(0);
      expect(node.length).to.equal(0);
      await node.read(0, new Uint8Array(0));
      const opened = await again();
      expect(opened.length).to.equal(0);
      await opened.truncate(size);
      await expectContent(opened, new Uint8Array(size));
      await expectAllHonest(opened, below, seed);
    });
  } else {
    behaves('does not change its size', async ({ node }) => {
      expect(await codeOf(node.truncate(size + 512))).to.equal('unsupported');
      expect(node.length).to.equal(size);
    });
  }

  if (capabilities.makeEmpty) {
    behaves('is emptied: everything comes from below', async ({ node, below, again, seed }) => {
      await node.write(0, new Uint8Array(size).fill(6));
      await node.makeEmpty();
      await expectContent(node, below);
      expect(bytesOf(await statusRuns(node), 'allocated')).to.equal(0);
      const opened = await again();
      await expectContent(opened, below);
      await expectAllHonest(opened, below, seed);
    });
  } else {
    behaves('is not emptied', async ({ node, fresh }) => {
      expect(await codeOf(node.makeEmpty())).to.equal('unsupported');
      await expectContent(node, fresh);
    });
  }

  if (capabilities.backing) {
    behaves(
      'copies what it needs from below and leaves the backing image alone',
      async ({ node, fresh, below, seed, place }) => {
        const before = place.sim?.readFile('/base') ?? null;
        for (const offset of [1, Math.floor(size / 2), size - 2]) {
          await node.write(offset, Uint8Array.of(77));
          fresh[offset] = 77;
        }
        await expectContent(node, fresh);
        await expectAllHonest(node, below, seed);
        if (before !== null) expectSame(place.sim!.readFile('/base'), before, 'backing file');
      },
    );

    behaves('names no backing file any more after it was told so', async ({ node, again, fresh }) => {
      await node.write(0, fresh);
      await needFormat(node).changeBackingFile(null, null);
      const opened = needFormat(await again());
      expect([opened.children.has('backing'), opened.backingFile, opened.backingFormat]).to.deep.equal([
        false,
        null,
        null,
      ]);
      await expectContent(opened, fresh);
    });
  } else {
    behaves('has no backing node', async ({ node }) => {
      expect([node.children.has('backing'), backingFileOf(node)]).to.deep.equal([false, null]);
    });
  }

  if (capabilities.compressed > 0) {
    behaves('takes compressed clusters, and writes over parts of them', async ({ node, fresh, below, again, seed }) => {
      const bytes = new Uint8Array(3 * unit).fill(65);
      await node.write(unit, bytes.subarray(0, 2 * unit), { compressed: true });
      fresh.fill(65, unit, 3 * unit);
      await expectContent(node, fresh);
      expect((await node.blockStatus(unit, 1)).compressed).to.equal(true);
      await node.write(unit + 5, Uint8Array.of(1, 2, 3));
      fresh.set([1, 2, 3], unit + 5);
      await node.writeZeroes(2 * unit + 1, unit - 1);
      fresh.fill(0, 2 * unit + 1, 3 * unit);
      const opened = await again();
      await expectContent(opened, fresh);
      await expectAllHonest(opened, below, seed);
    });

    behaves('refuses a compressed write that is no whole cluster', async ({ node, fresh }) => {
      for (const [offset, length] of [
        [1, unit],
        [0, unit - 1],
        [unit, 1],
      ]) {
        const request = node.write(offset, new Uint8Array(length), { compressed: true });
        expect(await codeOf(request), `${offset}+${length}`).to.equal('unsupported');
      }
      await expectContent(node, fresh);
    });
  } else {
    behaves('refuses a compressed write, or takes none of it', async ({ node, fresh }) => {
      if (!capabilities.keeps || node.kind === 'protocol') return;
      const request = node.write(0, new Uint8Array(4096).fill(1), { compressed: true });
      expect(await codeOf(request)).to.equal('unsupported');
      await expectContent(node, fresh);
    });
  }

  if (kind.simulated && capabilities.keeps) {
    behaves('has after power loss what was flushed', async ({ node, fresh, place, seed }) => {
      await randomRun(node, fresh, { seed, steps: 20, unit, keeps: true, compressed: capabilities.compressed });
      await node.flush();
      const content = await contentOf(node);
      const sim = durable(place.sim!);
      const opened = await driver.open({ ...place, host: sim, sim });
      await expectContent(opened, content);
      await opened.graph.closeAll();
    });

    behaves('says that a flush failed', async ({ node, place }) => {
      await node.write(0, new Uint8Array(4096).fill(1));
      place.sim!.setFaults({ rules: [{ operations: ['flush'] }] });
      expect(await codeOf(node.flush())).to.equal('io');
      expect(await codeOf(node.graph.closeAll())).to.equal('io');
      place.sim!.setFaults({});
    });

    behaves('says that a read failed, and reads again', async ({ node, place, fresh }) => {
      await node.write(0, fresh.fill(1));
      place.sim!.setFaults({ rules: [{ operations: ['read'], times: 1, path: '/a' }] });
      expect(await codeOf(node.read(0, new Uint8Array(size)))).to.equal('io');
      await expectContent(node, fresh);
    });

    behaves('says that there is no room, and is what it was', async ({ node, place, fresh }) => {
      const writes = ['write', 'truncate', 'allocate', 'zeroRange', 'punchHole'] as const;
      place.sim!.setFaults({ rules: [{ operations: writes, errno: 'ENOSPC' }] });
      expect(await codeOf(node.write(0, new Uint8Array(4096).fill(1)))).to.equal('no-space');
      place.sim!.setFaults({});
      // The sectors of the failed write may have either.
      const content = await contentOf(node);
      expectSame(content.subarray(4096), fresh.subarray(4096), 'the rest');
      await node.write(0, fresh.fill(2));
      await expectContent(node, fresh);
    });
  }
}

function runsOn({ simulated, device }: PlaceKind, driver: DriverEntry): boolean {
  if (simulated) return driver.simulated;
  return device ? driver.onDevice !== null : driver.real;
}

for (const kind of PLACES) {
  for (const driver of [...DRIVERS, ...STACKS]) {
    if (!runsOn(kind, driver)) continue;
    describe(`${driver.name} (${kind.name})`, () => {
      before(function () {
        const lack = kind.lacks();
        if (lack !== null) leaveOut(this, lack);
      });
      conformance(kind, driver);
    });
  }
}
