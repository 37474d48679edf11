// A client of a monitor: Diskwright's daemon, qemu-storage-daemon, or a machine of QEMU.
//
//   execute --Calls--> {execute, arguments, id} --LinkStream--> server
//   server --LinkStream--> MessageParser --> greeting | answer --Calls--> promise
//                                        --> event --> listeners, queues
//
// What the server sends is bounded as what a client sends to us is: by the parser's limits. A server that answers what nobody has asked, or
// sends what is no QMP, is left.

import type { Host } from '../../host/host.js';
import type { Link } from '../../host/net.js';
import type { VersionInfo } from '../../schema/generated/types.js';
import { detach } from '../../util/best-effort.js';
import { BlockError } from '../../util/errors.js';
import { Listeners } from '../../util/listeners.js';
import { MessageParser } from '../json/parser.js';
import { writeJson } from '../json/writer.js';
import { LinkStream, type LinkStreamOwner } from '../link-stream.js';
import { Calls } from './calls.js';
import { EventQueue } from './event-queue.js';
import type { AnyQmpEvent, QmpArguments, QmpCommandName, QmpEventName, QmpReturn } from './types.js';

/** Bytes of commands that the server has not taken. */
const MAX_BACKLOG_BYTES = 64 << 20;

const RESETS = ['ECONNRESET', 'EPIPE'];

export interface Greeting {
  version: VersionInfo;
  capabilities: readonly string[];
}

type EventMap = { [K in QmpEventName]: Extract<AnyQmpEvent, { event: K }> } & { any: AnyQmpEvent };

export class Client implements LinkStreamOwner {
  /** Resolves when the connection has ended, however that came. */
  readonly ended: Promise<void>;
  readonly peer: string;
  readonly #stream: LinkStream;
  readonly #parser: MessageParser;
  readonly #calls = new Calls();
  readonly #listeners = new Listeners<EventMap>('QMP event');
  readonly #queues = new Set<EventQueue>();
  readonly #greeted: Promise<Greeting>;
  #greet: (greeting: Greeting) => void = () => undefined;
  #resolveEnded: () => void = () => undefined;
  #error: BlockError | null = null;
  #open = true;

  /** Throws `limit` where the host has no memory for it. */
  constructor(host: Pick<Host, 'memory' | 'clock'>, link: Link) {
    this.peer = link.peer;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#greeted = new Promise((resolve) => {
      this.#greet = resolve;
    });
    this.#parser = new MessageParser({
      message: (message) => this.#message(message),
      malformed: (error) => this.#leave(error.message),
    });
    this.#stream = new LinkStream(host, link, this);
    this.#stream.receive(true);
  }

  /** Waits for the greeting and ends the negotiation; `oob` is enabled where the server has it. Rejects with `io`, `closed`. */
  async negotiate(): Promise<Greeting> {
    const gone = this.ended.then(() => {
      throw this.#gone('greeting');
    });
    const greeting = await Promise.race([this.#greeted, gone]);
    const enable = greeting.capabilities.filter((name) => name === 'oob');
    await this.execute('qmp_capabilities', enable.length > 0 ? { enable } : {}, false, undefined);
    return greeting;
  }

  /** Rejects with what the server says, and with `closed`, `io`, `limit`, `cancelled`. */
  async execute(command: string, args: object, outOfBand: boolean, signal: AbortSignal | undefined): Promise<unknown> {
    if (!this.#open) throw this.#gone(command);
    if (this.#stream.backlogBytes > MAX_BACKLOG_BYTES) {
      throw new BlockError('limit', `${this.peer} does not take what is sent to it`, { operation: command });
    }
    const verb = outOfBand ? 'exec-oob' : 'execute';
    const given = Object.keys(args).length > 0 ? { arguments: args } : {};
    return this.#calls.begin(command, outOfBand, signal, (id) => {
      this.#stream.write(`${writeJson({ [verb]: command, ...given, id })}\r\n`);
    });
  }

  /** A command of the schema. Rejects as `execute`. */
  async call<K extends QmpCommandName>(command: K, args: QmpArguments<K>): Promise<QmpReturn<K>> {
    return (await this.execute(command, args, false, undefined)) as QmpReturn<K>;
  }

  on<K extends keyof EventMap>(name: K, listener: (event: EventMap[K]) => unknown): () => void {
    return this.#listeners.on(name, listener);
  }

  /** Events from now on; `names` is empty for all. */
  events(names: readonly QmpEventName[]): EventQueue {
    const queue: EventQueue = new EventQueue(new Set(names), () => this.#queues.delete(queue));
    if (this.#open) this.#queues.add(queue);
    else queue.end(this.#error);
    return queue;
  }

  /** Commands that were sent are not waited for. `graceful`: they are sent first, and the server is given a few seconds to close its side. */
  async close(graceful: boolean): Promise<void> {
    await this.#stream.close(graceful);
    await this.ended;
  }

  // ---- the stream's owner --------------------------------------------------------------------------------------

  received(bytes: Uint8Array): void {
    if (this.#error === null) this.#parser.feed(bytes);
  }

  closed(error: BlockError | null): void {
    this.#open = false;
    // A server that goes while it still has something to read resets the connection: that is its end, and no failure.
    if (error !== null && !RESETS.includes(error.errno ?? '')) this.#error ??= error;
    this.#calls.fail((command) => this.#gone(command));
    for (const queue of this.#queues) queue.end(this.#error);
    this.#queues.clear();
    this.#resolveEnded();
  }

  #message(message: unknown): void {
    if (this.#error !== null) return;
    const found = (typeof message === 'object' && message !== null ? message : {}) as Record<string, unknown>;
    if ('event' in found) this.#event(found);
    else if ('QMP' in found) this.#greeting(found['QMP']);
    else if (('return' in found || 'error' in found) && this.#calls.settle(found)) return;
    else this.#leave('it has sent a message that is none of QMP');
  }

  #greeting(greeting: unknown): void {
    const { version, capabilities } = (greeting ?? {}) as Partial<Greeting>;
    if (typeof version !== 'object' || version === null || !Array.isArray(capabilities)) {
      this.#leave('it has sent a greeting without a version');
    } else this.#greet({ version, capabilities });
  }

  #event(message: Record<string, unknown>): void {
    const event = { data: {}, ...message } as AnyQmpEvent;
    for (const queue of [...this.#queues]) queue.push(event);
    this.#listeners.emit(event.event, event as never);
    this.#listeners.emit('any', event);
  }

  /** The server does not speak QMP as it should. */
  #leave(why: string): void {
    this.#error ??= BlockError.at(this.peer, 'io', `not a QMP server: ${why}`, { operation: 'qmp' });
    detach('QMP client', this.#stream.close(false));
  }

  #gone(command: string): BlockError {
    if (this.#error !== null) return this.#error.as(this.#error.code, { operation: command });
    return BlockError.at(this.peer, 'closed', 'the connection to the monitor has ended', { operation: command });
  }
}
