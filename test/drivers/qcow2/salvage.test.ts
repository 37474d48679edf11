// Salvage of images that are damaged at one known place: what is lost is exactly what the damage takes, and everything else reads as before.

import { expect } from 'chai';
import { Random } from '../../../src/host/sim/index.js';
import { failureOf } from '../support.js';
import { BACKING, IMAGE, type Kind, listed, makeSubject, Places, type Subject, salvage } from './salvage-kit.js';

const KiB = 1024;
const COPIED = 1n << 63n;

describe('qcow2 salvage', () => {
  const subjects = new Map<string, Subject>();
  const subject = async (kind: Kind, seed = 1): Promise<Subject> => {
    const name = JSON.stringify([kind, seed]);
    const known = subjects.get(name) ?? (await makeSubject(kind, new Random(seed)));
    subjects.set(name, known);
    return known;
  };
  const SMALL: Kind = { clusterSize: 1 * KiB, size: 512 * KiB };
  /** A copy of the image's file, to be damaged. */
  const copyOf = ({ file }: Subject): Places => new Places(Buffer.from(file));
  after(async () => {
    for (const { workspace } of subjects.values()) await workspace.close();
  });

  const KINDS: Kind[] = [
    SMALL,
    { clusterSize: 512, size: 300 * KiB, version: 'v2' },
    { clusterSize: 4 * KiB, size: 600 * KiB, refcountBits: 1 },
    { clusterSize: 2 * KiB, size: 700 * KiB, refcountBits: 64, backing: true },
    { clusterSize: 16 * KiB, size: 1024 * KiB, extended: true },
    { clusterSize: 16 * KiB, size: 1024 * KiB, extended: true, backing: true, snapshot: true },
    { clusterSize: 64 * KiB, size: 2048 * KiB, compression: 'zstd' },
    { clusterSize: 1 * KiB, size: 512 * KiB, snapshot: true },
    { clusterSize: 4 * KiB, size: 1024 * KiB, dataFile: true },
    { clusterSize: 4 * KiB, size: 1024 * KiB, dataFile: true, raw: true },
  ];
  for (const kind of KINDS) {
    it(`reads all of an image without damage: ${JSON.stringify(kind)}`, async () => {
      const one = await subject(kind);
      const { report } = await salvage(one, one.file);
      expect(listed(report.lost)).to.deep.equal([]);
      expect(listed(report.doubtful)).to.deep.equal([]);
      expect([report.orphans, report.assumptions, report.notes]).to.deep.equal([[], [], []]);
      expect(report.unreferencedClusters).to.be.oneOf([0, null]);
    });
  }

  for (const kind of [SMALL, KINDS[4], KINDS[5]]) {
    const name = kind.extended ? 'extended' : 'ordinary';
    const of = `(${name}${kind.backing ? ', backing file' : ''})`;

    it(`loses a cluster whose entry points beyond the file, is misaligned, or points into metadata ${of}`, async () => {
      const one = await subject(kind);
      const at = copyOf(one);
      const [a, b, c, d] = at.guests('data');
      at.put(at.entry(a)!, COPIED | (1n << 40n));
      at.put(at.entry(b)!, COPIED | BigInt(at.host(b) + 512));
      at.put(at.entry(c)!, COPIED | BigInt(at.l1));
      at.put(at.entry(d)!, COPIED | BigInt(at.l2(at.used[0])));
      const { report } = await salvage(one, at.file);
      const found = report.lost;
      /** Lost bytes of the cluster at `guest`. */
      const lostOf = (guest: number): number =>
        found.reduce((sum, { offset, length }) => {
          const end = Math.min(offset + length, guest + kind.clusterSize);
          return sum + Math.max(0, end - Math.max(offset, guest));
        }, 0);
      expect(new Set(found.map(({ reason }) => reason))).to.deep.equal(
        new Set(['beyond-end', 'bad-entry', 'in-metadata']),
      );
      expect([lostOf(a), lostOf(b)]).to.deep.equal([kind.clusterSize, kind.clusterSize]);
      // Of a cluster with subclusters, only those that are data lie in metadata.
      for (const guest of [c, d]) expect(lostOf(guest)).to.be.within(512, kind.clusterSize);
      expect(lostOf(a) + lostOf(b) + lostOf(c) + lostOf(d)).to.equal(report.lostBytes);
      expect(report.doubtful).to.deep.equal([]);
    });

    it(`loses what an L1 entry describes that leads to no table ${of}`, async () => {
      const one = await subject(kind);
      const [index] = copyOf(one).used;
      const at0 = copyOf(one);
      const length = Math.min(at0.span, kind.size - index * at0.span);
      const data = at0.host(at0.guests('data').at(-1)!);
      for (const [value, reason] of [
        [1n << 45n, 'table-beyond-end'],
        [BigInt(at0.l2(index) + 512), 'bad-table-entry'],
        [BigInt(at0.l1), 'table-overlap'],
        [BigInt(data), 'no-table'],
      ] as const) {
        const at = copyOf(one);
        at.put(at.l1 + 8 * index, COPIED | value);
        const { report } = await salvage(one, at.file);
        expect(listed(report.lost), reason).to.deep.equal([`${reason} ${index * at.span}+${length}`]);
        expect(report.orphans.map(({ hostOffset }) => hostOffset)).to.deep.equal([at0.l2(index)]);
      }
    });
  }

  it('places a table that nothing points to, where a person says so', async () => {
    const one = await subject(SMALL);
    const at = copyOf(one);
    const [index] = at.used;
    const table = at.l2(index);
    at.put(at.l1 + 8 * index, 0n);
    const lost = await salvage(one, at.file);
    expect(listed(lost.report.lost)).to.deep.equal([]);
    expect(
      lost.report.doubtful.some(({ offset, reason }) => offset === index * at.span && reason === 'table-missing'),
    ).to.equal(true);
    const { report } = await salvage(one, at.file, { settings: { tables: [{ guest: index * at.span, host: table }] } });
    expect([report.lost, report.doubtful, report.orphans]).to.deep.equal([[], [], []]);
  });

  it('needs no refcounts', async () => {
    for (const kind of [SMALL, KINDS[4]]) {
      const one = await subject(kind);
      for (const damage of ['table', 'blocks', 'pointer']) {
        const at = copyOf(one);
        const table = Number(at.file.readBigUInt64BE(48));
        if (damage === 'pointer') at.put(48, 1n << 50n);
        else if (damage === 'table') at.file.fill(0xee, table, table + at.clusterSize);
        else
          at.file.fill(
            0,
            Number(at.file.readBigUInt64BE(table)),
            Number(at.file.readBigUInt64BE(table)) + at.clusterSize,
          );
        const { report } = await salvage(one, at.file);
        expect([report.lost, report.doubtful, report.orphans], damage).to.deep.equal([[], [], []]);
        expect(report.notes).to.deep.equal(['The refcounts are not right. What is salvaged does not depend on them.']);
      }
    }
  });

  it('reads a cluster that two entries point to for both, and doubts it', async () => {
    const one = await subject(SMALL);
    const at = copyOf(one);
    const [a, b] = at.guests('data');
    at.put(at.entry(b)!, COPIED | BigInt(at.host(a)));
    const { report, saved } = await salvage(one, at.file);
    expect(report.lost).to.deep.equal([]);
    expect(listed(report.doubtful).join()).to.equal(
      b === a + 1024 ? `shared ${a}+2048` : `shared ${a}+1024,shared ${b}+1024`,
    );
    expect(saved.subarray(b, b + 1024).equals(one.content.subarray(a, a + 1024))).to.equal(true);
  });

  it('reads a table that two L1 entries point to for both, and doubts it; for a third one it is lost', async () => {
    const one = await subject({ clusterSize: 512, size: 300 * KiB, version: 'v2' });
    const at = copyOf(one);
    const [a, b, c] = at.used;
    at.put(at.l1 + 8 * b, COPIED | BigInt(at.l2(a)));
    at.put(at.l1 + 8 * c, COPIED | BigInt(at.l2(a)));
    const { report } = await salvage(one, at.file);
    expect(
      report.doubtful.filter(({ reason }) => reason === 'shared-table').map(({ offset }) => offset),
    ).to.have.members(b === a + 1 ? [a * at.span] : [a * at.span, b * at.span]);
    expect(report.lost.map(({ offset, reason }) => `${reason} ${offset}`)).to.deep.equal([
      `shared-table ${c * at.span}`,
    ]);
  });

  it('reads what an entry with reserved bits points to, and doubts it', async () => {
    const one = await subject(SMALL);
    const at = copyOf(one);
    const [guest] = at.guests('data');
    at.put(at.entry(guest)!, at.file.readBigUInt64BE(at.entry(guest)!) | (1n << 57n));
    const { report, saved } = await salvage(one, at.file);
    expect([report.lost, listed(report.doubtful)]).to.deep.equal([[], [`reserved-bits ${guest}+1024`]]);
    expect(saved.equals(one.content)).to.equal(true);
  });

  it('loses compressed clusters that do not inflate', async () => {
    for (const kind of [SMALL, KINDS[6], KINDS[4]]) {
      for (let seed = 1; ; seed++) {
        const one = await subject(kind, seed);
        const at = copyOf(one);
        const guest = at.guests('compressed').at(0);
        if (guest === undefined) continue;
        const entry = at.file.readBigUInt64BE(at.entry(guest)!);
        const offset = Number(entry & ((1n << BigInt(70 - Math.log2(kind.clusterSize))) - 1n));
        // A block of a reserved type, and no magic number of zstd.
        at.file.fill(0xff, offset, offset + 8);
        const { report } = await salvage(one, at.file);
        expect(listed(report.lost)).to.deep.equal([`undecodable ${guest}+${kind.clusterSize}`]);
        break;
      }
    }
  });

  it('reads compressed clusters by what they are, where the header is wrong about that', async () => {
    const one = await subject(KINDS[6]);
    const at = copyOf(one);
    at.file[104] = 0;
    const { report } = await salvage(one, at.file);
    expect([report.lost, report.doubtful]).to.deep.equal([[], []]);
  });

  it('reads a file that was cut off up to its end', async () => {
    for (const kind of [SMALL, KINDS[3], KINDS[4]]) {
      const one = await subject(kind);
      const at = copyOf(one);
      const cut = at.file.subarray(0, at.host(at.guests('data').at(-1)!) + 512);
      const { report } = await salvage(one, cut);
      expect(report.lost.length).to.be.greaterThan(0);
      for (const { reason } of report.lost) expect(reason).to.be.oneOf(['beyond-end', 'table-beyond-end']);
    }
  });

  it('reads around sectors that the medium cannot read, in data, in tables, in compressed data and in the header', async () => {
    for (const kind of [SMALL, KINDS[4]]) {
      const one = await subject(kind);
      const at = copyOf(one);
      const isWhole = (guest: number): boolean =>
        !kind.extended || at.file.readUInt32BE(at.entry(guest)! + 12) === 0xffff_ffff;
      const guest = at.guests('data').filter(isWhole).at(-1)!;
      const broken = (offset: number) => ({
        driver: 'qcow2' as const,
        file: {
          driver: 'blkdebug' as const,
          image: { driver: 'file' as const, filename: IMAGE },
          'inject-error': [{ event: 'none' as const, iotype: 'read' as const, sector: offset / 512, errno: 5 }],
        },
      });
      const sector = at.host(guest) + at.clusterSize - 512;
      const data = await salvage(one, at.file, { image: broken(sector) });
      const lost = data.report.lost.map(({ offset, length, reason, hostOffset }) => ({
        offset,
        length,
        reason,
        hostOffset,
      }));
      expect(lost).to.deep.equal([
        { offset: guest + at.clusterSize - 512, length: 512, reason: 'unreadable', hostOffset: sector },
      ]);
      const table = at.l2(at.used[0]);
      const perSector = (512 / at.entryBytes) * at.clusterSize;
      const tables = await salvage(one, at.file, { image: broken(table) });
      expect(listed(tables.report.lost)).to.deep.equal([`table-unreadable ${at.used[0] * at.span}+${perSector}`]);
      const l1 = await salvage(one, at.file, { image: broken(at.l1) });
      expect(listed(l1.report.lost)).to.deep.equal([`table-unreadable 0+${kind.size}`]);
      const header = await salvage(one, at.file, { image: broken(0), settings: { size: kind.size } });
      expect(listed(header.report.lost)).to.deep.equal([]);
      expect(header.report.assumptions[0]).to.contain('There is no qcow2 header');
    }
  });

  it('lists what is in a backing file that is not there, or not to be read', async () => {
    const one = await subject(KINDS[3]);
    const data = new Set(new Places(one.file).guests('data').concat(new Places(one.file).guests('compressed')));
    const left = await salvage(one, one.file, { settings: { source: { backing: false } } });
    const content = Buffer.from(one.host.readFile(BACKING));
    one.host.unlink(BACKING);
    const gone = await salvage(one, one.file);
    one.host.writeFile(BACKING, content);
    for (const { report } of [left, gone]) {
      expect(new Set(report.lost.map(({ reason }) => reason))).to.deep.equal(new Set(['in-backing-file']));
      for (const { offset, length } of report.lost) {
        for (let at = offset; at < offset + length; at += one.kind.clusterSize) expect(data.has(at)).to.equal(false);
      }
    }
    expect(gone.report.notes.join()).to.contain('base.raw');
    expect(left.report.lostBytes).to.equal(gone.report.lostBytes);
  });

  it('salvages an internal snapshot', async () => {
    for (const kind of [KINDS[7], KINDS[5]]) {
      const one = await subject(kind);
      const { report } = await salvage(one, one.file, { settings: { snapshot: 'before' }, expected: one.before });
      expect([report.lost, report.doubtful]).to.deep.equal([[], []]);
      const at = copyOf(one);
      at.put(40, 0n);
      const without = await salvage(one, at.file, { settings: { snapshot: { name: 'before' } }, expected: one.before });
      expect([without.report.lost, without.report.doubtful]).to.deep.equal([[], []]);
      expect((await failureOf(salvage(one, one.file, { settings: { snapshot: 'after' } }))).code).to.equal('not-found');
    }
  });

  it('loses the content of a data file that is not there; a raw one needs no tables', async () => {
    const one = await subject(KINDS[8]);
    const content = Buffer.from(one.host.readFile('/data.raw'));
    one.host.unlink('/data.raw');
    const { report } = await salvage(one, one.file);
    one.host.writeFile('/data.raw', content);
    expect(new Set(report.lost.map(({ reason }) => reason))).to.deep.equal(new Set(['no-data-file']));
    const raw = await subject(KINDS[9]);
    const at = copyOf(raw);
    at.file.fill(0xaa, at.l1, at.l1 + at.clusterSize);
    expect((await salvage(raw, at.file)).report.lost).to.deep.equal([]);
  });

  it('refuses what it cannot salvage, and hints that cannot be', async () => {
    const one = await subject(SMALL);
    const code = async (action: Promise<unknown>): Promise<string> => (await failureOf(action)).code;
    expect(await code(salvage(one, Buffer.alloc(64 * KiB, 5)))).to.equal('invalid-image');
    expect(await code(salvage(one, Buffer.alloc(0)))).to.equal('invalid-image');
    expect(await code(salvage(one, one.file, { settings: { clusterSize: 1000 } }))).to.equal('invalid-argument');
    expect(await code(salvage(one, one.file, { settings: { size: 1000 } }))).to.equal('invalid-argument');
    expect(await code(salvage(one, one.file, { settings: { l1Offset: 100 } }))).to.equal('invalid-argument');
    expect(await code(salvage(one, one.file, { settings: { source: { format: 'raw' } } }))).to.equal('unsupported');
    expect(await code(one.workspace.salvage(IMAGE, IMAGE, 'raw'))).to.equal('locked');
    expect(Buffer.from(one.host.readFile(IMAGE)).equals(one.file)).to.equal(true);
  });
});
