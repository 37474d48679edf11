// Events of the algorithms of drivers, for the blkdebug node that one may lie on: it makes the request fail that follows an event, or holds the
// algorithm up. A driver raises an event through the link that the request goes through (`Child.raise`); that is one comparison where no blkdebug node
// is there, and it is done where the driver does not find its way without waiting.

import type { BlkdebugEvent } from '../schema/generated/types.js';

export interface DebugEvents {
  /** The node's user has come to `event`. Resolves when it may go on; undefined: at once. */
  raise(event: BlkdebugEvent): Promise<void> | undefined;
}

/** Holding requests up, by a tag that the caller makes up. */
export interface Breakpoints {
  /** The next time that `event` is raised, whoever raised it is held up. */
  breakAt(event: BlkdebugEvent, tag: string): void;
  /** Lets one go on that is held up by `tag`. Throws `not-found` where there is none. */
  resume(tag: string): void;
  /** Takes away all breakpoints of `tag`, and lets all go on that are held up by it. Throws `not-found` where there are neither. */
  removeBreak(tag: string): void;
  isHeldUp(tag: string): boolean;
  /** `listener` is called whenever somebody is held up by a tag, and when one goes on. There is one; null: none. */
  watch(listener: ((tag: string, heldUp: boolean) => void) | null): void;
  /** Resolves when somebody is held up by `tag`. */
  untilHeldUp(tag: string): Promise<void>;
}
