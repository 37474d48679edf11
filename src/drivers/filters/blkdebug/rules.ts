// The rules of a blkdebug node, and what becomes of a request by them.
//
//   event raised --> rules of that event, in the node's state --> inject-error: takes effect, instead of those that were in effect
//                                                             --> set-state: the state from then on
//                                                             --> breakpoint: whoever raised it is held up
//   request     --> the first rule in effect that fits it     --> it fails; with `once`, the rule is gone
//
// The semantics are those of QEMU's docs/devel/blkdebug.

import type { Breakpoints, DebugEvents } from '../../../block/debug-events.js';
import type {
  BlkdebugEvent,
  BlkdebugInjectErrorOptions,
  BlkdebugIOType,
  BlkdebugSetStateOptions,
} from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';
import { Waiters } from '../../../util/waiters.js';

const EIO = 5;

/** What a node is told to do; as in its options. */
export interface RuleOptions {
  injectError: readonly BlkdebugInjectErrorOptions[];
  setState: readonly BlkdebugSetStateOptions[];
}

/** A request that is to fail. */
export interface Injected {
  errno: number;
  immediately: boolean;
}

interface HeldUp {
  tag: string;
  goOn(): void;
}

export class Rules implements DebugEvents, Breakpoints {
  #inject: readonly BlkdebugInjectErrorOptions[];
  readonly #setState: readonly BlkdebugSetStateOptions[];
  #breakpoints: { event: BlkdebugEvent; tag: string }[] = [];
  /** In effect. */
  #active: readonly BlkdebugInjectErrorOptions[] = [];
  #state = 1;
  #heldUp: HeldUp[] = [];
  readonly #holding = new Waiters();
  #watcher: ((tag: string, heldUp: boolean) => void) | null = null;
  /** Something was written since the storage was flushed: without, a flush has nothing to tell the disk. */
  unflushed = false;

  constructor({ injectError, setState }: RuleOptions) {
    this.#inject = injectError;
    this.#setState = setState;
    void this.raise('none');
  }

  raise(event: BlkdebugEvent): Promise<void> | undefined {
    if (event === 'flush_to_disk') {
      if (!this.unflushed) return undefined;
      this.unflushed = false;
    }
    const fits = (rule: { event: BlkdebugEvent; state?: number }) =>
      rule.event === event && (rule.state === undefined || rule.state === 0 || rule.state === this.#state);
    const injected = this.#inject.filter(fits);
    if (injected.length > 0) this.#active = injected.reverse();
    this.#state = this.#setState.filter(fits).at(-1)?.new_state ?? this.#state;
    const held = this.#breakpoints.filter((point) => point.event === event);
    if (held.length === 0) return undefined;
    this.#breakpoints = this.#breakpoints.filter((point) => point.event !== event);
    return Promise.all(held.map(({ tag }) => this.#hold(tag))).then(() => undefined);
  }

  /** What a request of this kind to [offset, offset + length) comes to; null: it goes on. */
  check(type: BlkdebugIOType, offset: number, length: number): Injected | null {
    if (this.#active.length === 0) return null;
    const rule = this.#active.find(
      ({ iotype, sector = -1 }) =>
        (iotype === undefined ? type !== 'block-status' : iotype === type) && touches(sector, offset, length),
    );
    if (rule === undefined) return null;
    const { errno = EIO, immediately = false, once = false } = rule;
    if (errno === 0) return null;
    if (once) {
      this.#active = this.#active.filter((one) => one !== rule);
      this.#inject = this.#inject.filter((one) => one !== rule);
    }
    return { errno, immediately };
  }

  #hold(tag: string): Promise<void> {
    return new Promise((resolve) => {
      this.#heldUp.push({ tag, goOn: resolve });
      this.#watcher?.(tag, true);
      this.#holding.wake();
    });
  }

  breakAt(event: BlkdebugEvent, tag: string): void {
    this.#breakpoints.push({ event, tag });
  }

  resume(tag: string): void {
    const one = this.#heldUp.find((held) => held.tag === tag);
    if (one === undefined) throw new BlockError('not-found', `No request is held up by '${tag}'`);
    this.#heldUp = this.#heldUp.filter((held) => held !== one);
    this.#watcher?.(tag, false);
    one.goOn();
  }

  removeBreak(tag: string): void {
    const known = this.#breakpoints.some((point) => point.tag === tag);
    if (!known && !this.isHeldUp(tag)) throw new BlockError('not-found', `There is no breakpoint '${tag}'`);
    this.#breakpoints = this.#breakpoints.filter((point) => point.tag !== tag);
    while (this.isHeldUp(tag)) this.resume(tag);
  }

  isHeldUp(tag: string): boolean {
    return this.#heldUp.some((held) => held.tag === tag);
  }

  watch(listener: ((tag: string, heldUp: boolean) => void) | null): void {
    this.#watcher = listener;
  }

  async untilHeldUp(tag: string): Promise<void> {
    while (!this.isHeldUp(tag)) await this.#holding.wait();
  }

  /** Nobody is held up any more. */
  end(): void {
    this.#breakpoints = [];
    for (const { goOn } of this.#heldUp.splice(0)) goOn();
  }
}

/** A request without bytes, as a flush, touches no sector. */
function touches(sector: number, offset: number, length: number): boolean {
  if (sector === -1) return true;
  const at = sector * SECTOR_BYTES;
  return at >= offset && at < offset + length;
}
