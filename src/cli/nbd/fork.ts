// --fork: the server goes on in a process of its own, and the command ends when clients are let in.
//
//   command --spawns--> server (its own session)
//           <-- what it says on standard error, until it is up
//           <-- "ready" on a pipe: the command ends with 0
//           <-- or the server ends before that: the command ends with the same code
//
// Node cannot fork. The server is started anew with the same command line, and a variable says what it is.

import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { commandLineFor } from '../command-line.js';
import { writeErrors } from '../output.js';
import { ACTIVATION_FD } from './activation.js';

/** In the server's environment: the number of the process that started it. */
const VARIABLE = 'DISKWRIGHT_NBD_FORKED_BY';
const STATUS_FD = ACTIVATION_FD + 1;
const STANDARD_ERROR_FD = 2;
const READY = 'ready\n';
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The server's end of it. */
export interface Forked {
  /** Process number of the command that was typed. */
  parent: number;
  /** Clients are let in: the command may end. With `quiet`, nothing is said on standard error from here on. Throws where the command is gone. */
  ready(quiet: boolean): void;
}

/** Null in a process that was not forked. */
export function forkedFrom(env: NodeJS.ProcessEnv): Forked | null {
  const parent = Number(env[VARIABLE]);
  delete env[VARIABLE];
  if (parent !== process.ppid) return null;
  return {
    parent,
    ready(quiet) {
      writeSync(STATUS_FD, READY);
      closeSync(STATUS_FD);
      if (!quiet) return;
      // The lowest free number is what is opened next.
      closeSync(STANDARD_ERROR_FD);
      openSync('/dev/null', 'w');
    },
  };
}

/** Resolves with the exit code of the command. */
export async function forkServer({ verbose, activated }: { verbose: boolean; activated: boolean }): Promise<number> {
  // Loaded here: only this command starts another.
  const { spawn } = process.getBuiltinModule('node:child_process');
  const socket = activated ? ACTIVATION_FD : 'ignore';
  const env = commandLineFor({ ...process.env, [VARIABLE]: String(process.pid) });
  if (activated) Object.assign(env, { LISTEN_FDS: '1', LISTEN_PID: String(process.pid) });
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    detached: true,
    stdio: ['ignore', 'ignore', verbose ? 'inherit' : 'pipe', socket, 'pipe'],
    env,
  });
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of SIGNALS) process.on(signal, forward);
  try {
    return await outcome(child);
  } finally {
    for (const signal of SIGNALS) process.off(signal, forward);
    child.unref();
  }
}

/** When everything that it has said so far is passed on. */
function outcome(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = '';
    let code: number | null = null;
    let open = 1;
    const status = child.stdio[STATUS_FD] as Readable;
    const closed = (): void => {
      if (--open > 0) return;
      if (said === READY) resolve(0);
      else if (code !== null) resolve(code);
    };
    if (child.stderr !== null) {
      open++;
      child.stderr.on('data', writeErrors).on('end', closed);
    }
    status.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    status.on('end', closed);
    child.on('error', reject);
    child.on('exit', (exitCode) => {
      code = exitCode ?? 1;
      if (open === 0 && said !== READY) resolve(code);
    });
  });
}
