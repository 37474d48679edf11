// The copy mode of a mirror, which may change while it runs, and the observer that belongs to it (mirror-state.ts).
//
//   background  --change-->  write-blocking       requests under way end under the observer that they began with

import type { BlockNode } from '../block/node/node.js';
import type { MirrorCopyMode } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import { BackgroundObserver, BlockingObserver, type MirrorState } from './mirror-state.js';

export class CopyMode {
  readonly #source: BlockNode;
  readonly #state: MirrorState;
  #mode: MirrorCopyMode;
  #observer: BackgroundObserver | BlockingObserver;

  /** Nothing is followed before `follow`. */
  constructor(source: BlockNode, state: MirrorState, mode: MirrorCopyMode) {
    this.#source = source;
    this.#state = state;
    this.#mode = mode;
    this.#observer = this.#makeObserver();
  }

  #makeObserver(): BackgroundObserver | BlockingObserver {
    return this.#mode === 'background' ? new BackgroundObserver(this.#state) : new BlockingObserver(this.#state);
  }

  /** From now on the guests' writes are followed. */
  follow(): void {
    this.#source.addObserver(this.#observer);
  }

  /** They are not any more. */
  unfollow(): void {
    this.#source.removeObserver(this.#observer);
  }

  /** Throws `invalid-argument` where `mode` cannot follow the mode of now. */
  change(mode: unknown): void {
    if (mode === this.#mode) return;
    if (mode !== 'write-blocking' || this.#mode !== 'background') {
      throw new BlockError('invalid-argument', `Cannot change copy-mode from '${this.#mode}' to '${String(mode)}'`);
    }
    this.#mode = mode;
    const before = this.#observer;
    this.#observer = this.#makeObserver();
    this.#source.addObserver(this.#observer);
    this.#source.removeObserver(before);
    this.#source.graph.quiescence.update();
  }

  /** Nodes whose requests write to the target before they are answered. */
  origins(): readonly BlockNode[] {
    return this.#mode === 'write-blocking' ? [this.#source] : [];
  }

  /** The guests' writes begin none to the target from now on. */
  abandon(): void {
    if (this.#observer instanceof BlockingObserver) this.#observer.abandon();
  }

  /** The same; when this resolves, none of them is under way any more. */
  async end(): Promise<void> {
    if (this.#observer instanceof BlockingObserver) await this.#observer.end();
  }
}
