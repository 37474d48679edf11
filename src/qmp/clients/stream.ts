// A monitor's client at streams of node: standard input and output, files, pipes, a ring buffer.

import type { Readable, Writable } from 'node:stream';
import type { LogFile } from '../../host/character.js';
import type { Clock } from '../../host/host.js';
import type { QmpContext } from '../context.js';
import { Session, type SessionLink } from '../session.js';
import type { ClientOptions } from './options.js';

/** Time limit for the reader at the end. */
const LIMIT_MS = 3000;

export class StreamClient implements SessionLink {
  readonly #input: Readable | null;
  readonly #output: Writable;
  readonly #session: Session;
  readonly #log: LogFile | null;
  readonly #clock: Clock;

  /** Greets the client; without `input` it has nothing to say. The end of `input` ends nothing but the commands: those that are under way are answered. */
  constructor(context: QmpContext, input: Readable | null, output: Writable, { log, ...options }: ClientOptions) {
    this.#input = input;
    this.#log = log;
    this.#output = output;
    this.#clock = context.graph.host.clock;
    this.#session = new Session(context, this, options);
    this.#session.start();
    // Whoever reads the answers has gone: nobody is left to be told.
    output.on('error', () => this.drop());
    input?.on('error', () => this.drop());
    input?.on('data', (bytes: Buffer) => this.#session.received(bytes));
  }

  write(text: string): void {
    this.#log?.write(Buffer.from(text, 'latin1'));
    this.#output.write(text, 'latin1');
  }

  get backlogBytes(): number {
    return this.#output.writableLength;
  }

  receive(on: boolean): void {
    if (on) this.#input?.resume();
    else this.#input?.pause();
  }

  drop(): void {
    this.#session.close();
    this.#input?.destroy();
  }

  /** Resolves when all that was written has been handed over, when the reader has gone, or does not read for a few seconds. */
  async close(): Promise<void> {
    this.drop();
    const output = this.#output;
    if (output.writableLength === 0 || output.destroyed) return;
    let stop = (): void => undefined;
    await new Promise<void>((resolve) => {
      stop = this.#clock.timer(LIMIT_MS, resolve);
      output.once('drain', resolve).once('close', resolve).once('error', resolve);
    });
    stop();
  }
}
