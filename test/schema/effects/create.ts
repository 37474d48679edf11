// What the options for making images do: the bytes that they lead to.

import { expect } from 'chai';
import { type Bench, makeBench } from '../../drivers/support.js';
import { created, createdQcow2, type Effects, file, PATH, refusedCreate, SIZE, withFile } from './kit.js';

/** A file that was made. */
async function madeFile(own: object = {}): Promise<Bench> {
  const bench = makeBench();
  await created(bench, { driver: 'file', filename: PATH, size: SIZE, ...own });
  return bench;
}

async function madeRaw(own: object = {}): Promise<Bench> {
  const bench = withFile();
  await created(bench, { driver: 'raw', file: file(), size: SIZE, ...own });
  return bench;
}

/** The bytes [from, to) of the header of a new qcow2 image, as a number. */
async function field(own: object, from: number, bytes: number): Promise<number> {
  const bench = makeBench();
  await createdQcow2(bench, own);
  return bench.host.readFile(PATH, from, bytes).reduce((value, byte) => value * 256 + byte, 0);
}

async function text(own: object): Promise<string> {
  const bench = makeBench();
  await createdQcow2(bench, own);
  return Buffer.from(bench.host.readFile(PATH, 0, 4096)).toString('latin1');
}

async function used(make: (own: object) => Promise<Bench>, preallocation: string): Promise<number> {
  return (await make({ preallocation })).host.used;
}

async function madeQcow2(own: object = {}): Promise<Bench> {
  const bench = makeBench();
  await createdQcow2(bench, own);
  return bench;
}

/** Every way of preallocation takes the space, or makes the tables, or is refused. */
function preallocates(make: (own: object) => Promise<Bench>, driver: string): () => Promise<void> {
  return async () => {
    expect(await used(make, 'off')).to.be.lessThan(SIZE);
    expect(await used(make, 'falloc')).to.be.at.least(SIZE);
    expect(await used(make, 'full')).to.be.at.least(SIZE);
    if (driver === 'qcow2') return;
    const target = driver === 'raw' ? { file: file() } : { filename: PATH };
    const options = { driver, ...target, size: SIZE, preallocation: 'metadata' };
    await refusedCreate(withFile(), options, /Unsupported preallocation mode/);
  };
}

export const create: Effects = {
  'BlockdevCreateOptions.driver': [
    'decides what is made',
    async () => {
      expect((await madeFile()).host.readFile(PATH, 0, 4)).to.deep.equal(new Uint8Array(4));
      expect(await field({}, 0, 4)).to.equal(0x514649fb);
    },
  ],
  'BlockdevCreateOptionsFile.filename': [
    'is the file',
    async () => expect((await madeFile()).host.exists(PATH)).to.equal(true),
  ],
  'BlockdevCreateOptionsFile.size': [
    'is the size of the file',
    async () => expect((await madeFile({ size: 4711 })).host.fileSize(PATH)).to.equal(4711),
  ],
  'BlockdevCreateOptionsFile.preallocation': ['takes the space', preallocates(madeFile, 'file')],
  'BlockdevCreateOptionsFile.extent-size-hint': [
    'is asked of the file system; what it has no number for is refused',
    async () => {
      expect((await madeFile()).host.hintsOf(PATH)).to.deep.equal({ noCow: false, extentBytes: 1 << 20 });
      expect((await madeFile({ 'extent-size-hint': 4096 })).host.hintsOf(PATH).extentBytes).to.equal(4096);
      const options = { driver: 'file', filename: PATH, size: SIZE, 'extent-size-hint': 2 ** 32 };
      await refusedCreate(makeBench(), options, /Extent size hint is too large/);
    },
  ],
  'BlockdevCreateOptionsFile.nocow': [
    'is asked of the file system',
    async () => expect((await madeFile({ nocow: true })).host.hintsOf(PATH).noCow).to.equal(true),
  ],
  'BlockdevCreateOptionsRaw.file': [
    'is the node that is written',
    async () => expect((await madeRaw()).host.readFile(PATH).every((byte) => byte === 0)).to.equal(true),
  ],
  'BlockdevCreateOptionsRaw.size': [
    'is the length of the disk',
    async () => expect((await madeRaw({ size: 1024 })).host.fileSize(PATH)).to.equal(1024),
  ],
  'BlockdevCreateOptionsRaw.preallocation': ['takes the space', preallocates(madeRaw, 'raw')],
  'BlockdevCreateOptionsQcow2.file': [
    'is the node that is written',
    async () => expect(await field({}, 0, 4)).to.equal(0x514649fb),
  ],
  'BlockdevCreateOptionsQcow2.size': [
    'is the length of the disk',
    async () => expect(await field({ size: 1024 }, 24, 8)).to.equal(1024),
  ],
  'BlockdevCreateOptionsQcow2.version': [
    'is the version of the header',
    async () => {
      expect(await field({ version: 'v2' }, 4, 4)).to.equal(2);
      expect(await field({ version: 'v3' }, 4, 4)).to.equal(3);
    },
  ],
  'BlockdevCreateOptionsQcow2.backing-file': [
    'is the name in the header',
    async () => expect(await text({ 'backing-file': '/base-of-it' })).to.include('/base-of-it'),
  ],
  'BlockdevCreateOptionsQcow2.backing-fmt': [
    'is the format in the header',
    async () => expect(await text({ 'backing-file': '/b', 'backing-fmt': 'null-co' })).to.include('null-co'),
  ],
  'BlockdevCreateOptionsQcow2.cluster-size': [
    'is the size of a cluster',
    async () => expect(await field({ 'cluster-size': 1 << 20 }, 20, 4)).to.equal(20),
  ],
  'BlockdevCreateOptionsQcow2.preallocation': [
    'makes the tables, and takes the space',
    async () => {
      await preallocates(madeQcow2, 'qcow2')();
      expect((await madeQcow2({ preallocation: 'metadata' })).host.fileSize(PATH)).to.be.at.least(SIZE);
      expect((await madeQcow2({ preallocation: 'off' })).host.fileSize(PATH)).to.be.lessThan(SIZE);
    },
  ],
  'BlockdevCreateOptionsQcow2.refcount-bits': [
    'is the width of a refcount',
    async () => expect(await field({ 'refcount-bits': 64 }, 96, 4)).to.equal(6),
  ],
  'BlockdevCreateOptionsQcow2.lazy-refcounts': [
    'is a bit of the header',
    async () => expect(await field({ 'lazy-refcounts': true }, 84, 4)).to.equal(1),
  ],
  'BlockdevCreateOptionsQcow2.extended-l2': [
    'is a bit of the header',
    async () => expect(await field({ 'extended-l2': true }, 79, 1)).to.equal(16),
  ],
  'BlockdevCreateOptionsQcow2.data-file': [
    'is the file for the content, which the header names',
    async () => {
      const bench = makeBench();
      bench.host.writeFile('/data', new Uint8Array(0));
      await createdQcow2(bench, { 'data-file': { driver: 'file', filename: '/data' } });
      expect(Buffer.from(bench.host.readFile(PATH, 0, 4096)).toString('latin1')).to.include('data');
      expect(bench.host.readFile(PATH, 79, 1)[0]).to.equal(4);
    },
  ],
  'BlockdevCreateOptionsQcow2.data-file-raw': [
    'is a bit of the header',
    async () => {
      const bench = makeBench();
      bench.host.writeFile('/data', new Uint8Array(0));
      await createdQcow2(bench, { 'data-file': { driver: 'file', filename: '/data' }, 'data-file-raw': true });
      expect(bench.host.readFile(PATH, 95, 1)[0]).to.equal(2);
    },
  ],
  'BlockdevCreateOptionsQcow2.compression-type': [
    'is how clusters are compressed',
    async () => expect(await field({ 'compression-type': 'zstd' }, 104, 1)).to.equal(1),
  ],
};
