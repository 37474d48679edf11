// What is kept for jobs while their targets are being made: their ids, and their sources, which stay closed to others. Without that, two calls
// could begin at once, and the second would be refused only after it has replaced an existing file.
//
//   take id and source --> targets are made and opened --> handOver --> the job blocks its source itself --> release

import type { BlockNode } from '../block/node/node.js';
import type { JobType } from './driver.js';
import type { JobManager } from './manager.js';
import { blockedBy } from './resources.js';

export class StartClaims {
  readonly #manager: JobManager;
  readonly #ids = new Set<string>();
  readonly #sources = new Set<BlockNode>();

  constructor(manager: JobManager) {
    this.#manager = manager;
  }

  /** Throws `invalid-argument` for a bad id, `exists` where it is taken. */
  takeId(id: string): void {
    this.#manager.claim(id);
    this.#ids.add(id);
  }

  /** Throws `busy` where a job works on `source`, or is about to. */
  takeSource(source: BlockNode, type: JobType): void {
    source.checkBlockers();
    source.blockers.set(this, blockedBy(type));
    this.#sources.add(source);
  }

  hasId(id: string): boolean {
    return this.#ids.has(id);
  }

  /** To be called in the same turn of the event loop in which the job blocks `source` itself. */
  handOver(source: BlockNode): void {
    if (this.#sources.delete(source)) source.blockers.delete(this);
  }

  release(): void {
    for (const source of this.#sources) this.handOver(source);
    for (const id of this.#ids) this.#manager.unclaim(id);
    this.#ids.clear();
  }
}
