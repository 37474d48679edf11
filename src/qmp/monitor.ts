// A monitor at a character device: a session for each client that comes there.
//
//   chardev (where) --> Monitor (how: pretty or not) --> a session for each client

import type { Readable, Writable } from 'node:stream';
import type { LogFile } from '../host/character.js';
import type { Link } from '../host/net.js';
import { bestEffort, detach } from '../util/best-effort.js';
import type { ChardevUser } from './chardev/backend.js';
import { SocketClient } from './clients/socket.js';
import { StreamClient } from './clients/stream.js';
import type { QmpContext } from './context.js';
import type { SessionOptions } from './session.js';

interface Client {
  close(graceful: boolean): Promise<void>;
}

export class Monitor implements ChardevUser {
  readonly #context: QmpContext;
  readonly #options: SessionOptions;
  readonly #clients = new Set<Client>();
  #closed = false;

  constructor(context: QmpContext, options: SessionOptions) {
    this.#context = context;
    this.#options = options;
  }

  link(link: Link, gone: () => void, log: LogFile | null): () => void {
    try {
      const client: SocketClient = new SocketClient(this.#context, link, { ...this.#options, log }, () => {
        this.#clients.delete(client);
        this.#context.passerLeft();
        gone();
      });
      this.#clients.add(client);
      this.#context.passerCame();
      const cut = (): void => detach('monitor', client.close(false));
      if (this.#closed) cut();
      return cut;
    } catch (error) {
      // The host has no memory for one more client.
      bestEffort('monitor')(error);
      detach('monitor', link.close());
      gone();
      return () => undefined;
    }
  }

  streams(input: Readable | null, output: Writable, log: LogFile | null): void {
    this.#clients.add(new StreamClient(this.#context, input, output, { ...this.#options, log }));
  }

  /** Takes no more clients, and ends those that are there once they have got what was written to them. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#clients].map((client) => client.close(true)));
  }
}
