// The file of an image, as it is when the log is replayed: until that is done in the file itself, what is read of it goes through the log's entries.

import type { Child } from '../../../block/child.js';
import type { BlkdebugEvent } from '../../../schema/generated/types.js';
import { ImageFile } from '../../image-file.js';
import type { ReadBytes } from './header.js';
import type { Replayed } from './log.js';

export class ReplayedFile extends ImageFile {
  #log: Replayed | null;
  /** Reads through the log that are under way. */
  readonly #reads = new Set<Promise<void>>();

  constructor(link: () => Child, log: Replayed | null) {
    super(link);
    this.#log = log;
  }

  /** There are entries that are not in the file itself. */
  get hasLog(): boolean {
    return this.#log !== null;
  }

  /** Bytes of the file with what the log adds. */
  get fullLength(): number {
    return Math.max(this.length, this.#log?.lastBytes ?? 0);
  }

  override async read(offset: number, buffer: Uint8Array, event?: BlkdebugEvent): Promise<void> {
    const log = this.#log;
    if (log === null) return super.read(offset, buffer, event);
    const reading = this.#readThrough(log, offset, buffer, event);
    this.#reads.add(reading);
    try {
      await reading;
    } finally {
      this.#reads.delete(reading);
    }
  }

  /** What the file itself has may be replayed meanwhile: the log says the same of it. */
  async #readThrough(log: Replayed, offset: number, buffer: Uint8Array, event?: BlkdebugEvent): Promise<void> {
    await super.read(offset, buffer, event);
    await log.over(this.#readPlain, offset, buffer);
  }

  readonly #readPlain: ReadBytes = (offset, buffer) => super.read(offset, buffer);

  /** Puts all of the log into the file, durable; the log itself stays as it is. Nobody else writes meanwhile. When it resolves, no read looks at the log any more. Rejects with `io`, `no-space`; then it can be done again. */
  async replay(): Promise<void> {
    const log = this.#log;
    if (log === null) return;
    if (log.lastBytes > this.length) await this.ensureLength(log.lastBytes);
    await log.replay(
      this.#readPlain,
      (offset, length) => this.writeZeroes(offset, length),
      (offset, bytes) => this.write(offset, bytes),
    );
    await this.flush();
    this.#log = null;
    await Promise.allSettled(this.#reads);
  }
}
