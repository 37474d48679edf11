// Commits of a format whose tables point to blocks: they make durable what was written, in an order in which the image is right after each step.
//
//   1  what the format writes first (a header that says how far the file is in use)
//   2  flush: the blocks that were written are on the disk
//   3  the entries that point to them, as they were when the commit began; one level of tables after the other, the highest last, a flush behind each
//
// Where power is lost before 3, the disk reads as before: entries that are not there yet point to nothing, and what was written is lost space. One commit
// runs at a time; whoever asks for one meanwhile shares the next.

import type { ImageFile } from '../../image-file.js';
import type { Pages, Patch } from './pages.js';

export interface Committed {
  readonly file: ImageFile;
  /** The pages of each level of tables, in the order in which they are written. */
  readonly levels: readonly Pages[];
  /** Writes what must be durable before the entries. Called before the first flush; `hasEntries`: there are entries to be written. */
  prepare?(hasEntries: boolean): Promise<void>;
  /** Writes entries of one level, which are durable when it resolves: through a log, say. Default: to their places. */
  write?(patches: readonly Patch[]): Promise<void>;
}

export class Commits {
  readonly #image: Committed;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;

  constructor(image: Committed) {
    this.#image = image;
  }

  /** Resolves when all that was answered before the call is durable. Rejects with `io`, `no-space`; then the next commit tries again. */
  commit(): Promise<void> {
    if (this.#running === null) return this.#start();
    this.#next ??= this.#running.then(
      () => this.#start(),
      () => this.#start(),
    );
    return this.#next;
  }

  #start(): Promise<void> {
    this.#next = null;
    const running = this.#run().finally(() => {
      if (this.#running === running) this.#running = null;
    });
    this.#running = running;
    return running;
  }

  async #run(): Promise<void> {
    const { file, levels } = this.#image;
    const taken = levels.map((pages) => ({ pages, patches: pages.take() }));
    try {
      await this.#image.prepare?.(taken.some(({ patches }) => patches.length > 0));
      await file.flush();
      for (const level of taken) {
        if (level.patches.length === 0) continue;
        await (this.#image.write?.(level.patches) ?? writeInPlace(file, level.patches));
      }
    } catch (error) {
      for (const { pages, patches } of taken) pages.failed(patches);
      throw error;
    }
    for (const { pages, patches } of taken) pages.written(patches);
  }
}

/** They are durable when it resolves. */
export async function writeInPlace(file: ImageFile, patches: readonly Patch[]): Promise<void> {
  for (const { page, from, bytes } of patches) await file.write(page.offset + from, bytes);
  await file.flush();
}
