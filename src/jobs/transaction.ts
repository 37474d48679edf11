// Jobs that end together (QAPI's completion-mode). Every job belongs to one; a job alone is a transaction of one.
//
//   run ended well:  waiting ---- all of them ----> pending ---- finalize ----> prepare all, then commit all
//   one fails or is cancelled:  the others are cancelled; when all have ended, each aborts
//
// The only point of no return is between the last `prepare` and the first `commit`.

import { detach } from '../util/best-effort.js';
import { type BlockError, toBlockError } from '../util/errors.js';

export type CompletionMode = 'grouped' | 'individual';

/** What a transaction sees of a job. */
export interface TransactionMember {
  readonly autoFinalize: boolean;
  /** Why it cannot be committed. */
  readonly failure: BlockError | undefined;
  /** `run` is over, or never was. */
  readonly ended: boolean;
  toWaiting(): void;
  toPending(): void;
  prepare(): Promise<void>;
  /** Ends as soon as possible, as failed: another one did, or its own `prepare` (then with that error). */
  fail(error?: BlockError): void;
  /** Commits, or aborts where there is a `failure`; then cleans up and is concluded. Never rejects. */
  finish(): Promise<void>;
}

export class JobTransaction {
  readonly mode: CompletionMode;
  readonly #members: TransactionMember[] = [];
  #aborting = false;
  #preparing = false;
  #finishing = false;
  #finalized: Promise<void> | undefined;

  constructor(mode: CompletionMode = 'grouped') {
    this.mode = mode;
  }

  /** The transaction that a new job of this one belongs to: itself, or one of its own in `individual` mode. */
  group(): JobTransaction {
    return this.mode === 'grouped' ? this : new JobTransaction();
  }

  add(member: TransactionMember): void {
    this.#members.push(member);
  }
  /** A job that never was. */
  remove(member: TransactionMember): void {
    const i = this.#members.indexOf(member);
    if (i >= 0) this.#members.splice(i, 1);
  }

  /** One of its jobs has failed or was cancelled. */
  get isAborting(): boolean {
    return this.#aborting;
  }

  /** False from the first `commit` (or `abort`) on. */
  get canAbort(): boolean {
    return !this.#finishing;
  }

  /** Called by a job whose `run` is over. */
  memberEnded(member: TransactionMember): void {
    if (member.failure !== undefined) {
      this.abort(member);
      return;
    }
    member.toWaiting();
    if (!this.#members.every((other) => other.ended)) return;
    for (const other of this.#members) other.toPending();
    // A listener of the last event may have cancelled, or finalized already.
    if (!this.#aborting && this.#members.every((other) => other.autoFinalize)) detach('transaction', this.finalize());
  }

  /** `member` failed or was cancelled: so do all others. */
  abort(member: TransactionMember): void {
    if (this.#finishing) return;
    if (!this.#aborting) {
      this.#aborting = true;
      for (const other of this.#members) if (other !== member) other.fail();
    }
    if (!this.#preparing && this.#members.every((other) => other.ended)) {
      detach('transaction', this.#finish());
    }
  }

  /** Makes the outcome final. Resolves when all jobs are concluded, whatever came of them. Never rejects. */
  finalize(): Promise<void> {
    this.#finalized ??= this.#finalize();
    return this.#finalized;
  }

  async #finalize(): Promise<void> {
    this.#preparing = true;
    for (const member of this.#members) {
      if (this.#aborting) break;
      try {
        await member.prepare();
      } catch (error) {
        member.fail(toBlockError(error, { operation: 'prepare' }));
        this.abort(member);
      }
    }
    this.#preparing = false;
    await this.#finish();
  }

  async #finish(): Promise<void> {
    if (this.#finishing) return;
    this.#finishing = true;
    for (const member of this.#members) await member.finish();
  }
}
