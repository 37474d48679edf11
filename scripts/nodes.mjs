// The versions of node that this package promises to run on, and their programs. They come from the npm packages that carry them,
// which are files only: nothing runs at install.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = new URL('..', import.meta.url).pathname;

/** One of each line. */
const VERSIONS = ['20.20.2', '22.23.3', '24.21.0'];

/** The programs, the one that runs this among them: {version, program}, each with its npm. Fetched where they are not here yet. */
export function nodePrograms() {
  const own = process.versions.node;
  return VERSIONS.map((version) => {
    if (version.split('.')[0] === own.split('.')[0]) return { version: own, program: process.execPath };
    return { version, program: fetched(version) };
  });
}

function fetched(version) {
  const name = `node-linux-${process.arch}`;
  const folder = join(ROOT, '.scratch', 'nodes', version);
  const program = join(folder, 'node_modules', name, 'bin', 'node');
  if (!existsSync(program)) {
    console.log(`fetching node ${version} (npm package ${name})`);
    const words = [
      'install',
      '--prefix',
      folder,
      '--ignore-scripts',
      '--no-save',
      '--no-package-lock',
      '--no-audit',
      '--no-fund',
    ];
    execFileSync('npm', [...words, `${name}@${version}`], { stdio: ['ignore', 'ignore', 'inherit'] });
  }
  const found = execFileSync(program, ['--version'], { encoding: 'utf8' }).trim();
  if (found !== `v${version}`) throw new Error(`${program} is ${found}, not v${version}`);
  return program;
}
