// Block status from the server: runs of (length, flags), in which neighbours with the same flags are joined. The data runs of the last reply are
// cached for a second, since a caller that asks for one run soon asks for the next. Holes and zeroes are never answered from the cache: another
// client may have written there meanwhile, and a copy that skips them would lose that data.
//
//   offset |----data----|--hole--|-------zero hole-------|---data---|
//                     ends[0]  ends[1]                ends[2]     ends[3]

/** Runs that are kept of one reply. */
const MAX_RUNS = 4096;
/** How long a reply is cached: other clients may discard data. */
const MAX_AGE_MS = 1000;

export class StatusRuns {
  /** The requested range. */
  readonly offset: number;
  readonly length: number;
  /** Total bytes of the runs, kept or not. */
  covered = 0;
  count = 0;
  #ends = new Float64Array(16);
  #flags = new Uint8Array(16);

  constructor(offset: number, length: number) {
    this.offset = offset;
    this.length = length;
  }

  restart(): void {
    this.covered = 0;
    this.count = 0;
  }

  /** Appends a run. False where it is invalid: of no length, or beyond the end of the requested range. */
  add(length: number, flags: number): boolean {
    if (!(length > 0) || this.covered >= this.length) return false;
    const start = this.offset + this.covered;
    this.covered = Math.min(this.covered + length, this.length);
    const end = this.offset + this.covered;
    const kind = flags & 3;
    const last = this.count - 1;
    if (last >= 0 && this.#flags[last] === kind && this.#ends[last] === start) {
      this.#ends[last] = end;
      return true;
    }
    if (this.count === MAX_RUNS) return true;
    if (this.count === this.#ends.length) this.#grow();
    this.#ends[this.count] = end;
    this.#flags[this.count++] = kind;
    return true;
  }

  /** End of the kept runs. */
  get knownEnd(): number {
    return this.count === 0 ? this.offset : this.#ends[this.count - 1];
  }

  /** Index of the run that `offset` lies in, -1 where there is none. */
  find(offset: number): number {
    if (offset < this.offset || offset >= this.knownEnd) return -1;
    let low = 0;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#ends[middle] > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  endOf(run: number): number {
    return this.#ends[run];
  }

  flagsOf(run: number): number {
    return this.#flags[run];
  }

  #grow(): void {
    const ends = new Float64Array(this.#ends.length * 4);
    const flags = new Uint8Array(this.#ends.length * 4);
    ends.set(this.#ends);
    flags.set(this.#flags);
    this.#ends = ends;
    this.#flags = flags;
  }
}

/** The last reply, until this node writes, or the reply is too old. */
export class StatusCache {
  #runs: StatusRuns | null = null;
  #since = 0;
  /** Counts changes: a reply to a request from before the last change is not cached. */
  #changes = 0;

  get changes(): number {
    return this.#changes;
  }

  keep(runs: StatusRuns, changes: number, now: number): void {
    if (changes !== this.#changes) return;
    this.#runs = runs;
    this.#since = now;
  }

  /** Called when the content changes, or may have changed. */
  forget(): void {
    this.#runs = null;
    this.#changes++;
  }

  /** The cached runs, if `offset` is data in them; null where the server has to be asked. */
  at(offset: number, now: number): StatusRuns | null {
    const runs = this.#runs;
    return runs !== null && this.covers(offset, now) && runs.flagsOf(runs.find(offset)) === 0 ? runs : null;
  }

  /** True where the cached reply covers `offset`, data or not. */
  covers(offset: number, now: number): boolean {
    const runs = this.#runs;
    return runs !== null && now - this.#since <= MAX_AGE_MS && runs.find(offset) >= 0;
  }
}
