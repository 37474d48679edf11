// Files of another machine, reached by SFTP over SSH. Which server's key is the right one, and what a lost connection means, is the business of drivers/protocols/ssh/; here are requests.
//
//   connect(address, user, checkKey) --> session --open(path)--> file --read, write, sync, ...--> server
//
// A connection that is lost fails all requests that are under way, and stays lost.

import type { BlockError } from '../util/errors.js';
import type { InetAddress } from './net.js';

export interface SshSettings {
  address: InetAddress & { port: number };
  user: string;
  /** Types of the host keys that are known of the server (`ssh-ed25519`): it is asked for one of these first. */
  keyTypes: readonly string[];
  /** Looks at the server's key, as it travels (RFC 4253, section 6.6), before anything is said to it. What it throws ends the connection. */
  checkKey(key: Uint8Array): void;
  /** Until the user is logged in. 0: no limit. */
  timeoutMs: number;
}

export interface SftpAttributes {
  size: number;
  /** Whole seconds since 1970. */
  modified: number;
}

/** An open file. Several requests may be under way; all reject with the server's reason, and with `io` where the connection is lost. */
export interface SftpFile {
  /** The server can make what was written durable: `fsync@openssh.com`. */
  readonly syncs: boolean;
  attributes(): Promise<SftpAttributes>;
  /** Reads into `buffer`, and resolves to the number of bytes: fewer where the server sends fewer, 0 at the end of the file. */
  read(offset: number, buffer: Uint8Array): Promise<number>;
  write(offset: number, buffer: Uint8Array): Promise<void>;
  /** Only where `syncs`. */
  sync(): Promise<void>;
  truncate(size: number): Promise<void>;
}

/** `create`: for reading and writing; it is made where it is not there, and emptied where it is. */
export type SftpOpenMode = 'read' | 'write' | 'create';

export interface SftpSession {
  /** Why the connection is over; null: it is not. */
  readonly lost: BlockError | null;
  /** Rejects with `not-found`, `permission` and whatever else the server says. */
  open(path: string, mode: SftpOpenMode): Promise<SftpFile>;
  /** Drops the connection at once: what is under way fails with `error`. */
  abort(error: BlockError): void;
  /** Ends the connection: what is under way fails. */
  close(): Promise<void>;
}

export interface Ssh {
  /** Of the person whom this program runs for. */
  userName(): string;
  /** The files that say which keys servers have (`known_hosts`): the user's, then the system's. */
  knownHosts(): readonly string[];
  /**
   * Connects and logs in, with the keys that the user's agent holds and those in the home folder. Rejects with `io` where the server cannot be reached, breaks off or does not answer in time, `not-found` for
   * a host without address, `permission` where no key is taken, with what `checkKey` throws, and with `unsupported` where the library is not installed.
   */
  connect(settings: SshSettings): Promise<SftpSession>;
}
