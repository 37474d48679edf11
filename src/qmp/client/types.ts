// What a program sees of a QMP client: the commands and events of the schema, as types.

import type { QapiCommands, QapiEvents } from '../../schema/generated/types.js';

/** Names of the commands in Diskwright's schema. */
export type QmpCommandName = keyof QapiCommands;

/** Names of the events in Diskwright's schema. */
export type QmpEventName = keyof QapiEvents;

/** The arguments of a command, with the schema's names. */
export type QmpArguments<K extends QmpCommandName> = QapiCommands[K]['arguments'];

/** What a command returns. Integers beyond 2^53 - 1 are `bigint`. */
export type QmpReturn<K extends QmpCommandName> = QapiCommands[K]['returns'];

/** An event as it came. */
export interface QmpClientEvent<K extends QmpEventName = QmpEventName> {
  event: K;
  data: QapiEvents[K];
  /** When it happened, by the clock of the server; both -1 where the server could not tell. */
  timestamp: { seconds: number; microseconds: number };
}

/** Each event with its own data: `switch (event.event)` tells them apart. */
export type AnyQmpEvent = { [K in QmpEventName]: QmpClientEvent<K> }[QmpEventName];

/** Where a monitor listens: the path of a UNIX socket, or one of these. */
export type QmpAddress =
  | string
  /** `abstract`: a name in Linux's abstract name space, not a file. */
  | { path: string; abstract?: boolean }
  | { host: string; port: number }
  /** A descriptor of this process, connected already; it is taken over. */
  | { fd: number };

export interface ConnectQmpOptions {
  /** Limit for the connection and the greeting, in milliseconds; 0: none. Default: 10000. */
  timeoutMs?: number;
  /** Ends the attempt. */
  signal?: AbortSignal;
}

export interface ExecuteOptions {
  /** Overtakes the commands that wait at the server (`exec-oob`): only commands that the schema allows this for. */
  outOfBand?: boolean;
  /** Stops waiting for the answer: the promise rejects with `cancelled`. The server goes on with the command. */
  signal?: AbortSignal;
}
