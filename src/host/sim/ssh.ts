// Another machine in memory, reached by SFTP: a test sets its key and its files, and says what becomes of each request.

import { BlockError } from '../../util/errors.js';
import { sleep } from '../sleep.js';
import type { SftpFile, SftpOpenMode, SftpSession, Ssh, SshSettings } from '../ssh.js';
import type { SimEngine } from './engine.js';

/** A file there: what has been written, and what of it is durable. */
export interface SimRemoteFile {
  bytes: Uint8Array;
  durable: Uint8Array;
  modified: number;
}

export type SimSshOperation = 'connect' | 'open' | 'attributes' | 'read' | 'write' | 'sync' | 'truncate';

export interface SimSshRequest {
  operation: SimSshOperation;
  path: string;
  offset: number;
  length: number;
}

/** What becomes of a request: it is answered after a while, in part, with an error, or the connection is lost before or behind it. */
export interface SimSshAnswer {
  delayMs?: number;
  /** A read is answered with so many bytes. */
  shortBytes?: number;
  error?: BlockError;
  /** `before`: the server has not done it. `after`: it has, and its answer does not come. */
  lost?: 'before' | 'after';
}

const NO_KEY = new Uint8Array([0, 0, 0, 4, 116, 101, 115, 116]);

export class SimSsh implements Ssh {
  readonly #clock: SimEngine;
  /** By their paths. */
  readonly files = new Map<string, SimRemoteFile>();
  /** What connections were opened with. */
  readonly opened: SshSettings[] = [];
  key: Uint8Array = NO_KEY;
  known: readonly string[] = [];
  syncs = true;
  /** Sessions that are open. */
  readonly sessions = new Set<SftpSession>();
  onRequest: (request: SimSshRequest) => SimSshAnswer = () => ({});

  constructor(clock: SimEngine) {
    this.#clock = clock;
  }

  userName(): string {
    return 'tester';
  }

  knownHosts(): readonly string[] {
    return this.known;
  }

  async connect(settings: SshSettings): Promise<SftpSession> {
    this.opened.push(settings);
    const { error, lost, delayMs = 0 } = this.onRequest({ operation: 'connect', path: '', offset: 0, length: 0 });
    await sleep(this.#clock, delayMs);
    if (error !== undefined) throw error;
    if (lost !== undefined) throw new BlockError('io', 'the connection is refused', { errno: 'ECONNREFUSED' });
    settings.checkKey(this.key);
    const session = new SimSession(this, this.#clock);
    this.sessions.add(session);
    return session;
  }

  /** The machine loses its power: what is not durable is gone, and all connections are lost. */
  crash(): void {
    for (const session of this.sessions) session.abort(gone());
    for (const file of this.files.values()) file.bytes = file.durable.slice();
  }
}

class SimSession implements SftpSession {
  lost: BlockError | null = null;
  readonly #ssh: SimSsh;
  readonly #clock: SimEngine;
  readonly #failing = new Set<(error: BlockError) => void>();

  constructor(ssh: SimSsh, clock: SimEngine) {
    this.#ssh = ssh;
    this.#clock = clock;
  }

  open(path: string, mode: SftpOpenMode): Promise<SftpFile> {
    return this.#request('open', path, 0, 0, () => {
      if (mode === 'create') {
        const file = { bytes: new Uint8Array(0), durable: new Uint8Array(0), modified: 1 };
        this.#ssh.files.set(path, file);
      }
      const file = this.#ssh.files.get(path);
      if (file !== undefined) return this.#fileOf(path, file);
      throw new BlockError('not-found', 'No such file (sftp error code: 2)', { errno: 'ENOENT' });
    });
  }

  #fileOf(path: string, file: SimRemoteFile): SftpFile {
    return {
      syncs: this.#ssh.syncs,
      attributes: () =>
        this.#request('attributes', path, 0, 0, () => ({ size: file.bytes.length, modified: file.modified })),
      read: (offset, buffer) =>
        this.#request('read', path, offset, buffer.length, ({ shortBytes = buffer.length }) => {
          const part = file.bytes.subarray(offset, offset + Math.min(shortBytes, buffer.length));
          buffer.set(part);
          return part.length;
        }),
      write: (offset, buffer) => {
        // What is sent is what the buffer holds now.
        const sent = buffer.slice();
        return this.#request('write', path, offset, sent.length, () => {
          if (offset + sent.length > file.bytes.length) resize(file, offset + sent.length);
          file.bytes.set(sent, offset);
          file.modified++;
        });
      },
      sync: () =>
        this.#request('sync', path, 0, 0, () => {
          file.durable = file.bytes.slice();
        }),
      truncate: (size) =>
        this.#request('truncate', path, size, 0, () => {
          resize(file, size);
          file.modified++;
        }),
    };
  }

  abort(error: BlockError): void {
    if (this.lost !== null) return;
    this.lost = error;
    this.#ssh.sessions.delete(this);
    for (const fail of this.#failing) fail(error);
    this.#failing.clear();
  }

  async close(): Promise<void> {
    this.abort(new BlockError('closed', 'the connection is closed'));
  }

  async #request<T>(
    operation: SimSshOperation,
    path: string,
    offset: number,
    length: number,
    action: (answer: SimSshAnswer) => T,
  ): Promise<T> {
    if (this.lost !== null) throw this.lost;
    const answer = this.#ssh.onRequest({ operation, path, offset, length });
    // The test may have ended the connection just now.
    if (this.lost !== null) throw this.lost;
    return new Promise<T>((resolve, reject) => {
      this.#failing.add(reject);
      void sleep(this.#clock, answer.delayMs ?? 0).then(() => {
        if (!this.#failing.has(reject)) return;
        if (answer.lost === 'before') return this.abort(gone());
        try {
          if (answer.error !== undefined) throw answer.error;
          const result = action(answer);
          if (answer.lost === 'after') return this.abort(gone());
          resolve(result);
        } catch (error) {
          reject(error);
        }
        this.#failing.delete(reject);
      });
    });
  }
}

function gone(): BlockError {
  return new BlockError('io', 'the connection to the server is lost', { errno: 'ECONNRESET' });
}

function resize(file: SimRemoteFile, size: number): void {
  const bytes = new Uint8Array(size);
  bytes.set(file.bytes.subarray(0, size));
  file.bytes = bytes;
}
