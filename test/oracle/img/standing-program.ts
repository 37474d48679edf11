// Runs command lines of ours in one process (`standing.ts`), so that thousands of them do not start as many.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Outcome } from '../../support/cli.js';
import { programOf } from '../../support/program.js';
import { noteSaid } from '../../support/unexpected.js';

/** A command line takes no longer. */
const LIMIT_MS = 60_000;

export class StandingProgram {
  readonly #name: string;
  readonly #folder = mkdtempSync(join(tmpdir(), 'diskwright-standing-'));
  /** What goes to standard output and to standard error. */
  readonly #files = ['out', 'errors'].map((name) => openSync(join(this.#folder, name), 'a+'));
  #child: ChildProcess | null = null;
  #last: Promise<unknown> = Promise.resolve();

  /** `name`: what the program is called by. */
  constructor(name: string) {
    this.#name = name;
  }

  /** Runs a command line after those that were asked for before. */
  run(words: readonly string[], folder: string): Promise<Outcome> {
    const outcome = this.#last.then(() => this.#run(words, folder));
    this.#last = outcome.catch(() => undefined);
    return outcome;
  }

  async #run(words: readonly string[], folder: string): Promise<Outcome> {
    this.#child ??= spawn(process.execPath, [programOf(new URL('./standing.ts', import.meta.url))], {
      stdio: ['ignore', this.#files[0], this.#files[1], 'ipc'],
    });
    const child = this.#child;
    const starts = this.#files.map((fd) => fstatSync(fd).size);
    const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
    const code = await new Promise<number | null>((resolve) => {
      const done = (value: number | null): void => {
        child.off('message', done).off('exit', done).off('error', failed);
        resolve(value);
      };
      // It has ended since the last command.
      const failed = (): void => done(null);
      child.on('message', done).on('exit', done).on('error', failed);
      child.send({ name: this.#name, words, folder });
    });
    clearTimeout(timer);
    if (child.exitCode !== null || child.signalCode !== null) this.#child = null;
    const [stdout, stderr] = this.#files.map((fd, i) => textFrom(fd, starts[i]));
    noteSaid(stderr);
    return { code, stdout, stderr };
  }

  async end(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child !== null) {
      const exit = once(child, 'exit');
      child.disconnect();
      await exit;
    }
    for (const fd of this.#files) closeSync(fd);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function textFrom(fd: number, start: number): string {
  const bytes = Buffer.alloc(fstatSync(fd).size - start);
  readSync(fd, bytes, 0, bytes.length, start);
  return bytes.toString();
}
