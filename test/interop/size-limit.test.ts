// Sizes at the end of what is supported (2^53 - 1 bytes) and at the end of what qemu-img takes: what fits is carried, what does not is refused in
// a sentence that names the limit, and nothing is made.

import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf, makeBench } from '../drivers/support.js';
import { run, Workshop } from '../support/cli.js';

const LIMIT = /[Ss]izes beyond 9007199254740991 bytes \(2\^53 - 1\) are not supported/;
const LARGEST = 2n ** 53n - 512n;
/** What is made of a size; `both`: made or refused as by qemu-img, `ours`: made by qemu-img, and refused by us with the limit. */
const SIZES: readonly (readonly [bigint | string, 'both' | 'ours'])[] = [
  [LARGEST, 'both'],
  [LARGEST + 1n, 'ours'],
  [2n ** 53n - 1n, 'ours'],
  [2n ** 53n, 'ours'],
  ['32P', 'ours'],
  [2n ** 63n, 'both'],
  [2n ** 64n, 'both'],
];

describe('sizes at the limit', () => {
  let shop: Workshop;
  before(async () => {
    shop = await Workshop.open();
  });
  after(() => shop.remove());
  afterEach(() => {
    for (const name of ['a', 'b']) rmSync(shop.path(name), { force: true });
  });

  const options = ['-q', '-f', 'qcow2', '-o', 'cluster_size=2M'];
  const sizeIn = (text: string): unknown => (JSON.parse(text) as Record<string, unknown>)['virtual-size'];

  for (const [size, who] of SIZES) {
    it(`create: a qcow2 image of ${size} bytes`, () => {
      const ours = shop.ours('create', ...options, 'a', String(size));
      const theirs = shop.qemuImg('create', ...options, 'b', String(size));
      expect(theirs.code).to.equal(size === 2n ** 63n || size === 2n ** 64n ? 1 : 0);
      if (who === 'both') {
        expect(ours.code).to.equal(theirs.code);
        expect(ours.stderr).to.equal(theirs.stderr.replace(/^qemu-img/, 'diskwright'));
      } else {
        expect(ours.code).to.equal(1);
        expect(ours.stderr).to.match(LIMIT);
        const opened = shop.ours('info', 'b');
        expect(opened.code).to.equal(1);
        expect(opened.stderr).to.match(LIMIT);
      }
      expect(existsSync(shop.path('a'))).to.equal(ours.code === 0);
      if (ours.code === 0) {
        const info = ['info', '--output=json', 'a'];
        expect(sizeIn(shop.ours(...info).stdout)).to.equal(sizeIn(shop.qemuImg(...info).stdout));
      }
    });
  }

  it('open: an image that qemu-img resized beyond the limit', () => {
    shop.must('qemu-img', 'create', ...options, 'b', String(LARGEST));
    expect(shop.ours('info', 'b').code).to.equal(0);
    shop.must('qemu-img', 'resize', '-q', 'b', '32P');
    const { code, stderr } = shop.ours('info', 'b');
    expect(code).to.equal(1);
    expect(stderr).to.match(LIMIT);
  });

  it('open: a raw file beyond the limit, where the file system has such', () => {
    const path = join('/dev/shm', `diskwright-limit-${process.pid}`);
    writeFileSync(path, '');
    try {
      for (const size of [Number(LARGEST), 2 ** 53 - 1, 2 ** 53]) {
        // Nothing is to be refused where the file system has no such files.
        if (run('truncate', ['-s', String(size), path], shop.folder).code !== 0) return;
        const { code, stderr } = shop.ours('info', '-f', 'raw', path);
        expect(code, stderr).to.equal(size === Number(LARGEST) ? 0 : 1);
        if (code !== 0) expect(stderr).to.match(LIMIT);
      }
    } finally {
      rmSync(path);
    }
  });

  it('resize: by the library', async () => {
    const { host } = makeBench();
    const space = new Workspace(host);
    await space.create('/disk', { driver: 'qcow2', size: 512, 'cluster-size': 2 << 20 });
    const image = await space.open('/disk');
    await image.resize(Number(LARGEST));
    expect(image.size).to.equal(Number(LARGEST));
    for (const size of [2 ** 53, 2 ** 63]) {
      expect((await failureOf(image.resize(size))).message).to.match(/2\^53 - 1/);
      expect(image.size).to.equal(Number(LARGEST));
    }
    await space.close();
  });

  it('create: by the library', async () => {
    const space = new Workspace(makeBench().host);
    for (const size of [2 ** 53 - 1, 2 ** 53, 2 ** 63]) {
      for (const driver of ['raw', 'qcow2'] as const) {
        const error = await failureOf(space.create('/disk', { driver, size }));
        expect(error.message).to.match(/2\^53 - 1/);
      }
    }
    await space.close();
  });
});
