// QMP: commands are answered in order; events are kept until somebody asks for them by name.

import { LineLink } from './lines.js';
import { within } from './within.js';

export type Json = Record<string, unknown>;

export class Monitor {
  readonly #link: LineLink;
  #replies: { resolve(value: unknown): void; reject(error: Error): void; command: string }[] = [];
  #events: Json[] = [];
  #waiters: (() => void)[] = [];
  #gone = false;

  /** Listens at `path`: QEMU connects with `-qmp unix:PATH`. */
  constructor(path: string) {
    this.#link = new LineLink(path, (line) => this.#receive(JSON.parse(line) as Json));
    void this.#link.ended.then(() => {
      this.#gone = true;
      for (const { reject, command } of this.#replies.splice(0)) reject(new Error(`${command}: QEMU is gone`));
      this.#wake();
    });
    void this.execute('qmp_capabilities').catch(() => undefined);
  }

  execute(command: string, words: Json = {}): Promise<unknown> {
    const answer = new Promise((resolve, reject) => {
      if (this.#gone) throw new Error(`${command}: QEMU is gone`);
      this.#replies.push({ resolve, reject, command });
      this.#link.send(JSON.stringify({ execute: command, arguments: words }));
    });
    return within(command, answer);
  }

  /** The data of the next event of this name, one that has come already among them. Rejects when QEMU is gone. */
  async event(name: string): Promise<Json> {
    for (;;) {
      const at = this.#events.findIndex(({ event }) => event === name);
      if (at >= 0) return (this.#events.splice(at, 1)[0]['data'] ?? {}) as Json;
      if (this.#gone) throw new Error(`waiting for ${name}: QEMU is gone`);
      await within(name, new Promise<void>((resolve) => this.#waiters.push(resolve)));
    }
  }

  close(): void {
    this.#link.close();
  }

  #receive(message: Json): void {
    if ('event' in message) {
      this.#events.push(message);
      this.#wake();
    } else if ('return' in message) this.#replies.shift()?.resolve(message['return']);
    else if ('error' in message) {
      const reply = this.#replies.shift();
      reply?.reject(new Error(`${reply.command}: ${JSON.stringify(message['error'])}`));
    }
  }

  #wake(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }
}
