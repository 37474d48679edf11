// How a command starts: nothing but its own output is printed, whatever version of node runs it, and V8's code cache is made at first use,
// is taken by nobody else, and keeps no command from running.

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { cliBundle, Workshop } from '../support/cli.js';

const LAUNCHER = readFileSync(new URL('../../scripts/launcher.cjs', import.meta.url), 'utf8');
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** A package of these tests alone; within the real one, where its bundle finds the addon, also where the launcher does not. */
const PACKAGE = join(ROOT, '.scratch', `launcher-${process.pid}`);
const OWN = join(PACKAGE, 'dist');

for (const reads of ['the addon', 'node'])
  describe(`the launcher, where ${reads} reads its files`, () => {
    let shop: Workshop;
    let cache: string;

    beforeEach(async () => {
      shop = await Workshop.open();
      cache = shop.path('cache');
      mkdirSync(cache);
      expect(shop.ours('create', '-f', 'qcow2', 'disk', '1M').code).to.equal(0);
      // Beside the bundle that all tests share lie the caches of those who have no folder for them.
      const beside = dirname(await cliBundle());
      mkdirSync(join(OWN, 'cli'), { recursive: true });
      for (const name of ['cli.cjs', 'cli/main.cjs', 'cli/small.cjs', 'cli/code-cache.cjs'])
        cpSync(join(beside, name), join(OWN, name));
      if (reads === 'the addon') symlinkSync(join(ROOT, 'build'), join(PACKAGE, 'build'));
    });
    afterEach(() => {
      shop.remove();
      rmSync(PACKAGE, { recursive: true });
    });

    async function run(words: readonly string[], env: NodeJS.ProcessEnv = {}, input = '') {
      const { status, stdout, stderr } = spawnSync(process.execPath, [join(OWN, 'cli.cjs'), ...words], {
        cwd: shop.folder,
        encoding: 'utf8',
        input,
        env: { ...process.env, XDG_CACHE_HOME: cache, ...env },
      });
      return { status, stdout, stderr };
    }

    function cached(): string[] {
      return readdirSync(join(cache, 'diskwright')).map((name) => join(cache, 'diskwright', name));
    }

    /** Runs `info`, which must say what it says without a cache. */
    async function infoIsRight(env: NodeJS.ProcessEnv = {}): Promise<void> {
      const { status, stdout, stderr } = await run(['info', 'disk'], env);
      expect({ status, stderr }).to.deep.equal({ status: 0, stderr: '' });
      expect(stdout).to.match(/^image: disk\nfile format: qcow2\n/);
    }

    it('knows a flag that this V8 has, or sets none', () => {
      const version = process.versions.v8.split('.', 2).join('.');
      const flag = new RegExp(`^  ${version}: '(--[a-z-]+)=`, 'm').exec(LAUNCHER)?.[1];
      if (flag === undefined) return;
      const { stdout } = spawnSync(process.execPath, ['--v8-options'], { encoding: 'utf8' });
      expect(stdout).to.contain(`\n  ${flag} `);
    });

    it('makes a cache of its own for each command, which the next run takes as it is', async () => {
      await infoIsRight();
      const [made, ...more] = cached();
      expect(more).to.deep.equal([]);
      expect(statSync(made).mode & 0o777).to.equal(0o600);
      expect(readFileSync(made, 'latin1').split('\n', 1)[0]).to.contain(`"info","${process.version}"`);
      const { ino } = statSync(made);
      await infoIsRight();
      expect(statSync(made).ino).to.equal(ino);
      expect((await run(['map', 'disk'])).status).to.equal(0);
      expect(cached()).to.have.lengthOf(2);
    });

    it('makes one for a server that has ended as it was told to', async () => {
      const words = ['daemon', '--chardev', 'stdio,id=q', '--monitor', 'q'];
      const input = '{"execute":"qmp_capabilities"}\n{"execute":"quit"}\n';
      expect((await run(words, {}, input)).status).to.equal(0);
      const [made, ...more] = cached();
      expect(more).to.deep.equal([]);
      const { ino } = statSync(made);
      const { status, stdout } = await run(words, {}, input);
      expect({ status, answers: stdout.match(/"return": \{\}/g) }).to.deep.equal({
        status: 0,
        answers: ['"return": {}', '"return": {}'],
      });
      expect(cached()).to.deep.equal([made]);
      expect(statSync(made).ino).to.equal(ino);
    });

    it('makes another for other flags of V8', async () => {
      await infoIsRight();
      await infoIsRight({ NODE_OPTIONS: '--max-old-space-size=500' });
      expect(cached()).to.have.lengthOf(2);
    });

    for (const [what, spoil] of [
      [
        'of another version of node',
        (text: Buffer) => Buffer.from(text.toString('latin1').replace('"v', '"v9'), 'latin1'),
      ],
      ['of another build of the bundle', (text: Buffer) => text.fill('0', 0, 8)],
      ['of which only the first line is right', (text: Buffer) => text.fill(0xa5, text.indexOf(10) + 1)],
      [
        'of which one bit is wrong',
        (text: Buffer) => {
          text[200_001] ^= 4;
          return text;
        },
      ],
      ['that is cut short', (text: Buffer) => text.subarray(0, text.length >> 1)],
      ['that is empty', () => Buffer.alloc(0)],
    ] as const) {
      it(`does not take a cache ${what}, and makes it again`, async () => {
        await infoIsRight();
        const [file] = cached();
        const good = readFileSync(file);
        writeFileSync(file, spoil(Buffer.from(good)));
        await infoIsRight();
        expect(cached()).to.deep.equal([file]);
        expect(readFileSync(file, 'latin1').split('\n', 1)[0]).to.equal(good.toString('latin1').split('\n', 1)[0]);
        expect(statSync(file).size).to.be.greaterThan(good.length / 2);
      });
    }

    it('does not take a cache that others may write', async () => {
      await infoIsRight();
      const [file] = cached();
      const { ino } = statSync(file);
      chmodSync(file, 0o666);
      await infoIsRight();
      expect(statSync(file).ino).to.not.equal(ino);
      expect(statSync(file).mode & 0o777).to.equal(0o600);
    });

    it('leaves no cache of a command that failed, nor of a word that is none', async () => {
      expect((await run(['info', 'nowhere'])).status).to.equal(1);
      expect((await run(['frobnicate'])).status).to.equal(1);
      expect(readdirSync(cache)).to.deep.equal([]);
    });

    it('runs where no cache can be written', async () => {
      const home = shop.path('file');
      writeFileSync(home, '');
      for (const env of [
        { XDG_CACHE_HOME: home },
        { XDG_CACHE_HOME: '', HOME: home },
        { XDG_CACHE_HOME: 'relative' },
      ]) {
        await infoIsRight(env);
      }
    });

    it('keeps the cache beside the bundle where the user has no folder for it', async () => {
      const { status } = await run(['info', 'disk'], { XDG_CACHE_HOME: '', HOME: '' });
      expect(status).to.equal(0);
      expect(readdirSync(join(OWN, 'cli')).filter((name) => name.startsWith('info-'))).to.have.lengthOf(1);
    });
  });
