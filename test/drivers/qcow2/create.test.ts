// New images: byte for byte the header that qemu-img makes, and options that cannot be.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createQcow2 } from '../../../src/drivers/formats/qcow2/create.js';
import type { Qcow2CreateOptions } from '../../../src/drivers/formats/qcow2/create-plan.js';
import { failureOf } from '../support.js';
import { type CreateOptions, createAt, findings, fresh, makeFixture, openAt, PATH } from './bench.js';

const MIB = 1 << 20;

/** Our options, and the same in qemu-img's words. */
const SAME: [string, CreateOptions, string][] = [
  ['defaults', { size: 100 * MIB }, ''],
  ['version 2', { size: 10 * MIB, version: 'v2' }, 'compat=0.10'],
  ['clusters of 512 bytes', { size: 10 * MIB, 'cluster-size': 512 }, 'cluster_size=512'],
  ['clusters of 8 KiB', { size: 10 * MIB, 'cluster-size': 8192 }, 'cluster_size=8192'],
  ['clusters of 2 MiB', { size: 10 * MIB, 'cluster-size': 2 * MIB }, 'cluster_size=2M'],
  ['refcounts of 1 bit', { size: 10 * MIB, 'refcount-bits': 1 }, 'refcount_bits=1'],
  ['refcounts of 64 bits', { size: 10 * MIB, 'refcount-bits': 64 }, 'refcount_bits=64'],
  ['zstd', { size: 10 * MIB, 'compression-type': 'zstd' }, 'compression_type=zstd'],
  ['a size that is no multiple of 512', { size: 1000 }, ''],
  ['no size at all', { size: 0 }, ''],
  [
    'a backing file',
    { size: 10 * MIB, 'backing-file': 'base.raw', 'backing-fmt': 'raw' },
    'backing_file=base.raw,backing_fmt=raw',
  ],
  ['lazy refcounts', { size: 10 * MIB, 'lazy-refcounts': true }, 'lazy_refcounts=on'],
  ['preallocated metadata', { size: 10 * MIB, preallocation: 'metadata' }, 'preallocation=metadata'],
];

const REFUSED: [string, Partial<Qcow2CreateOptions>, string, RegExp][] = [
  ['a cluster size that is no power of two', { clusterSize: 5000 }, 'invalid-argument', /Cluster size must be a power/],
  ['clusters of 256 bytes', { clusterSize: 256 }, 'invalid-argument', /between 512 and 2048k/],
  ['clusters of 4 MiB', { clusterSize: 4 * MIB }, 'invalid-argument', /between 512 and 2048k/],
  ['refcounts of 3 bits', { refcountBits: 3 }, 'invalid-argument', /Refcount width must be a power/],
  ['refcounts of 128 bits', { refcountBits: 128 }, 'invalid-argument', /may not exceed 64 bits/],
  ['8-bit refcounts in version 2', { compat: '0.10', refcountBits: 8 }, 'invalid-argument', /compatibility level 1.1/],
  ['zstd in version 2', { compat: 'v2', compressionType: 'zstd' }, 'invalid-argument', /Non-zlib compression/],
  ['a version that is not there', { compat: '3' }, 'invalid-argument', /does not accept value '3'/],
  ['preallocation over a backing file', { backingFile: 'a', preallocation: 'full' }, 'invalid-argument', /extended_l2/],
  ['a backing format without a file', { backingFormat: 'raw' }, 'invalid-argument', /without backing file/],
  ['a backing file name of 1024 bytes', { backingFile: 'x'.repeat(1024) }, 'invalid-argument', /too long/],
  ['a disk beyond the L1 limit', { size: 2 ** 52, clusterSize: 512 }, 'limit', /too large/],
  [
    'lazy refcounts in version 2',
    { lazyRefcounts: true, compat: 'v2' },
    'invalid-argument',
    /only supported with compatibility level 1.1/,
  ],
  [
    'extended L2 entries in small clusters',
    { extendedL2: true, clusterSize: 8192 },
    'invalid-argument',
    /at least 16384/,
  ],
  [
    'extended L2 entries in version 2',
    { extendedL2: true, compat: '0.10' },
    'invalid-argument',
    /compatibility level 1.1/,
  ],
  ['a data file in version 2', { dataFile: 'd', compat: 'v2' }, 'invalid-argument', /External data files are only/],
  ['a raw data file that is not there', { dataFileRaw: true }, 'invalid-argument', /requires data-file/],
  [
    'a raw data file over a backing file',
    { dataFile: 'd', dataFileRaw: true, backingFile: 'a', backingFormat: 'raw' },
    'invalid-argument',
    /cannot be used at the same time/,
  ],
];

describe('qcow2 create', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-create-'));
    writeFileSync(join(folder, 'base.raw'), Buffer.alloc(10 * MIB));
  });
  after(() => rmSync(folder, { recursive: true }));

  for (const [name, options, words] of SAME) {
    it(`makes the header that qemu-img makes: ${name}`, async () => {
      const fixture = makeFixture();
      await createAt(fixture, options);
      const theirs = join(folder, 'theirs.qcow2');
      const flags = words === '' ? [] : ['-o', words];
      execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', ...flags, theirs, String(options.size)], {
        cwd: folder,
      });
      const length = Math.min(4096, options['cluster-size'] ?? 65536);
      const ours = Buffer.from(fixture.host.readFile(PATH).subarray(0, length));
      expect(ours.toString('hex')).to.equal(readFileSync(theirs).subarray(0, length).toString('hex'));
      const mine = join(folder, 'ours.qcow2');
      writeFileSync(mine, fixture.host.readFile(PATH));
      execFileSync('qemu-img', ['check', '-q', mine]);
      expect(info(mine)).to.deep.equal(info(theirs));
    });
  }

  for (const [name, options, code, message] of REFUSED) {
    it(`refuses ${name}`, async () => {
      const fixture = makeFixture();
      await createAt(fixture, { size: 0 });
      const node = await openAt(fixture);
      const error = await failureOf(createQcow2(node.children.get('file')!, null, { size: 10 * MIB, ...options }));
      expect(error.code).to.equal(code);
      expect(error.message).to.match(message);
      await fixture.graph.closeAll();
    });
  }

  it('leaves no qcow2 image behind when the disk fails on the way', async () => {
    const fixture = makeFixture();
    fixture.host.writeFile(PATH, new Uint8Array(512));
    fixture.host.setFaults({ rules: [{ operations: ['flush'], errno: 'EIO' }] });
    expect((await failureOf(createAt(fixture, { size: 10 * MIB }))).code).to.equal('io');
    fixture.host.setFaults({});
    expect((await failureOf(openAt(fixture))).code).to.equal('invalid-image');
  });

  for (const preallocation of ['metadata', 'falloc', 'full'] as const) {
    it(`maps every cluster with preallocation=${preallocation}`, async () => {
      const { graph, node } = await fresh({ size: 3 * MIB, preallocation, 'cluster-size': 4096 });
      const status = await node.blockStatus(0, node.length);
      expect(status).to.include({ allocated: true, data: true, length: node.length });
      expect(await findings(node)).to.deep.equal([]);
      await graph.closeAll();
    });
  }
});

/** What qemu-img says, without what differs between any two files. */
function info(path: string): unknown {
  const text = execFileSync('qemu-img', ['info', '-U', '--output=json', path], { encoding: 'utf8' });
  const { filename, 'actual-size': size, children, ...rest } = JSON.parse(text);
  delete rest['full-backing-filename'];
  return rest;
}
