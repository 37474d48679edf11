// The file on the server, over a connection that may break at any time.
//
//   clean   all that was written is durable there     lost: the next request connects again, where the file is still the same; requests that only read are sent again
//   dirty   something was written since               lost: the end. What the server had acknowledged may be gone, and what it had not may still be done there, by the
//                                                     old connection's end of it: whoever wrote has to know, and nothing is written twice
//   dead    each request fails with the first reason
//
// A flush that failed is remembered: the server's system may have dropped what it could not write, so that the next flush would succeed.

import type { SftpAttributes, SftpFile, SftpSession } from '../../../host/ssh.js';
import { refuseAborted } from '../../../util/abort.js';
import { bestEffort } from '../../../util/best-effort.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { Waiters } from '../../../util/waiters.js';
import { MOST_FAILURES, type Pauses, withPatience } from '../remote/range-source.js';

/** Requests under way: as many as keep a server and the way to it busy, and no more memory than that takes. */
const MOST_UNDER_WAY = 64;

/** How long a server may say nothing, after `abortStalled`, before it counts as stalled. */
const STALL_MS = 10_000;
const CANCELLED = 'ECANCELED';

export interface SshLink {
  readonly session: SftpSession;
  readonly file: SftpFile;
}

export class SshConnection {
  readonly #path: string;
  readonly #connect: () => Promise<SshLink>;
  readonly #pauses: Pauses;
  #link: SshLink;
  #connecting: Promise<SshLink> | null = null;
  /** What the file was like when all that had been written was durable. */
  #known: SftpAttributes;
  /** Changes that were begun, and how many of these a flush has covered. */
  #begun = 0;
  #flushed = 0;
  #changing = 0;
  #underWay = 0;
  readonly #room = new Waiters();
  #dead: BlockError | null = null;
  #failedFlush: BlockError | null = null;
  /** Requests that have ended. */
  #answered = 0;
  #stopWatching: (() => void) | null = null;
  #stop = new AbortController();

  /** `connect` opens the file again. */
  constructor(path: string, link: SshLink, known: SftpAttributes, pauses: Pauses, connect: () => Promise<SshLink>) {
    this.#path = path;
    this.#link = link;
    this.#known = known;
    this.#pauses = pauses;
    this.#connect = connect;
  }

  get isDirty(): boolean {
    return this.#begun !== this.#flushed;
  }

  /** The server can make durable what was written. */
  get syncs(): boolean {
    return this.#link.file.syncs;
  }

  /** Resolves to the number of bytes, as `SftpFile.read`. */
  read(offset: number, buffer: Uint8Array): Promise<number> {
    return this.#repeated((file) => file.read(offset, buffer));
  }

  write(offset: number, buffer: Uint8Array): Promise<void> {
    return this.#change((file) => file.write(offset, buffer));
  }

  truncate(size: number): Promise<void> {
    return this.#change((file) => file.truncate(size));
  }

  /** Makes durable what was written before, where the server can. Rejects where an earlier one has failed, and where what was written may be lost. */
  async flush(): Promise<void> {
    if (this.#failedFlush !== null) throw this.#failedFlush;
    if (!this.isDirty) return;
    const { session, file } = await this.#linked();
    // Then nothing that was written counts as durable.
    if (!file.syncs) return;
    // What is written meanwhile, it may not cover.
    const covers = this.#changing === 0 ? this.#begun : null;
    try {
      await file.sync();
      if (covers === null || covers !== this.#begun) return;
      const known = await file.attributes();
      if (covers !== this.#begun) return;
      this.#known = known;
      this.#flushed = covers;
    } catch (error) {
      if (session.lost === null) this.#failedFlush = toBlockError(error);
      throw error;
    }
  }

  /** Fails what is under way, and may never be answered. */
  cancel(): void {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#cut('the request was cancelled', CANCELLED);
  }

  /** From now on, what is under way fails where nothing is answered for a while. */
  abortStalled(): void {
    if (this.#stopWatching !== null || this.#dead !== null) return;
    const look = (): void => {
      const before = this.#answered;
      this.#stopWatching = this.#pauses.clock.timer(STALL_MS, () => {
        if (before === this.#answered) this.#cut(`no answer from the server for ${STALL_MS / 1000} s`, 'ETIMEDOUT');
        look();
      });
    };
    look();
  }

  #cut(why: string, errno: string): void {
    if (this.#underWay === 0) return;
    this.#link.session.abort(new BlockError('io', why, { path: this.#path, errno }));
  }

  async close(): Promise<void> {
    this.#stopWatching?.();
    this.#dead ??= new BlockError('closed', 'the node is closed', { path: this.#path });
    this.#stop.abort();
    await this.#connecting?.catch(bestEffort('connecting to a server'));
    await this.#link.session.close();
  }

  /** Runs a request that changes nothing; where the connection is lost under it, and may be made again, once more over the next one. */
  async #repeated<T>(request: (file: SftpFile) => Promise<T>): Promise<T> {
    for (let failures = 0; ; failures++) {
      const { session, file } = await this.#linked();
      try {
        return await this.#counted(() => request(file));
      } catch (error) {
        if (!mayRepeat(session.lost) || failures + 1 >= MOST_FAILURES) throw error;
      }
    }
  }

  async #change(request: (file: SftpFile) => Promise<void>): Promise<void> {
    const { file } = await this.#linked();
    this.#begun++;
    this.#changing++;
    try {
      await this.#counted(() => request(file));
    } finally {
      this.#changing--;
    }
  }

  async #counted<T>(request: () => Promise<T>): Promise<T> {
    while (this.#underWay >= MOST_UNDER_WAY) await this.#room.wait();
    this.#underWay++;
    try {
      return await request();
    } finally {
      this.#underWay--;
      this.#answered++;
      this.#room.wake(1);
    }
  }

  /** The open file; where the connection was lost, over a new one. */
  async #linked(): Promise<SshLink> {
    if (this.#dead !== null) throw this.#dead;
    const { lost } = this.#link.session;
    if (lost === null) return this.#link;
    if (this.isDirty) {
      this.#dead = BlockError.at(this.#path, lost.code, lost.reason, { errno: lost.errno, cause: lost });
      throw this.#dead;
    }
    this.#connecting ??= this.#again().finally(() => {
      this.#connecting = null;
    });
    return this.#connecting;
  }

  async #again(): Promise<SshLink> {
    const { signal } = this.#stop;
    const link = await withPatience(this.#pauses, signal, MOST_FAILURES, () => this.#connect());
    try {
      refuseAborted(signal);
      const { size, modified } = await link.file.attributes();
      if (size !== this.#known.size || modified !== this.#known.modified) {
        const why = 'the file on the server has changed since it was opened';
        this.#dead ??= BlockError.at(this.#path, 'bad-state', why);
        throw this.#dead;
      }
    } catch (error) {
      await link.session.close();
      throw error;
    }
    this.#link = link;
    return link;
  }
}

/** The server did not answer since the connection was lost, and nobody has ended it. */
function mayRepeat(lost: BlockError | null): boolean {
  return lost !== null && lost.code === 'io' && lost.errno !== CANCELLED && lost.errno !== 'ETIMEDOUT';
}
