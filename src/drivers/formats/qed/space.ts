// The clusters of a QED image that are free: those behind the last one of the file, and what was given back. Before any is taken, the image is marked: what a loss of power then leaves is
// looked through when the image is opened again.

import type { ImageFile } from '../../image-file.js';
import type { BlockSource } from '../blocks/places.js';
import { BlockSpace, type NewBlock } from '../blocks/space.js';
import type { TableSource } from '../blocks/two-level-table.js';
import type { Header } from './header.js';

export class QedSpace implements BlockSource, TableSource {
  readonly #file: ImageFile;
  readonly #clusterBytes: number;
  readonly #tableClusters: number;
  readonly #marked: () => Promise<void> | undefined;
  #blocks: BlockSpace;
  /** Something was taken since this was last set to false. */
  taken = false;

  /** `mark`: resolves when the mark is durable; returns undefined where it is. */
  constructor(
    file: ImageFile,
    { clusterBytes, tableClusters }: Pick<Header, 'clusterBytes' | 'tableClusters'>,
    mark: () => Promise<void> | undefined,
  ) {
    this.#file = file;
    this.#clusterBytes = clusterBytes;
    this.#tableClusters = tableClusters;
    this.#marked = mark;
    this.#blocks = this.#behind(file.length);
  }

  /** Gives up the clusters at the end that are not in use. Returns how many of those that were taken lie before, and are not in use. */
  settle(): number {
    return this.#blocks.settle();
  }

  /** Clusters from `end` on are free, and no other ones; the file is cut there. Rejects with `io`. */
  async restart(end: number): Promise<void> {
    await this.#file.cut(end);
    this.#blocks = this.#behind(end);
  }

  async take(): Promise<NewBlock> {
    await this.mark();
    return this.#blocks.take();
  }

  giveBack(block: NewBlock): void {
    this.#blocks.giveBack(block);
  }

  async takeTable(): Promise<NewBlock> {
    await this.mark();
    return this.#blocks.takeRun(this.#tableClusters);
  }

  giveBackTable(table: NewBlock): void {
    this.#blocks.giveBackRun(table, this.#tableClusters);
  }

  /** Resolves when the image is marked. Rejects with `io`. */
  async mark(): Promise<void> {
    this.taken = true;
    const wait = this.#marked();
    if (wait !== undefined) await wait;
  }

  #behind(end: number): BlockSpace {
    return new BlockSpace(this.#file, this.#clusterBytes, end - (end % this.#clusterBytes));
  }
}
