// What is used of the package ssh2, as types: it is an optional package, and its own types, which are another package, come with those of an old node.

import type { Socket } from 'node:net';

export type SshFailure = Error & { code?: number | string; level?: string };

/** An opaque key, as `parseKey` gives it. */
export interface Ssh2Key {
  readonly type: string;
  isPrivateKey(): boolean;
}

export type Ssh2Attempt =
  | { type: 'none'; username: string }
  | { type: 'agent'; username: string; agent: string }
  | { type: 'publickey'; username: string; key: Ssh2Key };

export interface Ssh2Config {
  sock: Socket;
  username: string;
  readyTimeout: number;
  keepaliveInterval: number;
  keepaliveCountMax: number;
  algorithms: { serverHostKey: string[] };
  authHandler(
    methodsLeft: readonly string[] | null,
    partialSuccess: boolean | null,
    next: (attempt: Ssh2Attempt | false) => void,
  ): void;
  hostVerifier(key: Buffer, verify: (isRight: boolean) => void): void;
}

export interface Ssh2Client {
  on(event: 'error', listener: (error: SshFailure) => void): void;
  on(event: 'close', listener: () => void): void;
  once(event: 'ready' | 'close', listener: () => void): void;
  removeAllListeners(event: 'error' | 'close'): void;
  connect(config: Ssh2Config): void;
  sftp(done: (error: SshFailure | undefined, sftp: Ssh2Sftp) => void): void;
  /** Says good-bye, and ends the connection. */
  end(): void;
}

type Done = (error?: SshFailure | null) => void;

export interface Ssh2Sftp {
  on(event: 'error', listener: (error: SshFailure) => void): void;
  on(event: 'end' | 'close', listener: () => void): void;
  open(
    path: string,
    flags: number,
    attributes: { mode?: number },
    done: (error: SshFailure | null | undefined, handle: Buffer) => void,
  ): void;
  fstat(
    handle: Buffer,
    done: (error: SshFailure | null | undefined, attributes: { size?: number; mtime?: number; mode?: number }) => void,
  ): void;
  read(
    handle: Buffer,
    buffer: Buffer,
    at: number,
    length: number,
    position: number,
    done: (error: SshFailure | null | undefined, bytes: number) => void,
  ): void;
  write(handle: Buffer, buffer: Buffer, at: number, length: number, position: number, done: Done): void;
  fsetstat(handle: Buffer, attributes: { size: number }, done: Done): void;
  ext_openssh_fsync(handle: Buffer, done: Done): void;
  close(handle: Buffer, done: Done): void;
}

export interface Ssh2 {
  Client: new () => Ssh2Client;
  utils: {
    parseKey(text: Buffer): Ssh2Key | Ssh2Key[] | Error;
  };
}
