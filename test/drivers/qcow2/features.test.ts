// What an image says it needs: refused by name, or kept.

import { expect } from 'chai';
import { BlockError } from '../../../src/util/errors.js';
import { addStoredBitmap } from '../../../src/workspace/bitmap.js';
import { failureOf } from '../support.js';
import { again, createAt, type Fixture, fresh, makeFixture, openAt, PATH } from './bench.js';
import { repair } from './repairs.js';

const INCOMPATIBLE = 72;
const COMPATIBLE = 80;
const AUTOCLEAR = 88;

function word64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
}

function word32(value: number): Uint8Array {
  return word64(BigInt(value)).slice(4);
}

/** An extension with its header, as it stands in the file. */
function extension(type: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8 + Math.ceil(data.length / 8) * 8);
  bytes.set(word32(type));
  bytes.set(word32(data.length), 4);
  bytes.set(data, 8);
  return bytes;
}

async function patched(patches: [number, Uint8Array][]): Promise<Fixture> {
  const fixture = makeFixture();
  await createAt(fixture, { size: 1 << 20, 'cluster-size': 4096 });
  for (const [offset, bytes] of patches) fixture.host.patchFile(PATH, offset, bytes);
  return fixture;
}

const name = (type: number, bit: number, text: string): Uint8Array => {
  const bytes = new Uint8Array(48);
  bytes.set([type, bit]);
  bytes.set(Buffer.from(text), 2);
  return bytes;
};

interface Case {
  name: string;
  patches: [number, Uint8Array][];
  /** Error code for reading, null where it opens. */
  read: string | null;
  write: string | null;
  message: RegExp;
}

const CASES: Case[] = [
  {
    name: 'an external data file that nobody names',
    patches: [[INCOMPATIBLE, word64(4n)]],
    read: 'invalid-argument',
    write: 'invalid-argument',
    message: /'data-file' is required for this image/,
  },
  {
    name: 'extended L2 entries of clusters that are too small for them',
    patches: [[INCOMPATIBLE, word64(16n)]],
    read: 'invalid-image',
    write: 'invalid-image',
    message: /Unsupported subcluster size: \d+/,
  },
  {
    name: 'AES encryption without a password',
    patches: [[32, word32(1)]],
    read: 'invalid-argument',
    write: 'invalid-argument',
    message: /'encrypt.key-secret' is required/,
  },
  {
    name: 'an encryption that nobody knows',
    patches: [[32, word32(3)]],
    read: 'unsupported',
    write: 'unsupported',
    message: /Unsupported encryption method 3/,
  },
  {
    name: 'a snapshot table behind the end of the file',
    patches: [
      [60, word32(1)],
      [64, word64(1n << 40n)],
    ],
    read: 'invalid-image',
    write: 'invalid-image',
    message: /Snapshot table is outside of the file/,
  },
  {
    name: 'an unknown incompatible bit',
    patches: [[INCOMPATIBLE, word64(1n << 40n)]],
    read: 'unsupported',
    write: 'unsupported',
    message: /Unsupported qcow2 feature\(s\): Unknown incompatible feature: 10000000000/,
  },
  {
    name: 'an unknown incompatible bit that the image names',
    patches: [
      [INCOMPATIBLE, word64(1n << 40n)],
      [112, extension(0x6803f857, name(0, 40, 'time travel'))],
    ],
    read: 'unsupported',
    write: 'unsupported',
    message: /Unsupported qcow2 feature\(s\): time travel$/,
  },
  {
    name: 'the corrupt bit',
    patches: [[INCOMPATIBLE, word64(2n)]],
    read: null,
    write: 'corrupt-image',
    message: /Image is corrupt; cannot be opened read\/write/,
  },
  {
    name: 'lazy refcounts',
    patches: [[COMPATIBLE, word64(1n)]],
    read: null,
    write: null,
    message: /./,
  },
  {
    name: 'persistent bitmaps that somebody else left behind',
    patches: [[112, extension(0x23852875, new Uint8Array(24))]],
    read: null,
    write: null,
    message: /./,
  },
  {
    name: 'an unknown compression type',
    patches: [
      [INCOMPATIBLE, word64(8n)],
      [104, new Uint8Array([7])],
    ],
    read: 'unsupported',
    write: 'unsupported',
    message: /compression type: 7/,
  },
];

describe('qcow2 features', () => {
  for (const { name, patches, read, write, message } of CASES) {
    for (const [mode, code] of [
      ['reading', read],
      ['writing', write],
    ] as const) {
      it(`${code === null ? 'takes' : 'refuses'} ${name} for ${mode}`, async () => {
        const fixture = await patched(patches);
        const before = fixture.host.readFile(PATH);
        const opened = openAt(fixture, { readOnly: mode === 'reading' });
        if (code === null) {
          await opened;
        } else {
          const error = await failureOf(opened);
          expect(error.code).to.equal(code);
          expect(error.message).to.match(message);
        }
        await fixture.graph.closeAll();
        expect(Buffer.from(fixture.host.readFile(PATH)).equals(before), 'the file is untouched').to.equal(true);
      });
    }
  }

  it('ignores unknown compatible bits, and keeps them', async () => {
    const fixture = await patched([[COMPATIBLE, word64(1n << 9n)]]);
    const node = await openAt(fixture);
    await node.changeBackingFile('other.raw', 'raw');
    await fixture.graph.closeAll();
    expect(fixture.host.readFile(PATH, COMPATIBLE, 8)).to.deep.equal(word64(1n << 9n));
  });

  it('clears unknown autoclear bits when it repairs, and keeps the bitmaps', async () => {
    for (const kind of ['leaks', 'all'] as const) {
      const fixture = await fresh({ size: 1 << 20, 'cluster-size': 4096 });
      await fixture.node.write(0, Buffer.alloc(4096, 1));
      await addStoredBitmap(fixture.node, 'kept', { granularity: 65536, persistent: true });
      await fixture.graph.closeAll();
      const { host } = fixture;
      host.patchFile(PATH, AUTOCLEAR, word64(0x81n));
      // A refcount of a cluster that nothing refers to.
      host.patchFile(PATH, 8192 + 2 * 100, new Uint8Array([0, 1]));
      expect(await repair(host, kind)).to.deep.equal([]);
      expect(Buffer.from(host.readFile(PATH)).readBigUInt64BE(AUTOCLEAR), kind).to.equal(1n);
      const node = await again(fixture);
      expect([...node.bitmaps.keys()], kind).to.deep.equal(['kept']);
      await fixture.graph.closeAll();
    }
  });

  it('clears unknown autoclear bits when it opens for writing, not for reading', async () => {
    const fixture = await patched([[AUTOCLEAR, word64(1n << 9n)]]);
    await openAt(fixture, { readOnly: true });
    expect(fixture.host.readFile(PATH, AUTOCLEAR, 8)).to.deep.equal(word64(1n << 9n));
    await again(fixture, {});
    expect(fixture.host.durableFile(PATH).slice(AUTOCLEAR, AUTOCLEAR + 8)).to.deep.equal(word64(0n));
    await fixture.graph.closeAll();
  });

  it('keeps unknown header extensions byte for byte when the backing file changes', async () => {
    const data = new Uint8Array(40).map((_, i) => i + 1);
    const own = extension(0x12345678, data);
    const fixture = await patched([[112, own]]);
    let node = await openAt(fixture);
    for (const [file, format] of [
      ['a-rather-long-name.qcow2', 'qcow2'],
      ['b', 'raw'],
      [null, null],
      ['c', null],
    ] as const) {
      await node.changeBackingFile(file, format);
      node = await again(fixture, { backing: false });
      expect([node.backingFile, node.backingFormat]).to.deep.equal([file, format]);
      const header = Buffer.from(fixture.host.readFile(PATH, 0, 4096));
      expect(header.includes(Buffer.from(own)), `with ${file}`).to.equal(true);
    }
    await fixture.graph.closeAll();
  });

  it('has either the old or the new backing file at any power loss', async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const fixture = makeFixture({ seed });
      const { host } = fixture;
      await host.run(async () => {
        await createAt(fixture, { size: 1 << 20, 'backing-file': 'old-name.qcow2', 'backing-fmt': 'qcow2' });
      });
      const work = host.run(async () => {
        const node = await openAt(fixture, { backing: false });
        host.setFaults({ powerLossAt: host.requests + 1 + (seed % 6) });
        await node.changeBackingFile('a-new-and-longer-name.raw', 'raw');
        await fixture.graph.closeAll();
      });
      await work.catch((error: unknown) => {
        if (error instanceof BlockError) throw error;
      });
      const after = makeFixture();
      after.host.writeFile(PATH, host.crash().readFile(PATH));
      const node = await openAt(after, { readOnly: true, backing: false });
      const found = `${node.backingFile} ${node.backingFormat}`;
      expect(found, `seed ${seed}`).to.be.oneOf(['old-name.qcow2 qcow2', 'a-new-and-longer-name.raw raw']);
      await after.graph.closeAll();
    }
  });

  it('refuses a backing file name that does not fit into the header', async () => {
    const { graph, node } = await fresh({ size: 1 << 20, 'cluster-size': 512 });
    const error = await failureOf(node.changeBackingFile('x'.repeat(500), 'raw'));
    expect(error.code).to.equal('invalid-argument');
    expect(node.backingFile).to.equal(null);
    await graph.closeAll();
  });
});
