// What a small command loads: modules of node, each of which takes milliseconds, and modules of ours. It is much of the command's time.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
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
  'readline',
  'child_process',
  'fs/promises',
  'worker_threads',
];
const PRINT = `process.on('exit', () => process.stderr.write(process.moduleLoadList.join('\\n')));`;
/** Threads that node has started for calls of the system stay to the end. */
const COUNT = `import { readdirSync } from 'node:fs';
process.on('exit', () => process.stderr.write(String(readdirSync('/proc/self/task').length)));`;

/** Modules of ours that no small command needs. */
const FOREIGN =
  /^(qmp|exports|jobs|library)\/|^drivers\/(protocols\/nbd|filters)\/(?!definition)|^host\/real\/(net|socket|character|move|compare|cipher)|^cli\/(nbd|daemon|jobs|completion)\//;
/** And those that make or change images. */
const CHANGING = /(create|amend|salvage|compact|repair-(?!snapshots)|resize)[^/]*$/;

const READING = [
  ['info', 'disk'],
  ['check', 'disk'],
  ['map', 'disk'],
  ['snapshot', '-l', 'disk'],
];
const OTHERS = [
  ['measure', '-O', 'qcow2', 'disk'],
  ['create', '-f', 'qcow2', 'other', '1M'],
  ['io', '-c', 'quit', 'disk'],
  ['--help'],
  ['--version'],
];

describe('a small command', () => {
  let shop: Workshop;

  beforeEach(async () => {
    shop = await Workshop.open();
    expect(shop.ours('create', '-f', 'qcow2', 'disk', '1M').code).to.equal(0);
  });
  afterEach(() => shop.remove());

  /** What `code` writes when node has run `program`. */
  function atExit(code: string, program: string[]): string {
    const node = ['--import', `data:text/javascript,${encodeURIComponent(code)}`, ...program];
    const { status, stderr } = spawnSync(process.execPath, node, { cwd: shop.folder, encoding: 'utf8' });
    expect(status, stderr).to.equal(0);
    return stderr;
  }

  /** Names of the modules of node that were loaded, those excepted that every program has. */
  function loaded(...words: string[]): string[] {
    const list = (program: string[]): string[] =>
      atExit(PRINT, program)
        .split('\n')
        .map((line) => line.replace(/^NativeModule /, ''));
    const always = new Set(list(['-e', '0']));
    return list([shop.bundle, ...words]).filter((name) => !always.has(name));
  }

  /** Paths of the modules of ours that ran. V8 counts how often each function of the bundle was called; a module's begins with its path. */
  function ran(...words: string[]): string[] {
    const bundle = join(dirname(shop.bundle), 'cli', 'small.cjs');
    const text = readFileSync(bundle, 'latin1');
    const counts = shop.path('counts');
    const env = { ...process.env, NODE_V8_COVERAGE: counts };
    const { status, stderr } = spawnSync(process.execPath, [shop.bundle, ...words], {
      cwd: shop.folder,
      encoding: 'utf8',
      env,
    });
    expect(status, stderr).to.equal(0);
    const [file] = readdirSync(counts);
    const { result } = JSON.parse(readFileSync(join(counts, file), 'utf8')) as {
      result: { url: string; functions: { ranges: { startOffset: number; count: number }[] }[] }[];
    };
    const { functions } = result.find(({ url }) => url.endsWith(bundle)) ?? { functions: [] };
    return functions.flatMap(({ ranges: [{ startOffset, count }] }) => {
      const path = /^\(\w*(?:,\w+)?\)=>\{\{"([^"]+)\.ts";/.exec(text.slice(startOffset, startOffset + 200))?.[1];
      return path !== undefined && count > 0 ? [path] : [];
    });
  }

  for (const words of [...READING, ...OTHERS]) {
    it(`loads nothing that it does not need: ${words[0]}`, () => {
      expect(loaded(...words).filter((name) => LATE.includes(name))).to.deep.equal([]);
      const ours = ran(...words);
      expect(ours).to.include('cli/main');
      expect(
        ours.filter((path) => FOREIGN.test(path) || (READING.includes(words) && CHANGING.test(path))),
      ).to.deep.equal([]);
      const verbs = ours.filter((path) => path.startsWith('cli/verbs/'));
      expect(verbs).to.deep.equal(words[0].startsWith('-') ? [] : [`cli/verbs/${words[0]}`]);
    });

    it(`waits for the system itself, without node's threads: ${words[0]}`, () => {
      expect(atExit(COUNT, [shop.bundle, ...words])).to.equal(atExit(COUNT, ['-e', '0']));
    });
  }
});
