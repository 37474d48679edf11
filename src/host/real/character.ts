// Byte streams that are no sockets: standard input and output, files, and named pipes.
//
// Pipes are read and written as sockets of node are, without a thread that waits in a system call. They are opened for both directions, so that
// opening one does not wait for the other side, and the other side's end is none of ours.

import { closeSync, constants, createReadStream, createWriteStream, existsSync, fstatSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { BlockError, type BlockErrorCode, toBlockError } from '../../util/errors.js';
import { encodeName } from '../../util/name-bytes.js';
import { systemWords } from '../errno.js';

export interface ByteStreams {
  /** Null: nothing comes. */
  input: Readable | null;
  output: Writable;
}

const { O_APPEND, O_CREAT, O_NONBLOCK, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = constants;

export function standardStreams(): ByteStreams {
  return { input: process.stdin, output: process.stdout };
}

/** Opens a file for writing, which is made where it is not there, and one for reading. Throws `not-found`, `permission`, ... */
export function openFileStreams(out: string, append: boolean, input: string | undefined): ByteStreams {
  // What cannot be read is refused before the other file is truncated.
  const source = input === undefined ? null : open(input, O_RDONLY);
  let target: number;
  try {
    target = open(out, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC));
  } catch (error) {
    if (source !== null) closeSync(source);
    throw error;
  }
  return {
    input: source === null ? null : isPipe(source) ? pipe(source, 'in') : createReadStream('', { fd: source }),
    output: isPipe(target) ? pipe(target, 'out') : createWriteStream('', { fd: target }),
  };
}

/** Opens the pipes `path.in` and `path.out`. Throws as `openFileStreams`, and `unsupported` where there is but one pipe `path`. */
export function openPipeStreams(path: string): ByteStreams {
  const opened: number[] = [];
  try {
    for (const name of [`${path}.in`, `${path}.out`]) opened.push(openPipe(name));
  } catch (error) {
    for (const fd of opened) closeSync(fd);
    if (existsSync(encodeName(path))) {
      const why =
        'one pipe for both directions would read what it has written: make one with .in and one with .out behind this name';
      throw BlockError.at(path, 'unsupported', why, { operation: 'open', cause: error });
    }
    // The name that was asked for.
    throw error instanceof BlockError && error.errno === 'ENOENT' ? couldNotOpen(path, 'not-found', 'ENOENT') : error;
  }
  const [input, output] = opened;
  return { input: pipe(input, 'in'), output: pipe(output, 'out') };
}

function openPipe(path: string): number {
  const fd = open(path, O_RDWR);
  if (isPipe(fd)) return fd;
  closeSync(fd);
  throw BlockError.at(path, 'invalid-argument', 'not a pipe', { operation: 'open' });
}

/** Opening does not wait, whatever it is. */
function open(path: string, flags: number): number {
  try {
    return openSync(encodeName(path), flags | O_NONBLOCK, 0o666);
  } catch (cause) {
    const { code, errno } = toBlockError(cause, { operation: 'open', path });
    throw couldNotOpen(path, code, errno, cause);
  }
}

function couldNotOpen(path: string, code: BlockErrorCode, errno: string | undefined, cause?: unknown): BlockError {
  const words = errno === undefined ? String((cause as Error).message) : systemWords(errno);
  return new BlockError(code, `Could not open '${path}': ${words}`, { operation: 'open', path, errno, cause });
}

function isPipe(fd: number): boolean {
  return fstatSync(fd).isFIFO();
}

function pipe(fd: number, direction: 'in' | 'out'): Socket {
  return new Socket({ fd, readable: direction === 'in', writable: direction === 'out' });
}
