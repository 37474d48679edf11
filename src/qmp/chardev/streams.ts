// Character devices over streams: standard input and output, files, pipes; and the one that nothing comes from.

import type { ByteStreams } from '../../host/real/character.js';
import { bestEffort } from '../../util/best-effort.js';
import type { ChardevBackend, ChardevUser } from './backend.js';

/** Standard streams, a file or a pipe. */
export class StreamsBackend implements ChardevBackend {
  readonly filename: string;
  readonly #make: () => ByteStreams;
  readonly #keepsOpen: boolean;
  #streams: ByteStreams | null = null;

  /** `keepsOpen`: the streams are the process's, and stay. */
  constructor(filename: string, make: () => ByteStreams, keepsOpen = false) {
    this.filename = filename;
    this.#make = make;
    this.#keepsOpen = keepsOpen;
  }

  async open(): Promise<void> {
    this.#streams = this.#make();
    const { input, output } = this.#streams;
    // Nobody may be at the device yet, or any more, when a stream fails.
    for (const stream of [input, output]) stream?.on('error', bestEffort('character device'));
  }

  attach(user: ChardevUser): void {
    if (this.#streams !== null) user.streams(this.#streams.input, this.#streams.output);
  }

  async close(): Promise<void> {
    if (this.#streams === null || this.#keepsOpen) return;
    const { input, output } = this.#streams;
    this.#streams = null;
    input?.destroy();
    // What its reader has not taken by now, nobody takes.
    if (output.writableLength > 0) output.destroy();
    if (output.destroyed) return;
    await new Promise<void>((resolve) => output.once('close', resolve).end(() => output.destroy()));
  }
}

/** What is written to it is dropped. */
export class NullBackend implements ChardevBackend {
  readonly filename = 'null';

  async open(): Promise<void> {}
  attach(): void {}
  async close(): Promise<void> {}
}
