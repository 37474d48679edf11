// Monitors of a daemon: where clients come in, and the clients that are there.
//
//   Chardev (where) --> Monitor (how: pretty or not) --> a session for each client
//
// Any number of clients may be connected to one socket. QEMU takes one at a time there; for it alone nothing is different.

import type { Link, Listener, NetAddress } from '../host/net.js';
import { bestEffort, detach } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import { Waiters } from '../util/waiters.js';
import { SocketClient } from './clients/socket.js';
import { StreamClient } from './clients/stream.js';
import type { QmpContext } from './context.js';
import type { SessionOptions } from './session.js';

interface Client {
  close(graceful: boolean): Promise<void>;
}

export class Monitor {
  readonly #context: QmpContext;
  readonly #options: SessionOptions;
  readonly #clients = new Set<Client>();
  readonly #came = new Waiters();
  #listener: Listener | null = null;
  #closed = false;

  constructor(context: QmpContext, options: SessionOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** Takes clients at `address`. Rejects as `Net.listen`. */
  async listen(address: NetAddress): Promise<void> {
    this.#listener = await this.#context.graph.host.net.listen(address, (link) => this.#accept(link));
  }

  /** Connects to somebody who listens, and serves that. Rejects as `Net.connect`. */
  async connect(address: NetAddress): Promise<void> {
    this.#accept(await this.#context.graph.host.net.connect(address));
  }

  /** Serves standard input and output. */
  useStdio(): void {
    this.#clients.add(new StreamClient(this.#context, process.stdin, process.stdout, this.#options));
  }

  /** Resolves when there is a client. Rejects with `closed` where the monitor ends before one comes. */
  async connected(): Promise<void> {
    while (this.#clients.size === 0) {
      if (this.#closed) throw new BlockError('closed', 'the monitor is closed');
      await this.#came.wait();
    }
  }

  #accept(link: Link): void {
    try {
      const client: SocketClient = new SocketClient(this.#context, link, this.#options, () => {
        this.#clients.delete(client);
      });
      this.#clients.add(client);
      this.#came.wake();
    } catch (error) {
      // The host has no memory for one more client.
      bestEffort('monitor')(error);
      detach('monitor', link.close());
    }
  }

  /** Takes no more clients, and ends those that are there once they have got what was written to them. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#came.wake();
    await this.#listener?.close().catch(bestEffort('closing a monitor'));
    await Promise.all([...this.#clients].map((client) => client.close(true)));
  }
}
