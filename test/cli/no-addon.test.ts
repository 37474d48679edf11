// Without an addon that can be loaded: the version is said all the same, and each command says what is wrong and how to mend it.

import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { cliBundle } from '../support/cli.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

describe('without the native addon', () => {
  let folder: string;

  /** A package with the command line, and no addon. */
  beforeEach(async () => {
    const bundle = await cliBundle();
    folder = mkdtempSync(join(tmpdir(), 'diskwright-bare-'));
    mkdirSync(join(folder, 'dist', 'cli'), { recursive: true });
    copyFileSync(join(ROOT, 'package.json'), join(folder, 'package.json'));
    copyFileSync(bundle, join(folder, 'dist', 'cli.cjs'));
    for (const name of ['main.cjs', 'small.cjs', 'code-cache.cjs']) {
      cpSync(join(dirname(bundle), 'cli', name), join(folder, 'dist', 'cli', name));
    }
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function run(...words: string[]) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, 'dist', 'cli.cjs'), ...words], {
      cwd: folder,
      encoding: 'utf8',
    });
    return { status, stdout, stderr };
  }

  it('the version is said, and why there is no engine', () => {
    const { status, stdout, stderr } = run('--version');
    expect({ status, stderr }).to.deep.equal({ status: 0, stderr: '' });
    expect(stdout).to.match(/^diskwright version \d\S+\nengine: none: the native addon cannot be loaded: .*\nnode: v/);
  });

  it('help needs none', () => {
    expect(run('--help')).to.include({ status: 0, stderr: '' });
    expect(run('convert', '--help')).to.include({ status: 0, stderr: '' });
  });

  it('a command fails with the reason and with what builds it', () => {
    const { status, stdout, stderr } = run('create', '-f', 'qcow2', 'disk', '1M');
    expect({ status, stdout }).to.deep.equal({ status: 1, stdout: '' });
    const reason = `there is none for ${process.platform}-${process.arch}`;
    const cure = `build it with "npm run --prefix ${folder} build:native"`;
    expect(stderr).to.contain(`the native addon cannot be loaded: ${reason}; ${cure}`);
    expect(stderr.trim().split('\n')).to.have.lengthOf(1);
  });

  it('an installed package says how it is built anew', () => {
    const installed = join(folder, 'node_modules_of_a_user', 'node_modules', 'diskwright');
    mkdirSync(installed, { recursive: true });
    for (const name of ['package.json', 'dist']) cpSync(join(folder, name), join(installed, name), { recursive: true });
    const { stderr } = spawnSync(process.execPath, [join(installed, 'dist', 'cli.cjs'), 'info', 'disk'], {
      encoding: 'utf8',
    });
    expect(stderr).to.contain('"npm rebuild diskwright"').and.to.contain('"pnpm approve-builds"');
  });

  it('one that cannot be loaded is named, with what the system says of it', () => {
    mkdirSync(join(folder, 'build', 'Release'), { recursive: true });
    writeFileSync(join(folder, 'build', 'Release', 'diskwright.node'), 'no program');
    const { status, stderr } = run('info', 'disk');
    expect(status).to.equal(1);
    expect(stderr).to.match(/cannot be loaded: .*diskwright\.node: .*; build it with/);
    expect(stderr.trim().split('\n')).to.have.lengthOf(1);
  });
});
