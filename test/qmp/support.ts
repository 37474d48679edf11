// A monitor's session in this process, over the real host, and what it answers.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Graph } from '../../src/block/graph.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { openRealHost } from '../../src/host/real/index.js';
import { settingsOfOptions } from '../../src/qmp/chardev/settings.js';
import { QmpContext } from '../../src/qmp/context.js';
import { Session } from '../../src/qmp/session.js';
import type { ChardevOptions, ChardevReturn } from '../../src/schema/generated/types.js';
import type { Generations } from '../../src/schema/introspect.js';
import { Waiters } from '../../src/util/waiters.js';

export interface Message {
  QMP?: object;
  return?: unknown;
  error?: { class: string; desc: string; data?: object };
  id?: unknown;
  event?: string;
  data?: Record<string, unknown>;
  timestamp?: { seconds: number; microseconds: number };
}

/** A daemon without its sockets: contexts, and any number of clients. */
export class Bench {
  readonly folder = mkdtempSync(join(tmpdir(), 'diskwright-qmp-'));
  readonly host = openRealHost();
  readonly context: QmpContext;
  quits = 0;
  readonly #clients: Client[] = [];

  /** `warn` gets the daemon's warnings. `generations`: older QMPs that are there, too. */
  constructor(warn?: (message: string) => void, generations?: Generations) {
    registerDrivers();
    const options = { package: 'test', generations, quit: () => this.quits++ };
    this.context = new QmpContext(new Graph(this.host, { warn }), options);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Makes a character device, as the command line does. */
  addChardev(options: ChardevOptions): Promise<ChardevReturn> {
    return this.context.chardevs.add(
      options.id,
      () => settingsOfOptions(options),
      (error) => error,
    );
  }

  /** A client that has negotiated. */
  async client(enable: string[] = []): Promise<Client> {
    const client = this.stranger();
    await client.call('qmp_capabilities', { enable });
    return client;
  }

  /** A client that has the greeting before it. */
  stranger(): Client {
    const client = new Client(this.context);
    this.#clients.push(client);
    return client;
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.session.close();
    try {
      await this.context.close();
    } finally {
      await this.host.close();
      rmSync(this.folder, { recursive: true, force: true });
    }
  }
}

export class Client {
  readonly session: Session;
  /** All that came, in order. */
  readonly messages: Message[] = [];
  /** What `backlogBytes` says. */
  backlogBytes = 0;
  receiving = true;
  dropped = false;
  readonly #came = new Waiters();
  #taken = 0;
  #ids = 0;

  constructor(context: QmpContext) {
    const client = this;
    this.session = new Session(context, {
      write(text) {
        client.messages.push(JSON.parse(text) as Message);
        client.#came.wake();
      },
      get backlogBytes() {
        return client.backlogBytes;
      },
      receive(on) {
        client.receiving = on;
      },
      drop() {
        client.dropped = true;
      },
    });
    this.session.start();
    this.#taken = 1;
  }

  send(text: string | object): void {
    this.session.received(Buffer.from(typeof text === 'string' ? text : JSON.stringify(text)));
  }

  /** The next message, whatever it is. */
  async next(): Promise<Message> {
    while (this.messages.length === this.#taken) await this.#came.wait();
    return this.messages[this.#taken++];
  }

  /** The answer to a command. Events that come before it stay in `messages`. */
  async ask(execute: string, args?: object): Promise<Message> {
    const id = `call ${this.#ids++}`;
    this.send({ execute, ...(args !== undefined && { arguments: args }), id });
    for (;;) {
      const message = await this.next();
      if (message.id === id) return message;
    }
  }

  /** What a command returned. Throws where it failed. */
  async call(execute: string, args?: object): Promise<unknown> {
    const { return: returned, error } = await this.ask(execute, args);
    if (error !== undefined) throw new Error(`${execute}: ${error.class}: ${error.desc}`);
    return returned;
  }

  /** Waits for an event, from the beginning, or from one of the messages, on. */
  async event(name: string, fits: (data: Record<string, unknown>) => boolean = () => true, from = 0): Promise<Message> {
    for (let at = from; ; at++) {
      while (this.messages.length === at) await this.#came.wait();
      const message = this.messages[at];
      if (message.event === name && fits(message.data ?? {})) return message;
    }
  }

  /** Names of all events so far, those of jobs with their state. */
  get events(): string[] {
    return this.messages.flatMap(({ event, data }) =>
      event === undefined ? [] : [event === 'JOB_STATUS_CHANGE' ? `${data?.['id']} ${data?.['status']}` : event],
    );
  }
}
