// Amending an image: each change, broken off at every I/O call by an error and by a power loss. The content stays, and the check finds leaks at worst.

import { expect } from 'chai';
import { Graph } from '../../../src/block/graph.js';
import { type SimHost, SimPowerLoss } from '../../../src/host/sim/index.js';
import { toBlockError } from '../../../src/util/errors.js';
import { type AmendOptions, amendImage } from '../../../src/workspace/amend.js';
import { repeats } from '../../support/sample.js';
import { failureOf } from '../support.js';
import {
  again,
  type CreateOptions,
  contentOf,
  createAt,
  type Fixture,
  findings,
  fresh,
  makeFixture,
  openAt,
  PATH,
} from './bench.js';

const KIB = 1024;
const SIZE = 96 * KIB;
const BASE = '/base.raw';
/** Each so-many-th request is broken off. */
const STRIDE = repeats(3, 1);
/** Of an image with snapshots, which takes many. */
const LONG_STRIDE = repeats(9, 1);

interface Case {
  title: string;
  create: Partial<CreateOptions>;
  /** There are internal snapshots, with zero clusters of their own and some that they share with each other and the disk. */
  snapshots?: boolean;
  options: AmendOptions;
  /** What the image says of itself afterwards. */
  after: Record<string, unknown>;
}

const SMALL = { 'cluster-size': 512 } as const;

const CASES: Case[] = [
  {
    title: 'to version 2, of zero clusters over a backing file',
    create: { ...SMALL, 'backing-file': BASE, 'backing-fmt': 'raw' },
    options: { version: 'v2' },
    after: { compat: '0.10', 'refcount-bits': 16 },
  },
  { title: 'to version 2, without a backing file', create: {}, options: { version: 'v2' }, after: { compat: '0.10' } },
  {
    title: 'to version 2, of snapshots over a backing file',
    create: { 'cluster-size': 1024, 'backing-file': BASE, 'backing-fmt': 'raw' },
    snapshots: true,
    options: { version: 'v2' },
    after: { compat: '0.10' },
  },
  {
    title: 'to version 2, of snapshots with wide refcounts, without a backing file',
    create: { 'cluster-size': 2048, 'refcount-bits': 64 },
    snapshots: true,
    options: { version: 'v2', 'refcount-bits': 16 },
    after: { compat: '0.10', 'refcount-bits': 16 },
  },
  {
    title: 'to version 3',
    create: { version: 'v2', 'cluster-size': 16384, 'backing-file': BASE, 'backing-fmt': 'raw' },
    options: { version: 'v3' },
    after: { compat: '1.1', 'lazy-refcounts': false },
  },
  {
    title: 'to refcounts of 64 bits',
    create: { ...SMALL, 'refcount-bits': 4 },
    options: { 'refcount-bits': 64 },
    after: { 'refcount-bits': 64 },
  },
  {
    title: 'to refcounts of 8 bits',
    create: { ...SMALL, 'refcount-bits': 64 },
    options: { 'refcount-bits': 8 },
    after: { 'refcount-bits': 8 },
  },
  {
    title: 'to version 3 with narrow refcounts and another size',
    create: { version: 'v2', 'cluster-size': 4096 },
    options: { version: 'v3', 'refcount-bits': 8, size: 2 * SIZE },
    after: { compat: '1.1', 'refcount-bits': 8 },
  },
  {
    title: 'to a larger size, of a raw data file',
    create: { 'cluster-size': 4096, 'data-file': { driver: 'file', filename: '/data' }, 'data-file-raw': true },
    options: { size: 2 * SIZE },
    after: { 'data-file-raw': true },
  },
  {
    title: 'to a smaller size, of a data file',
    create: { 'cluster-size': 4096, 'data-file': { driver: 'file', filename: '/data' } },
    options: { size: 35 * KIB },
    after: { 'data-file-raw': false },
  },
  { title: 'to a smaller size', create: SMALL, options: { size: 35 * KIB }, after: {} },
  {
    title: 'the name of the data file',
    create: { 'cluster-size': 4096, 'data-file': { driver: 'file', filename: '/data' }, 'data-file-raw': true },
    options: { 'data-file': '/./data', 'data-file-raw': false },
    after: { 'data-file': '/./data', 'data-file-raw': false },
  },
];

interface Made {
  host: SimHost;
  content: Uint8Array;
  /** Of each snapshot, by its ID. */
  held: ReadonlyMap<string, Uint8Array>;
}

/** An image with every kind of cluster that it can have. */
async function make(create: Partial<CreateOptions>, snapshots = false): Promise<Made> {
  const fixture = makeFixture();
  fixture.host.writeFile(BASE, Buffer.alloc(SIZE - 10 * KIB, 99));
  await createAt(fixture, { size: SIZE, ...create });
  const node = await openAt(fixture);
  await node.write(0, Buffer.alloc(30 * KIB, 1));
  await node.write(60 * KIB, Buffer.alloc(3 * KIB, 2));
  const packs = create['data-file'] === undefined && (create['cluster-size'] ?? 65536) <= 16384;
  if (packs) await node.write(32 * KIB, Buffer.alloc(16 * KIB, 3), { compressed: true });
  await node.writeZeroes(16 * KIB, 2 * KIB);
  await node.writeZeroes(64 * KIB, 2 * KIB);
  await node.writeZeroes(SIZE - 3 * KIB, 3 * KIB, { mayUnmap: true });
  await node.discard(0, 4 * KIB);
  const held = new Map<string, Uint8Array>();
  const keep = async (): Promise<void> => {
    const { id } = await node.abilities.snapshots!.create({ name: 'kept' });
    held.set(id, await contentOf(node));
  };
  if (snapshots) {
    await keep();
    await node.writeZeroes(20 * KIB, 20 * KIB);
    await node.write(64 * KIB, Buffer.alloc(KIB, 4));
    await keep();
    await keep();
    await node.abilities.snapshots!.writeVmState(0, Buffer.alloc(5 * KIB, 6));
    await node.abilities.snapshots!.create({ name: 'machine', vmStateSize: 5 * KIB });
    held.set('4', await contentOf(node));
    await node.writeZeroes(70 * KIB, 3 * KIB, { mayUnmap: true });
    await node.write(SIZE - 2 * KIB, Buffer.alloc(KIB, 5));
  }
  const content = await contentOf(node);
  await fixture.graph.closeAll();
  return { host: fixture.host, content, held };
}

function on(host: SimHost): Fixture {
  return { host, graph: new Graph(host) };
}

/**
 * Opens the image on `host`, which must be sound and hold `content`, but for what a smaller size cuts: that may be gone already, and read as zeroes. Resolves
 * with its details.
 */
async function inspect(
  host: SimHost,
  { content, held }: Pick<Made, 'content' | 'held'>,
  what: string,
  { size = SIZE }: AmendOptions,
): Promise<Record<string, unknown>> {
  const fixture = on(host);
  return host.run(async () => {
    const node = await openAt(fixture, { readOnly: true });
    const bad = (await findings(node)).filter((line) => !line.startsWith('Leaked'));
    expect(bad.join('; ').slice(0, 500), what).to.equal('');
    const now = await contentOf(node);
    const kept = Math.min(size, SIZE);
    expect(now.length, `${what}: size`).to.be.oneOf([SIZE, size]);
    for (const [at, byte] of now.entries()) {
      const before = content[at] ?? 0;
      if (byte !== before && (at < kept || byte !== 0)) expect.fail(`${what}: ${byte} at ${at}, and not ${before}`);
    }
    const { data } = node.abilities.details!().specific! as { data: { 'data-file-raw'?: boolean } };
    if (data['data-file-raw']) {
      const raw = host.readFile('/data');
      expect(Buffer.from(raw.subarray(0, kept)).equals(now.subarray(0, kept)), `${what}: data file`).to.equal(true);
    }
    await fixture.graph.closeAll();
    for (const [id, expected] of held) {
      const one = on(host);
      const shown = await openAt(one, { readOnly: true });
      await shown.abilities.snapshots!.show(id);
      expect(Buffer.from(expected).equals(await contentOf(shown)), `${what}: snapshot ${id}`).to.equal(true);
      await one.graph.closeAll();
    }
    return { ...data };
  });
}

async function amendOn(host: SimHost, options: AmendOptions): Promise<void> {
  const fixture = on(host);
  const node = await openAt(fixture);
  try {
    await amendImage(node, options);
  } finally {
    await fixture.graph.closeAll();
  }
}

describe('qcow2 amend', function () {
  this.timeout(60_000);

  for (const { title, create, snapshots, options, after } of CASES) {
    it(`changes ${title}`, async () => {
      const made = await make(create, snapshots);
      const { host } = made;
      await host.run(() => amendOn(host, options));
      expect(await inspect(host.crash({ eager: true }), made, 'afterwards', options)).to.include(after);
    });

    it(`may be broken off at every I/O call: ${title}`, async () => {
      const made = await make(create, snapshots);
      const calls: Record<string, readonly string[]> = {
        EIO: ['read', 'write', 'flush', 'truncate', 'allocate'],
        ENOSPC: ['write', 'truncate', 'allocate'],
      };
      for (const [errno, operations] of Object.entries(calls)) {
        for (let n = 1, hit = true; hit; n += snapshots ? LONG_STRIDE : STRIDE) {
          const what = `${errno} at call ${n}`;
          let seen = 0;
          hit = false;
          const host = made.host.fork({
            onRequest: ({ operation }) => {
              if (!operations.includes(operation) || ++seen !== n) return undefined;
              hit = true;
              return { errno };
            },
          });
          const error = await host.run(() => amendOn(host, options)).then(() => null, toBlockError);
          if (error !== null) expect(error.code, `${what}: ${error.message}`).to.be.oneOf(['io', 'no-space']);
          const details = await inspect(host.fork(), made, what, options);
          if (error === null) expect(details, `${what} told nobody`).to.include(after);
        }
      }
    });

    it(`may lose power at every request: ${title}`, async () => {
      const made = await make(create, snapshots);
      for (let n = 1; ; n += snapshots ? LONG_STRIDE : STRIDE) {
        const host = made.host.fork({ seed: n * 7 });
        host.setFaults({ powerLossAt: host.requests + n });
        const lost = await host
          .run(() => amendOn(host, options))
          .then(
            () => false,
            (error: unknown) => {
              if (error instanceof SimPowerLoss) return true;
              throw error;
            },
          );
        if (!lost) break;
        await inspect(host.crash({ eager: true }), made, `power loss at request ${n}`, options);
      }
    });
  }

  it('refuses all before anything is touched', async () => {
    const refused: [Partial<CreateOptions>, AmendOptions, RegExp][] = [
      [{}, { 'refcount-bits': 3 }, /power of two/],
      [{ 'refcount-bits': 8 }, { version: 'v2' }, /compat=0.10 requires refcount_bits=16/],
      [{ version: 'v2' }, { 'refcount-bits': 8 }, /require compatibility level 1.1/],
      [{ version: 'v2' }, { 'lazy-refcounts': true }, /Lazy refcounts only supported/],
      [
        { 'cluster-size': 4096 },
        { 'refcount-bits': 1, size: 2 * SIZE },
        /Cluster at offset 0x\w+ has a refcount of \d/,
      ],
      [{}, { version: 'v3', size: 1000 }, /multiple of 512/],
      [{ 'cluster-size': 512 }, { 'refcount-bits': 64, size: 2 ** 50 }, /Failed to grow the L1 table/],
      [{}, { 'data-file': 'x' }, /external data file/],
      [{}, { 'data-file-raw': true }, /cannot be set on existing images/],
      [
        { 'data-file': { driver: 'file', filename: '/data' } },
        { version: 'v2' },
        /Cannot downgrade an image with a data file/,
      ],
      [{ 'compression-type': 'zstd' }, { version: 'v2' }, /incompatible features 0x8 set/],
      [{}, { 'backing-file': 'x' }, /Cannot amend the backing file/],
    ];
    for (const [create, options, message] of refused) {
      const { host } = await make(create);
      const stored = host.readFile(PATH);
      const fixture = on(host);
      const error = await failureOf(amendImage(await openAt(fixture), options));
      expect(error.message).to.match(message);
      await fixture.graph.closeAll();
      expect(Buffer.from(host.readFile(PATH)).equals(stored), `${message}: the file is untouched`).to.equal(true);
    }
  });

  it('gives snapshots of version 2 the fields that version 3 demands', async () => {
    const { host, node } = await fresh({ size: SIZE, version: 'v2', 'cluster-size': 4096 });
    await node.write(0, Buffer.alloc(KIB, 1));
    await node.abilities.snapshots!.create({ name: 'n' });
    await node.graph.closeAll();
    // Old programs write no extra data.
    const file = Buffer.from(host.readFile(PATH));
    const table = Number(file.readBigUInt64BE(64));
    const entry = file.subarray(table, table + 100);
    const texts = Buffer.from(entry.subarray(40 + entry.readUInt32BE(36)));
    entry.writeUInt32BE(0, 36);
    texts.copy(entry, 40);
    host.writeFile(PATH, file);
    const fixture = on(host);
    const amended = await openAt(fixture);
    await amendImage(amended, { version: 'v3' });
    expect(await findings(await again(fixture))).to.deep.equal([]);
    const changed = Buffer.from(host.readFile(PATH));
    const place = Number(changed.readBigUInt64BE(64));
    expect(place).to.not.equal(table);
    expect(changed.readUInt32BE(place + 36)).to.equal(16);
    expect(Number(changed.readBigUInt64BE(place + 48))).to.equal(SIZE);
  });

  it('finds a place for wide refcounts of many small clusters, next to what is there', async () => {
    const fixture = await fresh({ size: 16 << 20, 'cluster-size': 512, preallocation: 'metadata' });
    const { host, node } = fixture;
    const before = host.fileSize(PATH);
    await amendImage(node, { 'refcount-bits': 64 });
    const reopened = await again(fixture);
    expect(await findings(reopened)).to.deep.equal([]);
    // One cluster in 64 counts the others.
    expect(host.fileSize(PATH)).to.be.below(before * 1.05);
  });
});
