// What a character device is made of: a backend, which reaches the outside, and the user that is at it.

import type { Readable, Writable } from 'node:stream';
import type { UserObjects } from '../../block/objects/index.js';
import type { LogFile } from '../../host/character.js';
import type { Host } from '../../host/host.js';
import type { Link } from '../../host/net.js';

/** Who is at a device: a monitor. What it writes, it writes to `log`, too. */
export interface ChardevUser {
  /** Somebody has connected. `gone` is to be called when that is over. The result disconnects him. */
  link(link: Link, gone: () => void, log: LogFile | null): () => void;
  /** Bytes come and go by these, for as long as the device is there. */
  streams(input: Readable | null, output: Writable, log: LogFile | null): void;
}

export interface ChardevBackend {
  /** Path by which other programs open it, known once it is open; only a pseudo terminal has it. */
  readonly path?: string;
  /** What it is and where it leads, as `query-chardev` tells it. */
  readonly filename: string;
  /** Opens it, once; rejects where that fails, or where `close` comes first. */
  open(): Promise<void>;
  /** Gives the user all that has come and comes. Called once. */
  attach(user: ChardevUser, log: LogFile | null): void;
  /** Disconnects those who are connected; only what has connections has it. */
  cut?(): void;
  /** What the user got as a link is the user's to close. */
  close(): Promise<void>;
}

/** What all backends work with. */
export interface ChardevSurroundings {
  host: Host;
  /** Where credentials are. */
  objects: UserObjects;
  /** Gets what goes wrong later, in one line. */
  warn(message: string): void;
}
