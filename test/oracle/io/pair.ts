// Sessions of qemu-io and of `diskwright io` on copies of the same images, and what they said, made comparable in this one place.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { run, type Workshop } from '../../support/cli.js';
import { noteSaid } from '../../support/unexpected.js';

export interface Said {
  code: number | null;
  /** What has ended the program. */
  signal: string | null;
  /** What was printed for each command, the first one's before it. */
  answers: readonly string[];
  errors: string;
}

/** Both have a folder of their own, so that names in messages are the same. */
export class IoPair {
  readonly ours: string;
  readonly theirs: string;
  readonly #program: string;

  constructor(shop: Workshop) {
    this.ours = shop.path('ours');
    this.theirs = shop.path('theirs');
    mkdirSync(this.theirs);
    this.#program = shop.path('qemu-io');
    symlinkSync(shop.bundle, this.#program);
  }

  /** Runs a program where their images are, before `copy`. */
  make(program: string, ...args: string[]): void {
    const { code, stderr } = run(program, args, this.theirs);
    if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}: ${stderr}`);
  }

  copy(): void {
    rmSync(this.ours, { recursive: true, force: true });
    cpSync(this.theirs, this.ours, { recursive: true });
  }

  /** One session with each: `args`, and `lines` on standard input (without: none). */
  run(args: readonly string[], lines: readonly string[] = []): { ours: Said; theirs: Said } {
    return {
      ours: session(process.execPath, [this.#program, ...args], this.ours, lines),
      theirs: session('qemu-io', args, this.theirs, lines),
    };
  }

  /** What qemu-img says of an image of each. */
  look(...args: string[]): { ours: string; theirs: string } {
    const [ours, theirs] = [this.ours, this.theirs].map((folder) => {
      const { code, stdout, stderr } = run('qemu-img', args, folder);
      return `${code} ${stdout}${stderr}`;
    });
    return { ours, theirs };
  }

  path(of: 'ours' | 'theirs', name: string): string {
    return join(this[of], name);
  }
}

function session(program: string, args: readonly string[], cwd: string, lines: readonly string[]): Said {
  const input = lines.map((line) => `${line}\n`).join('');
  const { status, signal, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    input,
    encoding: 'utf8',
    timeout: 60_000,
    maxBuffer: 1 << 28,
  });
  if (program !== 'qemu-io') noteSaid(stderr);
  if (error !== undefined) {
    throw new Error(`${program} ${args.join(' ')} did not end:\n${stdout}\n${stderr}`);
  }
  return {
    code: status,
    signal,
    answers: stdout.split('qemu-io> ').map(comparable),
    errors: stderr.replace(/#block\d+/g, '#block'),
  };
}

/** Times and rates differ, and so do the words that explain a command. */
function comparable(text: string): string {
  return text
    .replace(/(\d ops); .*$/gm, '$1')
    .replace(/^(\d+,1),.*$/gm, '$1')
    .replace(/^([a-z_]+) .*-- .*$/gm, '$1 ... -- ...');
}
