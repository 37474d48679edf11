// `npm i diskwright` where there is no compiler: nothing is built or fetched but the package and its few dependencies, and library, command line
// and simulated host work.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { needsOf, prebuiltIn } from '../../scripts/prebuild.mjs';
import { Installed } from './installed.js';

/** A failed assertion ends the example. */
const STRICT = 'console.assert = (good, why) => { if (!good) throw new Error(why); };\n';

function examplesOf(page: string, language = 'js'): string[] {
  return [...page.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(([, of]) => of === language).map(([, , code]) => code);
}

/** The example of the page on the daemon, which has types and starts `diskwright`, by the words of the README. */
function runDaemonExample(installed: Installed): void {
  expect(readFileSync(installed.path('README.md'), 'utf8')).to.contain('\nnpx tsx example.mts\n');
  const [code] = examplesOf(readFileSync(installed.path('docs', 'daemon.md'), 'utf8'), 'ts');
  writeFileSync(join(installed.folder, 'example.mts'), STRICT + code);
  const { status, stdout, stderr } = installed.npx('tsx', 'example.mts');
  expect({ status, stdout, stderr }).to.deep.equal({ status: 0, stdout: '', stderr: '' });
  expect(existsSync(join(installed.folder, 'changed.qcow2'))).to.equal(true);
}

describe('a clone that is built, installed in a folder', function () {
  this.timeout(120_000);

  it("runs the daemon's example in TypeScript, as the README says", () => {
    const installed = new Installed('clone', '--ignore-scripts');
    try {
      runDaemonExample(installed);
    } finally {
      installed.remove();
    }
  });
});

describe('the package, installed without a compiler', function () {
  this.timeout(120_000);
  let installed: Installed;

  before(() => {
    installed = new Installed('package');
  });
  after(() => installed?.remove());

  it('brings three packages along, and nothing is compiled', () => {
    expect(installed.packages()).to.have.members(['bottleneck', 'diskwright', 'node-addon-api', 'node-gyp-build']);
    expect(existsSync(installed.path('build'))).to.equal(false);
    // npm 11 names every package that has a script for its install; ours looks whether the prebuilt addon fits, and it does.
    const said = installed.npmSaid.split('\n').filter((line) => !line.startsWith('npm warn install-scripts'));
    expect(said.join('\n')).to.not.match(/gyp|make|error|failed/i);
  });

  it('has an addon that needs nothing but what node needs', () => {
    const { libraries, glibc } = needsOf(prebuiltIn(installed.path()));
    expect(libraries.join(' ')).to.not.match(/stdc|zstd|deflate/);
    if (glibc !== null) expect(glibc[1]).to.be.at.most(28);
  });

  it("has no file that is not a user's: no tests, no code cache", () => {
    expect(readdirSync(installed.path())).to.have.members([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'binding.gyp',
      'dist',
      'docs',
      'native',
      'package.json',
      'prebuilds',
      'src',
    ]);
    expect(existsSync(installed.path('src', 'index.ts'))).to.equal(true);
    expect(existsSync(installed.path('src', 'cli'))).to.equal(false);
    expect(readdirSync(installed.path('dist', 'cli'))).to.have.members(['code-cache.cjs', 'main.cjs', 'small.cjs']);
  });

  it('says its version, engine and codecs', () => {
    const { status, stdout, stderr } = installed.diskwright('--version');
    expect({ status, stderr }).to.deep.equal({ status: 0, stderr: '' });
    expect(stdout).to.match(/^diskwright version [\d.]+\nengine: (io_uring|threads)\ncodecs: .*libzstd .*\nnode: v/);
    expect(stdout).to.contain(`node: ${process.version}`);
  });

  it('runs the first library example of its README', () => {
    const [code] = examplesOf(readFileSync(installed.path('README.md'), 'utf8'));
    writeFileSync(join(installed.folder, 'example.mjs'), STRICT + code);
    const { status, stdout, stderr } = installed.node('example.mjs');
    expect({ status, stdout, stderr }).to.deep.equal({ status: 0, stdout: 'qcow2, 67108864 bytes\n', stderr: '' });
  });

  it("runs the daemon's example in TypeScript, as the README says", () => runDaemonExample(installed));

  it('runs the example of the simulated host', () => {
    const [code] = examplesOf(readFileSync(installed.path('docs', 'sim.md'), 'utf8'));
    writeFileSync(join(installed.folder, 'sim.mjs'), STRICT + code);
    const { status, stdout, stderr } = installed.node('sim.mjs');
    expect({ status, stdout, stderr }).to.deep.equal({ status: 0, stdout: '', stderr: '' });
  });

  it('runs jobs from the command line, with both kinds of compression', () => {
    writeFileSync(join(installed.folder, 'disk.raw'), Buffer.alloc(3 << 20, 'what is on the disk '));
    for (const words of [
      ['convert', '-O', 'qcow2', 'disk.raw', 'disk.qcow2'],
      ['convert', '-c', '-O', 'qcow2', '-o', 'compression_type=zstd', 'disk.raw', 'zstd.qcow2'],
      ['mirror', '--target=mirror.qcow2', 'zstd.qcow2'],
      ['backup', '--compress', '--target=backup.qcow2', 'disk.qcow2'],
      ['create', '-f', 'qcow2', '-b', 'backup.qcow2', '-F', 'qcow2', 'top.qcow2'],
      ['stream', 'top.qcow2'],
      ['compare', 'disk.raw', 'mirror.qcow2'],
      ['compare', 'disk.raw', 'top.qcow2'],
    ]) {
      const { status, stderr } = installed.diskwright(...words);
      expect({ words, status, stderr }).to.deep.equal({ words, status: 0, stderr: '' });
    }
  });

  it('locks a pid file, and sees how much room there is, without fs-ext', () => {
    const { status, stderr } = installed.diskwright(
      'nbd',
      '--fork',
      '-k',
      join(installed.folder, 's'),
      '--pid-file=pid',
      'disk.qcow2',
    );
    expect({ status, stderr }).to.deep.equal({ status: 0, stderr: '' });
    const pid = Number(readFileSync(join(installed.folder, 'pid'), 'utf8'));
    try {
      const second = installed.diskwright('nbd', '-k', join(installed.folder, 't'), '--pid-file=pid', 'mirror.qcow2');
      expect(second.status).to.equal(1);
      expect(second.stderr).to.match(/Cannot lock pid file/);
    } finally {
      process.kill(pid);
    }
  });

  /** What the compiler says of programs in the folder: nothing, where they are right. */
  function compile(lib: string, ...programs: string[]): { status: number | null; stdout: string } {
    const root = fileURLToPath(new URL('../..', import.meta.url));
    const options = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2023', '--types', 'node'];
    const types = ['--typeRoots', join(root, 'node_modules', '@types')];
    const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
    const { status, stdout } = installed.node(compiler, ...options, ...types, '--lib', lib, ...programs);
    return { status, stdout };
  }

  it('has types of the library and of the simulated host', () => {
    const code = [
      "import { type BlockErrorCode, Workspace, open } from 'diskwright';",
      "import { createSimHost, type FaultPlan, type SimHost } from 'diskwright/sim';",
      'const plan: FaultPlan = { rules: [{ errno: "EIO" }] };',
      'const host: SimHost = createSimHost({ faults: plan });',
      'export const workspace: Workspace = new Workspace(host);',
      'export const code: BlockErrorCode = "io";',
      'const image = await open("disk.qcow2");',
      'export const size: number = image.size;',
      'export const response = new Response(image.readable());',
      'export const chunks: AsyncIterable<Uint8Array<ArrayBuffer>> = image.readable();',
      '// @ts-expect-error',
      'createSimHost({ seeed: 1 });',
    ].join('\n');
    writeFileSync(join(installed.folder, 'user.mts'), code);
    // With the types of a browser, too: `Response` is theirs then.
    for (const lib of ['es2023', 'es2023,dom,dom.asynciterable']) {
      expect({ lib, ...compile(lib, 'user.mts') }).to.deep.equal({ lib, status: 0, stdout: '' });
    }
  });

  it('has types that take the examples as they stand, with strict checks', () => {
    const programs = ['README.md', 'docs/library.md', 'docs/jobs.md', 'docs/hypervisor.md'].flatMap((page) =>
      examplesOf(readFileSync(installed.path(page), 'utf8')).map((code, index) => {
        const name = `${page.replaceAll(/\W/g, '-')}-${index + 1}.mts`;
        writeFileSync(join(installed.folder, name), code);
        return name;
      }),
    );
    expect(programs).to.have.lengthOf.at.least(15);
    expect(compile('es2023,esnext.disposable', ...programs)).to.deep.equal({ status: 0, stdout: '' });
  });
});

describe('the package, installed where scripts are forbidden', function () {
  this.timeout(120_000);
  let installed: Installed;

  before(() => {
    installed = new Installed('package', '--ignore-scripts');
  });
  after(() => installed?.remove());

  it('works all the same', () => {
    expect(installed.diskwright('create', '-f', 'qcow2', 'disk.qcow2', '1M')).to.include({ status: 0, stderr: '' });
  });
});
