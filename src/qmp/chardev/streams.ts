// Character devices over streams: standard input and output, files, pipes, pseudo terminals; and the one that nothing comes from.

import { Writable } from 'node:stream';
import type { ByteStreams, Characters, LogFile, TerminalStreams } from '../../host/character.js';
import { bestEffort } from '../../util/best-effort.js';
import type { ChardevBackend, ChardevUser } from './backend.js';

/** Standard streams, a file or a pipe. */
export class StreamsBackend<S extends ByteStreams = ByteStreams> implements ChardevBackend {
  readonly #kind: string;
  readonly #make: () => S;
  readonly #keepsOpen: boolean;
  protected opened: S | null = null;

  /** `keepsOpen`: the streams are the process's, and stay. */
  constructor(kind: string, make: () => S, keepsOpen = false) {
    this.#kind = kind;
    this.#make = make;
    this.#keepsOpen = keepsOpen;
  }

  get filename(): string {
    return this.#kind;
  }

  async open(): Promise<void> {
    this.opened = this.#make();
    const { input, output } = this.opened;
    // Nobody may be at the device yet, or any more, when a stream fails.
    for (const stream of [input, output]) stream?.on('error', bestEffort('character device'));
  }

  attach(user: ChardevUser, log: LogFile | null): void {
    if (this.opened !== null) user.streams(this.opened.input, this.opened.output, log);
  }

  async close(): Promise<void> {
    if (this.opened === null || this.#keepsOpen) return;
    const { input, output } = this.opened;
    this.opened = null;
    input?.destroy();
    // What its reader has not taken by now, nobody takes.
    if (output.writableLength > 0) output.destroy();
    if (output.destroyed) return;
    await new Promise<void>((resolve) => output.once('close', resolve).end(() => output.destroy()));
  }
}

/** A pseudo terminal. What is written before another program opens it waits there, and is read by the first that does. */
export class TerminalBackend extends StreamsBackend<TerminalStreams> {
  constructor(characters: Characters) {
    super('pty', () => characters.openTerminal());
  }

  override get filename(): string {
    return `pty:${this.path}`;
  }

  get path(): string | undefined {
    return this.opened?.path;
  }
}

/** What is written to it is dropped. */
export class NullBackend implements ChardevBackend {
  readonly filename = 'null';

  async open(): Promise<void> {}

  attach(user: ChardevUser, log: LogFile | null): void {
    const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
    user.streams(null, nowhere, log);
  }

  async close(): Promise<void> {}
}
