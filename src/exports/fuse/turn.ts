// What ends in one turn of the event loop is answered together, and a batch of requests with all that ends while it is being begun.

export class Turn {
  readonly #onEnd: () => void;
  #batch = false;
  #scheduled = false;
  readonly #endScheduled = (): void => {
    this.#scheduled = false;
    this.end();
  };

  /** `onEnd`: sends the answers that are ready. */
  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  /** Requests are being begun, until `endBatch`. */
  beginBatch(): void {
    this.#batch = true;
  }

  endBatch(): void {
    this.#batch = false;
    this.#onEnd();
  }

  /** All that came together is ready. */
  end(): void {
    if (!this.#batch) this.#onEnd();
  }

  /** Something is ready, and more may be before this turn is over. */
  endSoon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(this.#endScheduled);
  }
}
