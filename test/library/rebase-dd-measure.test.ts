// `rebase`, `dd` and `measure` of the library, and a part of `map`: contents, what they refuse before they touch anything, and abort. On the simulated host.

import { expect } from 'chai';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';

const CLUSTER = 65536;
const SIZE = 16 * CLUSTER;

/** `/d/base` (all 1), `/d/middle` over it (cluster 1 is 2), `/d/top` over that (cluster 2 is 3), `/d/other` (all 9); all qcow2. */
function bench(work: (space: Workspace, host: SimHost) => Promise<void>): () => Promise<void> {
  return async () => {
    const host = createSimHost({});
    await host.run(async () => {
      const space = new Workspace(host);
      const fill = async (name: string, at: number, length: number, byte: number): Promise<void> => {
        const image = await space.open(name);
        await image.write(at, new Uint8Array(length).fill(byte));
        await image.close();
      };
      const over = (name: string) => ({ driver: 'qcow2', 'backing-file': name, 'backing-fmt': 'qcow2' }) as const;
      await space.create('/d/base', { driver: 'qcow2', size: SIZE });
      await space.create('/d/middle', over('base'));
      await space.create('/d/top', over('middle'));
      await space.create('/d/other', { driver: 'qcow2', size: SIZE });
      await fill('/d/base', 0, SIZE, 1);
      await fill('/d/middle', CLUSTER, CLUSTER, 2);
      await fill('/d/top', 2 * CLUSTER, CLUSTER, 3);
      await fill('/d/other', 0, SIZE, 9);
      await work(space, host);
      await space.close();
    });
  };
}

async function firstBytes(space: Workspace, name: string, count = 4): Promise<number[]> {
  const image = await space.open(name, { readOnly: true });
  const bytes: number[] = [];
  for (let i = 0; i < count; i++) bytes.push((await image.read(i * CLUSTER, 1))[0]);
  await image.close();
  return bytes;
}

describe('rebase of the library', () => {
  it(
    'keeps the content over another backing file, over one that is below it, and over none',
    bench(async (space) => {
      const seen: [number, number][] = [];
      await space.rebase('/d/top', 'other', {
        backingFormat: 'qcow2',
        onProgress: (now, all) => seen.push([now, all]),
      });
      expect(seen.at(-1)).to.deep.equal([SIZE, SIZE]);
      expect(await firstBytes(space, '/d/top')).to.deep.equal([1, 2, 3, 1]);
      expect((await space.info('/d/top'))['backing-filename']).to.equal('other');
      await space.rebase('/d/middle', null, { compress: true });
      expect(await firstBytes(space, '/d/middle')).to.deep.equal([1, 2, 1, 1]);
      expect(await space.info('/d/middle')).to.not.have.property('backing-filename');
      for (const name of ['/d/top', '/d/middle'])
        expect(await space.check(name)).to.include({ corruptions: 0, leaks: 0 });
    }),
  );

  it(
    'changes the name alone where it is told to, also to a file that is not there',
    bench(async (space) => {
      await space.rebase('/d/top', 'other', { backingFormat: 'qcow2', unsafe: true });
      expect(await firstBytes(space, '/d/top')).to.deep.equal([9, 9, 3, 9]);
      await space.rebase('/d/top', 'gone', { backingFormat: 'qcow2', unsafe: true });
      expect((await space.info('/d/top'))['backing-filename']).to.equal('gone');
    }),
  );

  it(
    'refuses, and leaves the image as it was',
    bench(async (space, host) => {
      const before = host.readFile('/d/top');
      const refused = async (call: Promise<void>, code: string, words: RegExp): Promise<void> => {
        const error = await failureOf(call);
        expect(error.code, error.message).to.equal(code);
        expect(error.message).to.match(words);
      };
      const q = { backingFormat: 'qcow2' };
      await refused(space.rebase('/d/top', 'other'), 'invalid-argument', /backing format must be specified/);
      await refused(space.rebase('/d/top', ''), 'invalid-argument', /null stands for no backing file/);
      await refused(space.rebase('/d/top', null, q), 'invalid-argument', /backingFormat/);
      await refused(space.rebase('/d/top', 'other', { backingFormat: 'qcow9' }), 'invalid-argument', /qcow9/);
      await refused(space.rebase('/d/top', 'gone', q), 'not-found', /Could not open new backing file 'gone': /);
      await refused(space.rebase('/d/top', 'top', q), 'locked', /top/);
      await refused(space.rebase('/d/top', 'top', { ...q, unsafe: true }), 'invalid-argument', /its own backing file/);
      await refused(space.rebase('/d/top', null, { unsafe: true, compress: true }), 'invalid-argument', /no effect/);
      await refused(
        space.rebase('/d/other', 'base', { ...q, format: 'raw' }),
        'unsupported',
        /Operation not supported/,
      );
      const aborted = await failureOf(space.rebase('/d/top', 'other', { ...q, signal: AbortSignal.abort('no') }));
      expect([aborted.code, aborted.cause]).to.deep.equal(['cancelled', 'no']);
      expect(host.readFile('/d/top')).to.deep.equal(before);
      const image = await space.open('/d/top');
      await refused(space.rebase('/d/top', 'other', q), 'locked', /top/);
      await image.close();
    }),
  );

  it(
    'may be aborted half way: the image has its content and its old backing file, and the same call goes on',
    bench(async (space) => {
      const stop = new AbortController();
      const call = space.rebase('/d/top', 'other', {
        backingFormat: 'qcow2',
        signal: stop.signal,
        onProgress: () => stop.abort(),
      });
      expect((await failureOf(call)).code).to.equal('cancelled');
      expect((await space.info('/d/top'))['backing-filename']).to.equal('middle');
      expect(await firstBytes(space, '/d/top')).to.deep.equal([1, 2, 3, 1]);
      await space.rebase('/d/top', 'other', { backingFormat: 'qcow2' });
      expect(await firstBytes(space, '/d/top')).to.deep.equal([1, 2, 3, 1]);
    }),
  );

  it(
    'makes no chain that leads to the image itself, whether the images are opened or only named',
    bench(async (space) => {
      for (const unsafe of [false, true]) {
        const error = await failureOf(space.rebase('/d/base', 'top', { backingFormat: 'qcow2', unsafe }));
        expect(error.code, error.message).to.be.oneOf(['invalid-argument', 'locked']);
        expect(await space.info('/d/base')).to.not.have.property('backing-filename');
      }
      // What can not be followed to its end is the user's to know.
      await space.rebase('/d/middle', 'gone', { backingFormat: 'qcow2', unsafe: true });
      await space.rebase('/d/base', 'top', { backingFormat: 'qcow2', unsafe: true });
      const end = await failureOf(space.rebase('/d/middle', 'base', { backingFormat: 'qcow2', unsafe: true }));
      expect(end.message).to.match(/leads to the image itself/);
    }),
  );

  it(
    'does not make that the content which options show over another backing file than the header has',
    bench(async (space, host) => {
      const file = (name: string) => ({ driver: 'qcow2', file: { driver: 'file', filename: `/d/${name}` } }) as const;
      const before = host.readFile('/d/top');
      for (const backing of [file('other'), null]) {
        const error = await failureOf(space.rebase({ ...file('top'), backing }, '/d/base', { backingFormat: 'qcow2' }));
        expect(error.code).to.equal('invalid-argument');
        expect(error.message).to.match(/The backing file in the header is 'middle', and the image was opened /);
      }
      const flat = await failureOf(space.rebase({ ...file('other'), backing: file('base') }, null));
      expect(flat.message).to.match(/The backing file in the header is none/);
      expect(host.readFile('/d/top')).to.deep.equal(before);
      // The same file in other words, and one that has moved.
      await space.rebase({ ...file('top'), backing: file('middle') }, '/d/other', { backingFormat: 'qcow2' });
      expect(await firstBytes(space, '/d/top')).to.deep.equal([1, 2, 3, 1]);
      await space.rebase('/d/middle', 'gone', { backingFormat: 'qcow2', unsafe: true });
      await space.rebase({ ...file('middle'), backing: file('base') }, null);
      expect(await firstBytes(space, '/d/middle')).to.deep.equal([1, 2, 1, 1]);
    }),
  );
});

describe('dd of the library', () => {
  it(
    'copies a part, in whole sectors, and says how far it is',
    bench(async (space, host) => {
      const seen: [number, number][] = [];
      const part = { from: CLUSTER - 100, to: CLUSTER + 1000 };
      await space.dd('/d/middle', '/d/part', {
        create: { driver: 'raw' },
        ...part,
        onProgress: (now, all) => seen.push([now, all]),
      });
      const bytes = host.readFile('/d/part');
      expect(bytes.length).to.equal(1536);
      expect([bytes[0], bytes[99], bytes[100], bytes[1099], bytes[1100], bytes[1535]]).to.deep.equal([
        1, 1, 2, 2, 0, 0,
      ]);
      expect(seen.at(-1)).to.deep.equal([1100, 1100]);
      await space.dd('/d/top', '/d/whole', 'qcow2');
      expect((await space.compare('/d/top', '/d/whole')).identical).to.equal(true);
    }),
  );

  it(
    'refuses before it replaces anything',
    bench(async (space, host) => {
      const before = host.readFile('/d/other');
      const create = { driver: 'qcow2' };
      const refused: [object, string][] = [
        [{ create, from: SIZE + 1 }, 'out-of-bounds'],
        [{ create, to: SIZE + 1 }, 'out-of-bounds'],
        [{ create, from: 2, to: 1 }, 'out-of-bounds'],
        [{ create, from: -1 }, 'invalid-argument'],
        [{ create: { ...create, size: 1 } }, 'invalid-argument'],
        [{ create: { ...create, 'backing-file': 'base' } }, 'invalid-argument'],
        [{ create, signal: AbortSignal.abort() }, 'cancelled'],
        [{ create, bs: 512 }, 'unknown-option'],
        // Its name says no format.
        [{}, 'invalid-argument'],
      ];
      for (const [settings, code] of refused) {
        const error = await failureOf(space.dd('/d/base', '/d/other', settings as never));
        expect(error.code, error.message).to.equal(code);
      }
      expect(host.readFile('/d/other')).to.deep.equal(before);
      const source = host.readFile('/d/base');
      expect((await failureOf(space.dd('/d/base', '/d/base', 'qcow2'))).code).to.equal('locked');
      expect(host.readFile('/d/base')).to.deep.equal(source);
    }),
  );
});

describe('measure of the library', () => {
  it(
    'says how large an empty image becomes, and the copy of one, before it is there',
    bench(async (space, host) => {
      const empty = await space.measure({ driver: 'qcow2', size: SIZE });
      expect(empty.required).to.be.below(empty['fully-allocated']);
      const seen: [number, number][] = [];
      const copy = await space.measure('qcow2', { image: '/d/top', onProgress: (now, all) => seen.push([now, all]) });
      expect(copy).to.deep.equal({
        required: empty['fully-allocated'],
        'fully-allocated': empty['fully-allocated'],
        bitmaps: 0,
      });
      expect(seen.at(-1)).to.deep.equal([SIZE, SIZE]);
      await space.convert('/d/top', '/d/copy', 'qcow2');
      expect(host.readFile('/d/copy').length).to.equal(copy.required);
      const alone = await space.measure('qcow2', { image: '/d/top', source: { backing: false } });
      expect(alone.required).to.equal(empty.required + CLUSTER);
      expect((await space.measure({ driver: 'raw', size: 2 * SIZE }, { image: '/d/top' })).required).to.equal(2 * SIZE);
    }),
  );

  it(
    'refuses what cannot be measured',
    bench(async (space) => {
      const code = async (create: unknown, settings?: unknown) =>
        (await failureOf(space.measure(create as never, settings as never))).code;
      expect(await code('qcow2')).to.equal('invalid-argument');
      expect(await code({ driver: 'qcow2', size: SIZE }, { source: {} })).to.equal('invalid-argument');
      expect(await code({ driver: 'qcow2', size: CLUSTER }, { image: '/d/top' })).to.equal('invalid-argument');
      expect(await code({ driver: 'qcow2', clusterSize: 1 }, { image: '/d/top' })).to.equal('unknown-option');
      expect(await code('nbd', { image: '/d/top' })).to.equal('unsupported');
      expect(await code('qcow2', { image: '/d/gone' })).to.equal('not-found');
      expect(await code('qcow2', { image: '/d/top', signal: AbortSignal.abort() })).to.equal('cancelled');
    }),
  );
});

describe('map of the library', () => {
  it(
    'of a part begins and ends there',
    bench(async (space) => {
      const runs = [];
      for await (const { start, length, depth } of space.map('/d/top', { from: CLUSTER / 2, to: 2 * CLUSTER + 512 })) {
        runs.push([start, length, depth]);
      }
      expect(runs).to.deep.equal([
        [CLUSTER / 2, CLUSTER / 2, 2],
        [CLUSTER, CLUSTER, 1],
        [2 * CLUSTER, 512, 0],
      ]);
      expect((await failureOf(space.map('/d/top', { from: 2, to: 1 }).next())).code).to.equal('invalid-argument');
    }),
  );
});
