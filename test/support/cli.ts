// Runs the command line as a shell does, and qemu-img beside it. The bundle that is run is made from the sources once a test run.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleCli } from '../../scripts/build.js';
import { noteSaid } from './unexpected.js';

const BUNDLE = fileURLToPath(new URL('../../dist/cli.cjs', import.meta.url));

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

let bundled: Promise<void> | null = null;

/** Path of the bundle: made at the first call, unless `npm test` has just made it (several processes must not write it at once). */
export async function cliBundle(): Promise<string> {
  bundled ??= process.env['DISKWRIGHT_BUNDLED'] === '1' ? Promise.resolve() : bundleCli(BUNDLE);
  await bundled;
  return BUNDLE;
}

/** On a loaded machine qemu-img 7.2 may fail to measure how fast it derives a key: it is asked again then. */
const LOADED = 'Unable to get accurate CPU usage';
const MOST_TRIES = 10;

/** Runs a program in `folder`. */
export function run(program: string, args: readonly string[], folder: string): Outcome {
  for (let tries = 1; ; tries++) {
    const { status, stdout, stderr } = spawnSync(program, args, { cwd: folder, encoding: 'utf8', timeout: 60_000 });
    noteSaid(stderr ?? '');
    if (tries < MOST_TRIES && status !== 0 && stderr?.includes(LOADED)) continue;
    return { code: status, stdout, stderr };
  }
}

/** A folder of a test's own, and the programs in it. */
export class Workshop {
  readonly folder = mkdtempSync(join(tmpdir(), 'diskwright-cli-'));
  readonly bundle: string;

  private constructor(bundle: string) {
    this.bundle = bundle;
  }

  static async open(): Promise<Workshop> {
    return new Workshop(await cliBundle());
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  ours(...args: string[]): Outcome {
    return run(process.execPath, [this.bundle, ...args], this.folder);
  }

  /** A link to our program by the name of one of QEMU's, so that it takes that one's command line. */
  linked(name: string): string {
    const link = this.path(`.${name}-shim/${name}`);
    if (!existsSync(link)) {
      mkdirSync(dirname(link));
      symlinkSync(this.bundle, link);
    }
    return link;
  }

  /** Runs our command line by the name of one of QEMU's programs. */
  shim(name: string, ...args: string[]): Outcome {
    return run(this.linked(name), args, this.folder);
  }

  qemuImg(...args: string[]): Outcome {
    return run('qemu-img', args, this.folder);
  }

  /** Runs a peer. */
  run(program: string, ...args: string[]): Outcome {
    return run(program, args, this.folder);
  }

  /** Runs a peer in another folder. */
  runIn(folder: string, program: string, ...args: string[]): Outcome {
    return run(program, args, folder);
  }

  /** Runs a peer that must succeed. */
  must(program: string, ...args: string[]): string {
    const { code, stdout, stderr } = run(program, args, this.folder);
    if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}: ${stderr}`);
    return stdout;
  }

  qemuIo(image: string, ...commands: string[]): void {
    this.must('qemu-io', ...commands.flatMap((command) => ['-c', command]), image);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What qemu-img said, with our name in the place of its own; a hint is at the help of `verb`, since its own help is of all verbs. */
export function asOurs({ code, stdout, stderr }: Outcome, verb?: string): Outcome {
  const named = stderr.replace(/^qemu-img:/gm, 'diskwright:');
  return { code, stdout, stderr: verb === undefined ? named : named.replace("'qemu-img --", `'diskwright ${verb} --`) };
}
