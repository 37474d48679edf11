// A connection to a monitor, as a program has it in hand.

import { inspect } from 'node:util';
import type { Host } from '../host/host.js';
import type { NetAddress } from '../host/net.js';
import type { Client, Greeting } from '../qmp/client/client.js';
import { connectClient } from '../qmp/client/connect.js';
import type {
  AnyQmpEvent,
  ConnectQmpOptions,
  ExecuteOptions,
  QmpAddress,
  QmpArguments,
  QmpClientEvent,
  QmpCommandName,
  QmpEventName,
  QmpReturn,
} from '../qmp/client/types.js';
import type { VersionInfo } from '../schema/generated/types.js';
import {
  abortSignal,
  bool,
  callback,
  fileName,
  integer,
  list,
  plainObject,
  type Shape,
  takeSettings,
  text,
} from '../schema/shape.js';
import { BlockError } from '../util/errors.js';

const CONNECT: Shape<ConnectQmpOptions> = { timeoutMs: integer(0), signal: abortSignal };
const EXECUTE: Shape<ExecuteOptions> = { outOfBand: bool, signal: abortSignal };

interface AnyAddress {
  path?: string;
  abstract?: boolean;
  host?: string;
  port?: number;
  fd?: number;
}
const ADDRESS: Shape<AnyAddress> = {
  path: fileName,
  abstract: bool,
  host: text,
  port: integer(1, 65535),
  fd: integer(0, 2 ** 31 - 1),
};

/** Commands that need no arguments are executed without them. */
type ArgumentsOf<K extends QmpCommandName> =
  // biome-ignore lint/complexity/noBannedTypes: "no member is required" is what is asked for.
  {} extends QmpArguments<K>
    ? [args?: QmpArguments<K>, options?: ExecuteOptions]
    : [args: QmpArguments<K>, options?: ExecuteOptions];

/** Connects; `onEnd` is called when the connection has ended. Rejects as `connectClient`, and with `invalid-argument`. */
export let openQmp: (
  host: Host,
  address: NetAddress,
  options: ConnectQmpOptions,
  onEnd: (client: QmpClient) => void,
) => Promise<QmpClient>;

/** A connection to a QMP monitor: of Diskwright's daemon, of qemu-storage-daemon, or of a machine of QEMU. */
export class QmpClient {
  readonly #client: Client;
  readonly #greeting: Greeting;

  private constructor(client: Client, greeting: Greeting) {
    this.#client = client;
    this.#greeting = greeting;
  }

  static {
    openQmp = async (host, address, options, onEnd) => {
      const { client, greeting } = await connectClient(host, address, options);
      const opened = new QmpClient(client, greeting);
      client.ended.then(() => onEnd(opened));
      return opened;
    };
  }

  /** The server's version, from its greeting: `version.qemu.major`, `version.package`. */
  get version(): VersionInfo {
    return this.#greeting.version;
  }

  /** The server takes commands out of band (`outOfBand` of `execute`). */
  get hasOutOfBand(): boolean {
    return this.#greeting.capabilities.includes('oob');
  }

  /** Resolves when the connection has ended: closed here or by the server, or lost. Never rejects. */
  get closed(): Promise<void> {
    return this.#client.ended;
  }

  /**
   * Executes a command of the schema; arguments have QAPI's names. Many may be under way: the server answers them one after the other. Rejects with
   * a `BlockError` whose `qmpClass` is the server's error class and whose message is its text; its code is `unsupported` (CommandNotFound),
   * `device-not-found`, `not-active`, or `refused` for all others. Rejects also with `closed` or `io` (the connection has ended), `cancelled` (the
   * signal), and `limit`.
   */
  execute<K extends QmpCommandName>(command: K, ...rest: ArgumentsOf<K>): Promise<QmpReturn<K>>;
  execute(command: string, args: unknown = {}, options: ExecuteOptions = {}): Promise<unknown> {
    return this.executeAny(command, args as object, options);
  }

  /** As `execute`, for a command that Diskwright's schema does not have: of another version of QEMU, or of a machine. */
  async executeAny(command: string, args: object = {}, options: ExecuteOptions = {}): Promise<unknown> {
    const name = text(command, 'command');
    const given = plainObject(args, 'args');
    const { outOfBand = false, signal } = takeSettings(EXECUTE, options, 'settings');
    if (outOfBand && !this.hasOutOfBand) {
      throw new BlockError('unsupported', 'the server takes no commands out of band', { operation: name });
    }
    return this.#client.execute(name, given, outOfBand, signal);
  }

  /** Listens to an event by its name. Returns a function that ends the listening. */
  on<K extends QmpEventName>(name: K, listener: (event: QmpClientEvent<K>) => unknown): () => void {
    const checked = callback<(event: unknown) => unknown>()(listener, 'listener');
    return this.#client.on(text(name, 'name') as K, checked);
  }

  /** Listens to all events, those that the schema does not have included. Returns as `on`. */
  onAny(listener: (event: AnyQmpEvent) => unknown): () => void {
    return this.#client.on('any', callback<typeof listener>()(listener, 'listener'));
  }

  /**
   * All events from this call on, or those with one of `names`. The iteration ends with the connection; it throws `io` where that was lost, and `limit`
   * where more than 16384 events were not taken.
   */
  events<K extends QmpEventName = QmpEventName>(...names: readonly K[]): AsyncIterableIterator<QmpClientEvents<K>> {
    return this.#client.events(list(text)(names, 'names') as K[]) as AsyncIterableIterator<QmpClientEvents<K>>;
  }

  /** Ends the connection. Commands that were sent go on at the server; those that were not answered reject with `closed`. */
  close(): Promise<void> {
    return this.#client.close(true);
  }

  /** As `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** What `console.log` and `util.inspect` show. */
  [inspect.custom](_depth: number, options: object): string {
    return `QmpClient ${inspect({ peer: this.#client.peer, version: this.version }, options)}`;
  }
}

/** The events with these names, each with its own data. */
type QmpClientEvents<K extends QmpEventName> = Extract<AnyQmpEvent, { event: K }>;

/** Throws `invalid-argument`, `unknown-option`. */
export function qmpAddress(address: QmpAddress, absolute: (path: string) => string): NetAddress {
  const given = takeSettings(ADDRESS, typeof address === 'string' ? { path: address } : address, 'address');
  const { path, abstract, host, port, fd } = given;
  const kinds = [path, port, fd].filter((one) => one !== undefined);
  if (
    kinds.length !== 1 ||
    (host !== undefined) !== (port !== undefined) ||
    (abstract !== undefined && path === undefined)
  ) {
    throw new BlockError('invalid-argument', 'a monitor is at a path, at a host and port, or at an fd');
  }
  if (path !== undefined) return { type: 'unix', path: abstract ? path : absolute(path), abstract };
  if (port !== undefined) return { type: 'inet', host: host as string, port };
  return { type: 'fd', fd: fd as number };
}

/** Throws `invalid-argument`, `unknown-option`. */
export function connectOptions(options: ConnectQmpOptions): ConnectQmpOptions {
  return takeSettings(CONNECT, options, 'settings');
}
