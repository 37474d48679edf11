// Byte streams of a host that are neither images nor sockets: standard input and output, files and pipes that are read and written in order,
// pseudo terminals, and logs.

import type { Readable, Writable } from 'node:stream';

export interface ByteStreams {
  /** Null: nothing comes. */
  input: Readable | null;
  output: Writable;
}

/** A pseudo terminal: what other programs write to `path` is the input. */
export interface TerminalStreams extends ByteStreams {
  path: string;
}

/** A file that is only appended to. */
export interface LogFile {
  /** Never throws: a log that cannot be written stops nothing. */
  write(bytes: Uint8Array): void;
  close(): void;
}

export interface Characters {
  /** The process's own: they are not to be closed. */
  standard(): ByteStreams;
  /** Opens a file for writing, which is made where it is not there, and one for reading. Throws `not-found`, `permission`, ... */
  openFiles(out: string, append: boolean, input: string | undefined): ByteStreams;
  /** Opens the pipes `path.in` and `path.out`. Throws as `openFiles`, and `unsupported` where there is but one pipe `path`. */
  openPipes(path: string): ByteStreams;
  /** Throws `limit`, `permission`, ... */
  openTerminal(): TerminalStreams;
  /** `append`: the file keeps what it has. Throws as `openFiles`. */
  openLog(path: string, append: boolean): LogFile;
}
