// --fork: the server runs in a process of its own, and the command ends when clients can connect.
//
//   command --spawns--> server (its own session)
//           <-- messages on standard error, until the server is ready
//           <-- "ready" on a pipe: the command ends with 0
//           <-- or the server ends before that: the command ends with the same code
//
// Node cannot fork a process. The command is started a second time with the same arguments, and a variable tells that process to be the server.

import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { commandLineFor } from '../command-line.js';
import { ENDING_SIGNALS, exitCodeOf } from '../end-process.js';
import { writeErrors } from '../output.js';
import { ACTIVATION_FD } from './activation.js';

/** In the server's environment: the number of the process that started it. */
const VARIABLE = 'DISKWRIGHT_NBD_FORKED_BY';
const STATUS_FD = ACTIVATION_FD + 1;
const STANDARD_ERROR_FD = 2;
const READY = 'ready\n';

/** The forked server's connection to the command. */
export interface Forked {
  /** Process id of the command that was typed. */
  parent: number;
  /** Tells the command that clients can connect. With `quiet`, standard error is closed then. Throws where the command has ended. */
  ready(quiet: boolean): void;
}

/** For the server process: its connection to the command. Null in a process that was not forked. */
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
      // The next file that is opened gets the lowest free number: this one.
      closeSync(STANDARD_ERROR_FD);
      openSync('/dev/null', 'w');
    },
  };
}

/** For the command: starts the server process, and resolves with the command's exit code when clients can connect, or the server has ended. */
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
  for (const signal of ENDING_SIGNALS) process.on(signal, forward);
  try {
    return await outcome(child);
  } finally {
    for (const signal of ENDING_SIGNALS) process.off(signal, forward);
    child.unref();
  }
}

/** The command's exit code. Resolves when all of the server's messages so far were written. */
function outcome(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let statusText = '';
    let code: number | null = null;
    let open = 1;
    const status = child.stdio[STATUS_FD] as Readable;
    const closed = (): void => {
      if (--open > 0) return;
      if (statusText === READY) resolve(0);
      else if (code !== null) resolve(code);
    };
    if (child.stderr !== null) {
      open++;
      child.stderr.on('data', writeErrors).on('end', closed);
    }
    status.on('data', (chunk: Buffer) => {
      statusText += chunk.toString();
    });
    status.on('end', closed);
    child.on('error', reject);
    child.on('exit', (exitCode, signal) => {
      code = exitCode ?? exitCodeOf(signal);
      if (open === 0 && statusText !== READY) resolve(code);
    });
  });
}
