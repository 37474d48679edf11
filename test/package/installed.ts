// The package as a user has it: packed, or as a clone that is built, and installed into an empty folder by npm, with nothing in PATH but node and a
// shell. Its dependencies come from the registry that npm is set to.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packTo } from '../../scripts/pack.mjs';

/** This repository. */
const CLONE = fileURLToPath(new URL('../..', import.meta.url));

export interface Result {
  status: number | null;
  stdout: string;
  stderr: string;
}

export class Installed {
  readonly folder = mkdtempSync(join(tmpdir(), 'diskwright-package-'));
  /** What npm printed. */
  readonly npmSaid: string;
  readonly #bin = join(this.folder, 'bin');

  /** Packs (unless DISKWRIGHT_TARBALL names a package) what was built, and installs it; or installs this clone as it is. Throws where npm fails. */
  constructor(from: 'package' | 'clone', ...npmWords: string[]) {
    mkdirSync(this.#bin);
    symlinkSync(process.execPath, join(this.#bin, 'node'));
    symlinkSync(realpathSync('/bin/sh'), join(this.#bin, 'sh'));
    const source = from === 'clone' ? CLONE : packed(this.folder);
    const words = ['install', '--prefer-offline', '--no-audit', '--no-fund', ...npmWords, source];
    const { status, stdout, stderr } = this.node(npmProgram(), ...words);
    this.npmSaid = stdout + stderr;
    if (status !== 0) throw new Error(`npm install ended with ${status}: ${this.npmSaid}`);
  }

  /** A path in the installed package. */
  path(...names: string[]): string {
    return join(this.folder, 'node_modules', 'diskwright', ...names);
  }

  /** Names of the installed packages. */
  packages(): string[] {
    return readdirSync(join(this.folder, 'node_modules')).filter((name) => !name.startsWith('.'));
  }

  /** Runs node in the folder. */
  node(...words: string[]): Result {
    const env = { ...process.env, PATH: this.#bin, XDG_CACHE_HOME: join(this.folder, 'cache') };
    // What npm hands down to its scripts is for the package that they belong to.
    for (const name of Object.keys(env))
      if (/^npm_(package|lifecycle)_/.test(name)) delete env[name as keyof typeof env];
    const { status, stdout, stderr } = spawnSync(process.execPath, words, { cwd: this.folder, encoding: 'utf8', env });
    return { status, stdout, stderr };
  }

  /** Runs the command line. */
  diskwright(...words: string[]): Result {
    return this.node(join(this.folder, 'node_modules', '.bin', 'diskwright'), ...words);
  }

  /** Runs what a package of the folder, or of this clone, has for the command line, as `npx` does. */
  npx(name: string, ...words: string[]): Result {
    const own = join(this.folder, 'node_modules', '.bin', name);
    if (!existsSync(own)) symlinkSync(realpathSync(join(CLONE, 'node_modules', '.bin', name)), own);
    return this.node(npmProgram(), 'exec', '--offline', '--', name, ...words);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function packed(folder: string): string {
  const tarball = process.env['DISKWRIGHT_TARBALL'] ?? join(folder, 'diskwright.tgz');
  if (!existsSync(tarball)) packTo(tarball);
  return tarball;
}

/** npm's program, to be run by whatever node. */
function npmProgram(): string {
  const given = process.env['npm_execpath'];
  if (given?.endsWith('npm-cli.js')) return given;
  for (const folder of process.env['PATH']!.split(delimiter)) {
    if (existsSync(join(folder, 'npm'))) return realpathSync(join(folder, 'npm'));
  }
  throw new Error('there is no npm in PATH');
}
