// Byte streams that are no sockets: standard input and output, files, and named pipes.
//
// Pipes are read and written as sockets of node are, without a thread that waits in a system call. They are opened for both directions, so that
// opening one does not wait for the other side, and the other side's end is none of ours.

import {
  closeSync,
  constants,
  createReadStream,
  createWriteStream,
  existsSync,
  fstatSync,
  openSync,
  writeSync,
} from 'node:fs';
import type { Socket } from 'node:net';
import { reportUnforeseen } from '../../util/best-effort.js';
import { BlockError, type BlockErrorCode, toBlockError } from '../../util/errors.js';
import { encodeName } from '../../util/name-bytes.js';
import type { ByteStreams, Characters, LogFile, TerminalStreams } from '../character.js';
import { errnoName, systemWords } from '../errno.js';
import type { Native } from './binding.js';

const { O_APPEND, O_CREAT, O_NONBLOCK, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = constants;

export class RealCharacters implements Characters {
  readonly #native: Native;

  constructor(native: Native) {
    this.#native = native;
  }

  standard(): ByteStreams {
    return { input: process.stdin, output: process.stdout };
  }

  openFiles(out: string, append: boolean, input: string | undefined): ByteStreams {
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

  openPipes(path: string): ByteStreams {
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

  openTerminal(): TerminalStreams {
    const made = this.#native.openTerminal();
    if (typeof made === 'number') {
      const errno = errnoName(-made);
      const { code } = toBlockError(Object.assign(new Error(errno), { code: errno }));
      throw new BlockError(code, `Failed to create PTY: ${systemWords(errno)}`, { operation: 'open', errno });
    }
    const [fd, other, path] = made;
    const { ReadStream } = process.getBuiltinModule('node:tty');
    const stream = new ReadStream(fd);
    stream.once('close', () => closeSync(other));
    return { input: stream, output: stream, path };
  }

  openLog(path: string, append: boolean): LogFile {
    const fd = open(path, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), 'create');
    return {
      write(bytes) {
        try {
          writeSync(fd, bytes);
        } catch (error) {
          reportUnforeseen('log of a character device', error);
        }
      },
      close: () => closeSync(fd),
    };
  }
}

function openPipe(path: string): number {
  const fd = open(path, O_RDWR);
  if (isPipe(fd)) return fd;
  closeSync(fd);
  throw BlockError.at(path, 'invalid-argument', 'not a pipe', { operation: 'open' });
}

/** Opening does not wait, whatever it is. */
function open(path: string, flags: number, verb: 'open' | 'create' = 'open'): number {
  try {
    return openSync(encodeName(path), flags | O_NONBLOCK, 0o666);
  } catch (cause) {
    const { code, errno } = toBlockError(cause, { operation: 'open', path });
    throw couldNotOpen(path, code, errno, cause, verb);
  }
}

function couldNotOpen(
  path: string,
  code: BlockErrorCode,
  errno: string | undefined,
  cause?: unknown,
  verb = 'open',
): BlockError {
  const words = errno === undefined ? String((cause as Error).message) : systemWords(errno);
  return new BlockError(code, `Could not ${verb} '${path}': ${words}`, { operation: 'open', path, errno, cause });
}

function isPipe(fd: number): boolean {
  return fstatSync(fd).isFIFO();
}

function pipe(fd: number, direction: 'in' | 'out'): Socket {
  const { Socket } = process.getBuiltinModule('node:net');
  return new Socket({ fd, readable: direction === 'in', writable: direction === 'out' });
}
