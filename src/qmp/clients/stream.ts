// A monitor's client at streams of node: standard input and output.

import type { Readable, Writable } from 'node:stream';
import type { QmpContext } from '../context.js';
import { Session, type SessionLink, type SessionOptions } from '../session.js';

export class StreamClient implements SessionLink {
  readonly #input: Readable;
  readonly #output: Writable;
  readonly #session: Session;

  /** Greets the client. The end of `input` ends nothing but the commands: those that are under way are answered. */
  constructor(context: QmpContext, input: Readable, output: Writable, options: SessionOptions) {
    this.#input = input;
    this.#output = output;
    this.#session = new Session(context, this, options);
    this.#session.start();
    // Whoever reads the answers has gone: nobody is left to be told.
    output.on('error', () => this.drop());
    input.on('error', () => this.drop());
    input.on('data', (bytes: Buffer) => this.#session.received(bytes));
  }

  write(text: string): void {
    this.#output.write(text, 'latin1');
  }

  get backlogBytes(): number {
    return this.#output.writableLength;
  }

  receive(on: boolean): void {
    if (on) this.#input.resume();
    else this.#input.pause();
  }

  drop(): void {
    this.#session.close();
    this.#input.destroy();
  }

  /** Resolves when all that was written has been handed over, or the reader has gone. */
  async close(): Promise<void> {
    this.drop();
    if (this.#output.writableLength === 0 || this.#output.destroyed) return;
    await new Promise<void>((resolve) =>
      this.#output.once('drain', resolve).once('close', resolve).once('error', resolve),
    );
  }
}
