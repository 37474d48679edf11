// Salvage of images whose header is lost or wrong: the tables are found by their shape, and what had to be assumed is said.

import { expect } from 'chai';
import { Random } from '../../../src/host/sim/index.js';
import type { SalvageSettings } from '../../../src/library/options.js';
import { Workspace } from '../../../src/library/workspace.js';
import { createAt, makeFixture, openAt, PATH } from './bench.js';
import { type Kind, listed, makeSubject, Places, type Subject, salvage } from './salvage-kit.js';

const KiB = 1024;

describe('qcow2 salvage without a header', () => {
  const KINDS: Kind[] = [
    { clusterSize: 512, size: 300 * KiB },
    { clusterSize: 1 * KiB, size: 512 * KiB, version: 'v2' },
    { clusterSize: 4 * KiB, size: 1024 * KiB, snapshot: true },
    { clusterSize: 16 * KiB, size: 1024 * KiB, extended: true },
    { clusterSize: 64 * KiB, size: 2048 * KiB, compression: 'zstd' },
  ];
  const subjects: Subject[] = [];
  before(async () => {
    for (const kind of KINDS) subjects.push(await makeSubject(kind, new Random(3)));
  });
  after(async () => {
    for (const { workspace } of subjects) await workspace.close();
  });

  /** Salvages each image after `damage`; all of it must be there. */
  const each = async (
    damage: (at: Places) => void,
    settings: (subject: Subject, at: Places) => SalvageSettings,
    check: (assumptions: string[], at: Places, kind: Kind) => void,
  ): Promise<void> => {
    for (const one of subjects) {
      const origin = new Places(one.file);
      const damaged = new Places(Buffer.from(one.file));
      damage(damaged);
      const { report } = await salvage(one, damaged.file, { settings: settings(one, origin) }).catch((error) => {
        throw new Error(`${JSON.stringify(one.kind)}: ${error}`);
      });
      expect([report.lost, report.doubtful], JSON.stringify(one.kind)).to.deep.equal([[], []]);
      expect(report.clusterSize).to.equal(one.kind.clusterSize);
      check(report.assumptions, origin, one.kind);
    }
  };

  it('finds cluster size, L1 table and the end of the disk, where the first cluster is lost', async () => {
    await each(
      (at) => at.file.fill(0, 0, at.clusterSize),
      () => ({}),
      (assumptions, at) => {
        expect(assumptions.join('\n')).to.contain('no qcow2 header');
        expect(assumptions.join('\n')).to.contain(`The L1 table is the one at ${at.l1}`);
        expect(assumptions.join('\n')).to.contain('its tables describe no more');
      },
    );
  });

  it('takes the word of a person for what it would have to assume', async () => {
    await each(
      (at) => at.file.fill(0xa5, 0, at.clusterSize),
      ({ kind }, at) => ({ clusterSize: kind.clusterSize, size: kind.size, l1Offset: at.l1 }),
      (assumptions, _, kind) => expect(assumptions.length).to.equal(kind.extended ? 2 : 1),
    );
  });

  it('finds the L1 table where the header has a wrong place for it', async () => {
    for (const place of [1n << 48n, 512n + 8n, 0n]) {
      await each(
        (at) => at.put(40, place),
        () => ({}),
        (assumptions, at) => expect(assumptions).to.deep.equal([`The L1 table is the one at ${at.l1}, by its shape.`]),
      );
    }
  });

  it('finds the L1 table where the header leads to something else', async () => {
    await each(
      // The refcount table, whose entries lead to no L2 tables.
      (at) => at.put(40, at.file.readBigUInt64BE(48)),
      () => ({}),
      (assumptions, at) => expect(assumptions).to.deep.equal([`The L1 table is the one at ${at.l1}, by its shape.`]),
    );
  });

  it('finds the cluster size where that of the header does not fit', async () => {
    for (const bits of [9, 12, 15, 18, 21, 22, 0]) {
      await each(
        (at) => at.file.writeUInt32BE(bits, 20),
        () => ({}),
        () => undefined,
      );
    }
  });

  it('judges each other field of the header alone', async () => {
    const fields: [string, (at: Places) => void][] = [
      ['dirty', (at) => at.file.writeUInt8(at.file[79] | 1, 79)],
      ['corrupt', (at) => at.file.writeUInt8(at.file[79] | 2, 79)],
      ['unknown feature', (at) => at.file.writeUInt8(0x80, 72)],
      ['refcount order', (at) => at.file.writeUInt32BE(99, 96)],
      ['header length', (at) => at.file.writeUInt32BE(0xffff_fff1, 100)],
      ['refcount table', (at) => at.put(48, 3n)],
      ['length of the L1 table', (at) => at.file.writeUInt32BE(0xff01, 36)],
      ['length of the refcount table', (at) => at.file.writeUInt32BE(100, 56)],
      ['snapshots', (at) => at.file.writeUInt32BE(0xffff_ffff, 60)],
      ['autoclear', (at) => at.put(88, 0xff00_0000_0000_0000n)],
    ];
    for (const [name, damage] of fields) {
      for (const one of subjects.slice(0, 4)) {
        if (one.kind.version === 'v2') continue;
        const at = new Places(Buffer.from(one.file));
        damage(at);
        const { report } = await salvage(one, at.file);
        expect([listed(report.lost), listed(report.doubtful)], name).to.deep.equal([[], []]);
      }
    }
  });

  it('takes the size that fits the tables', async () => {
    for (const one of subjects.slice(0, 3)) {
      const at = new Places(Buffer.from(one.file));
      at.put(24, 1n << 60n);
      const large = await salvage(one, at.file);
      expect(large.report.assumptions.length).to.be.greaterThan(0);
      expect(large.report.size).to.be.within(one.kind.size, one.kind.size + at.span);
      at.put(24, BigInt(one.kind.size));
      at.file.writeUInt32BE(0, 36);
      const short = await salvage(one, at.file);
      expect([short.report.size, short.report.lost]).to.deep.equal([one.kind.size, []]);
    }
  });
});

describe('qcow2 salvage with a right header', () => {
  it('takes the L1 table that it names, where all tables of that lead to zeroes', async () => {
    const size = 8 << 20;
    const fixture = makeFixture();
    fixture.host.writeFile('/base.raw', Buffer.alloc(size, 0xbb));
    const backing = { 'backing-file': 'base.raw', 'backing-fmt': 'raw' as const };
    await createAt(fixture, { size, 'cluster-size': 512, ...backing });
    const node = await openAt(fixture);
    await node.writeZeroes(5 << 20, 512);
    await fixture.graph.closeAll();
    await using workspace = new Workspace(fixture.host);
    const { lost, assumptions } = await workspace.salvage(PATH, '/saved.raw');
    expect([lost, assumptions]).to.deep.equal([[], []]);
    const expected = Buffer.alloc(size, 0xbb).fill(0, 5 << 20, (5 << 20) + 512);
    expect(Buffer.compare(fixture.host.readFile('/saved.raw'), expected)).to.equal(0);
  });
});
