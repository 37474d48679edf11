// The file of an image, as it is when the log is replayed: until that is done in the file itself, what is read of it goes through the log's entries.

import type { Child } from '../../../block/child.js';
import type { BlkdebugEvent } from '../../../schema/generated/types.js';
import { ImageFile } from '../../image-file.js';
import type { ReadBytes } from './header.js';
import type { Replayed } from './log.js';

export class ReplayedFile extends ImageFile {
  #log: Replayed | null;

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
    await super.read(offset, buffer, event);
    await this.#log?.over(this.#readPlain, offset, buffer);
  }

  readonly #readPlain: ReadBytes = (offset, buffer) => super.read(offset, buffer);

  /** Puts all of the log into the file, durable; the log itself stays as it is. Nobody else writes meanwhile. Rejects with `io`, `no-space`; then it can be done again. */
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
  }
}
