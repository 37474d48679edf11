// Bytes in order, one way, without an offset to go back to: standard output, a pipe, a stream of a program.

/** Takes bytes in order. One call at a time. */
export interface ByteSink {
  /** What messages call it. */
  readonly name: string;
  /** Zeroes need not be written: what lies there is passed over, and reads as zeroes. */
  readonly skips: boolean;
  /** Resolves when the bytes were accepted: the buffer may be used again. Rejects with `io`, `no-space`, ...; with EPIPE where nobody reads any more. */
  write(bytes: Uint8Array): Promise<void>;
  /** `length` zeroes. Rejects as `write`. */
  zeroes(length: number): Promise<void>;
  /** Resolves when all was accepted, and nothing more comes. Rejects as `write`. */
  end(): Promise<void>;
  /** Ends a `write` that waits for a reader: it rejects. */
  stop(): void;
}

/** Gives bytes in order. One call at a time. */
export interface ByteSource {
  readonly name: string;
  /** Fills the buffer; fewer bytes come at the end only. Rejects with `io`, ... */
  read(buffer: Uint8Array): Promise<number>;
  /** Ends a `read` that waits for a writer: it rejects. */
  stop(): void;
}
