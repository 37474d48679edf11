// What a small command loads of node: each of these takes milliseconds, which is much of the command's time.

import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';

const LATE = [
  'stream',
  'net',
  'tls',
  'crypto',
  'zlib',
  'v8',
  'module',
  'child_process',
  'fs/promises',
  'worker_threads',
];
const PRINT = `process.on('exit', () => process.stderr.write(process.moduleLoadList.join('\\n')));`;

describe('a small command', () => {
  let shop: Workshop;

  beforeEach(async () => {
    shop = await Workshop.open();
    expect(shop.ours('create', '-f', 'qcow2', 'disk', '1M').code).to.equal(0);
  });
  afterEach(() => shop.remove());

  /** Names of the modules of node that were loaded, those excepted that every program has. */
  function loaded(...words: string[]): string[] {
    const list = (program: string[]): string[] => {
      const node = ['--import', `data:text/javascript,${encodeURIComponent(PRINT)}`, ...program];
      const { status, stderr } = spawnSync(process.execPath, node, { cwd: shop.folder, encoding: 'utf8' });
      expect(status, stderr).to.equal(0);
      return stderr.split('\n').map((line) => line.replace(/^NativeModule /, ''));
    };
    const always = new Set(list(['-e', '0']));
    return list([shop.bundle, ...words]).filter((name) => !always.has(name));
  }

  for (const words of [
    ['info', 'disk'],
    ['check', 'disk'],
    ['map', 'disk'],
    ['create', '-f', 'qcow2', 'other', '1M'],
  ]) {
    it(`loads nothing of node that it does not need: ${words[0]}`, () => {
      expect(loaded(...words).filter((name) => LATE.includes(name))).to.deep.equal([]);
    });
  }
});
