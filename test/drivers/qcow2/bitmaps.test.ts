// Persistent bitmaps that qemu-img made and qemu-io recorded in: what is read of them, what `info` says, and which are refused.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { findingText } from '../../../src/block/finding-text.js';
import { openNode } from '../../../src/block/open.js';
import { Random } from '../../../src/host/sim/index.js';
import { Workshop } from '../../support/cli.js';
import { requirePeer } from '../../support/peers.js';
import { failureOf, makeBench } from '../support.js';

const SIZE = (8 << 20) + 512;
const EXTENSION = 0x23852875;

/** Byte offsets of the structures in an image's file. */
function layout(image: Buffer) {
  const extension = image.indexOf(Buffer.from([0x23, 0x85, 0x28, 0x75]));
  expect(image.readUInt32BE(extension)).to.equal(EXTENSION);
  const directory = Number(image.readBigUInt64BE(extension + 24));
  return { extension, directory, table: Number(image.readBigUInt64BE(directory)) };
}

describe('qcow2: persistent bitmaps', function () {
  this.timeout(120_000);
  let shop: Workshop;
  /** Bitmaps: `auto` (64 KiB, records), `fine` (512 bytes, records), `off` (does not). */
  let image: Buffer;
  const writes: [number, number][] = [];

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'a.qcow2', String(SIZE));
    shop.must('qemu-img', 'bitmap', '--add', 'a.qcow2', 'auto');
    shop.must('qemu-img', 'bitmap', '--add', '-g', '512', 'a.qcow2', 'fine');
    shop.must('qemu-img', 'bitmap', '--add', '--disable', 'a.qcow2', 'off');
    const random = new Random(7, 7);
    for (let i = 0; i < 40; i++) {
      const offset = random.below(SIZE / 512) * 512;
      writes.push([offset, Math.min(SIZE - offset, random.between(1, 300) * 512)]);
    }
    writes.push([SIZE - 512, 512]);
    shop.must(
      'qemu-io',
      ...['-f', 'qcow2', ...writes.flatMap(([offset, length]) => ['-c', `write -q ${offset} ${length}`])],
      'a.qcow2',
    );
    const bytes = readFileSync(shop.path('a.qcow2'));
    // qemu-img may leave the last cluster short.
    image = Buffer.concat([bytes, Buffer.alloc(-bytes.length & 0xffff)]);
  });
  after(() => shop?.remove());

  /** Opens the image, changed by `edit`, on a simulated disk. */
  async function open(edit: (bytes: Buffer) => void = () => {}) {
    const { host, graph, warnings } = makeBench();
    const bytes = Buffer.from(image);
    edit(bytes);
    host.writeFile('/a.qcow2', bytes);
    return { node: await openNode(graph, '/a.qcow2', { format: 'qcow2', readOnly: true }), warnings };
  }

  it('are there with name, granularity, state and exactly the granules that were written', async () => {
    const { node } = await open();
    expect([...node.bitmaps.keys()]).to.deep.equal(['auto', 'fine', 'off']);
    for (const [name, granularity] of [
      ['auto', 65536],
      ['fine', 512],
    ] as const) {
      const bitmap = node.bitmaps.get(name)!;
      expect(bitmap).to.include({ granularity, size: SIZE, recording: true, persistent: true, inconsistent: false });
      for (let at = 0; at < SIZE; at += granularity) {
        const dirty = writes.some(([offset, length]) => offset < at + granularity && at < offset + length);
        if (bitmap.get(at) !== dirty) expect.fail(`${name} at ${at} is not ${dirty}`);
      }
    }
    expect(node.bitmaps.get('off')).to.include({ recording: false, dirtyBytes: 0 });
  });

  it('are there of backing nodes too', async () => {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'a.qcow2', '-F', 'qcow2', 'top.qcow2');
    const { host, graph } = makeBench();
    host.writeFile('/a.qcow2', image);
    host.writeFile('/top.qcow2', readFileSync(shop.path('top.qcow2')));
    const top = await openNode(graph, '/top.qcow2');
    expect([top.bitmaps.size, top.children.get('backing')!.node.bitmaps.size]).to.deep.equal([0, 3]);
  });

  it('are listed as qemu-img lists them', () => {
    for (const args of [
      ['info', 'a.qcow2'],
      ['info', '--output=json', 'a.qcow2'],
    ]) {
      const theirs = shop.qemuImg(...args);
      const ours = shop.ours(...args);
      expect(ours.stdout).to.equal(theirs.stdout);
      expect([ours.code, theirs.code]).to.deep.equal([0, 0]);
    }
  });

  it('count as used in the consistency check', async () => {
    const { node } = await open();
    const found: string[] = [];
    const { leaks, corruptions } = await node.abilities.check!((finding) => found.push(findingText(finding)));
    expect([leaks, corruptions], found.join('; ')).to.deep.equal([0, 0]);
  });

  it('mean nothing where they were in use', async () => {
    const { node } = await open((bytes) => {
      bytes[layout(bytes).directory + 15] = 3;
    });
    const bitmap = node.bitmaps.get('auto')!;
    expect(bitmap).to.include({ inconsistent: true, recording: false, dirtyBytes: 0 });
    expect(() => bitmap.checkUsable()).to.throw();
    expect(node.bitmaps.get('fine')!.dirtyBytes).to.be.greaterThan(0);
    expect((await node.abilities.check!(() => {})).leaks).to.equal(0);
  });

  it('are gone, with a warning, where somebody wrote who does not know them', async () => {
    const { node, warnings } = await open((bytes) => {
      bytes[95] = 0;
    });
    expect(node.bitmaps.size).to.equal(0);
    expect(warnings).to.deep.equal([
      'warning: a program lacking bitmap support modified this file, so all bitmaps are now considered inconsistent',
    ]);
  });

  it('may be all ones without a cluster', async () => {
    const { node } = await open((bytes) => bytes.writeBigUInt64BE(1n, layout(bytes).table));
    expect(node.bitmaps.get('auto')!.dirtyBytes).to.equal(Math.ceil(SIZE / 65536) * 65536);
  });

  const refusals: Record<string, [(bytes: Buffer, at: ReturnType<typeof layout>) => void, string, RegExp]> = {
    'no bitmaps': [(b, at) => b.writeUInt32BE(0, at.extension + 8), 'invalid-image', /with zero bitmaps$/],
    'too many bitmaps': [
      (b, at) => b.writeUInt32BE(65536, at.extension + 8),
      'invalid-image',
      /Image has 65536 bitmaps, exceeding/,
    ],
    'more than there are': [(b, at) => b.writeUInt32BE(4, at.extension + 8), 'invalid-image', /Less bitmaps found/],
    'fewer than there are': [(b, at) => b.writeUInt32BE(2, at.extension + 8), 'invalid-image', /More bitmaps found/],
    'a reserved field': [(b, at) => b.writeUInt32BE(1, at.extension + 12), 'invalid-image', /Reserved field/],
    'a directory that ends within an entry': [
      (b, at) => b.writeBigUInt64BE(104n, at.extension + 16),
      'invalid-image',
      /Broken bitmap directory$/,
    ],
    'a directory that is too large': [
      (b, at) => b.writeBigUInt64BE(1n << 40n, at.extension + 16),
      'invalid-image',
      /exceeds the maximum supported size/,
    ],
    'a directory that is not aligned': [
      (b, at) => b.writeBigUInt64BE(BigInt(at.directory + 8), at.extension + 24),
      'invalid-image',
      /directory offset$/,
    ],
    'a directory behind the end': [
      (b, at) => b.writeBigUInt64BE(1n << 62n, at.extension + 24),
      'invalid-image',
      /outside of the file$/,
    ],
    'a name of no bytes': [(b, at) => b.writeUInt16BE(0, at.directory + 18), 'invalid-image', /Broken|constraints/],
    'a name that is too long': [
      (b, at) => b.writeUInt16BE(1024, at.directory + 18),
      'invalid-image',
      /Broken|constraints/,
    ],
    'extra data without end': [
      (b, at) => b.writeUInt32BE(0xffffffff, at.directory + 20),
      'invalid-image',
      /Broken bitmap directory$/,
    ],
    'a type that is not known': [
      (b, at) => b.writeUInt8(2, at.directory + 16),
      'invalid-image',
      /'auto' doesn't satisfy/,
    ],
    'a granularity below 512': [
      (b, at) => b.writeUInt8(8, at.directory + 17),
      'invalid-image',
      /'auto' doesn't satisfy/,
    ],
    'a granularity above 2 GiB': [
      (b, at) => b.writeUInt8(63, at.directory + 17),
      'invalid-image',
      /'auto' doesn't satisfy/,
    ],
    'a flag that is not known': [
      (b, at) => b.writeUInt32BE(10, at.directory + 12),
      'invalid-image',
      /'auto' doesn't satisfy/,
    ],
    'a table that is too long': [
      (b, at) => b.writeUInt32BE(2, at.directory + 8),
      'invalid-image',
      /Could not read bitmap 'auto' from image: Invalid argument$/,
    ],
    'a table without end, in use': [
      (b, at) => {
        b.writeUInt32BE(0xffffffff, at.directory + 8);
        b.writeUInt32BE(1, at.directory + 12);
      },
      'invalid-image',
      /'auto' doesn't satisfy/,
    ],
    'a table that is not aligned': [
      (b, at) => b.writeBigUInt64BE(BigInt(at.table + 512), at.directory),
      'invalid-image',
      /'auto' doesn't satisfy/,
    ],
    'an entry with reserved bits': [
      (b, at) => b.writeUInt8(1, at.table),
      'invalid-image',
      /Could not read bitmap_table/,
    ],
    'an entry with an offset and a one': [
      (b, at) => b.writeUInt8(b.readUInt8(at.table + 7) | 1, at.table + 7),
      'invalid-image',
      /Could not read bitmap_table/,
    ],
    'two of one name': [
      (b, at) => {
        // `fine` has the second entry: 24 bytes and the name.
        b.write('auto', at.directory + 32 + 24);
      },
      'invalid-image',
      /Bitmap already exists: auto$/,
    ],
  };
  for (const [what, [edit, code, message]] of Object.entries(refusals)) {
    it(`are refused: ${what}`, async () => {
      const error = await failureOf(open((bytes) => edit(bytes, layout(bytes))));
      expect(error.code, error.message).to.equal(code);
      expect(error.message).to.match(message);
    });
  }

  it('are refused where many share what one file has', async () => {
    // As many bitmaps as fit a cluster, all with one table in use that fills the file.
    const error = await failureOf(
      open((bytes) => {
        const { extension, directory } = layout(bytes);
        const count = Math.floor(65536 / 32);
        const entries = Buffer.alloc(count * 32);
        for (let i = 0; i < count; i++) {
          const at = i * 32;
          entries.writeBigUInt64BE(65536n, at);
          entries.writeUInt32BE(8192 * 8, at + 8);
          entries.writeUInt32BE(1, at + 12);
          entries.writeUInt8(1, at + 16);
          entries.writeUInt8(16, at + 17);
          entries.writeUInt16BE(8, at + 18);
          entries.write(`n${String(i).padStart(7, '0')}`, at + 24);
        }
        entries.copy(bytes, directory);
        bytes.fill(0, 65536, 65536 * 9);
        bytes.writeUInt32BE(count, extension + 8);
        bytes.writeBigUInt64BE(BigInt(entries.length), extension + 16);
      }),
    );
    expect(error.code, error.message).to.equal('limit');
  });
});
