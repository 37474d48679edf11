// Files that this process makes: the kernel's FUSE. The host mounts a file, hands over the kernel's requests as they are, many at a time, and sends answers. What
// they mean, and how they are answered, is `exports/fuse`.
//
//   owner --window(block)--> channel --received(count)--> owner
//   owner --push(buffer, start, end), flush()--> channel
import type { BlockError } from '../util/errors.js';

/** Bytes that one write of the kernel has at most; a read has no more. */
export const FUSE_MAX_IO_BYTES = 1 << 20;
/** Bytes of a window: whatever comes, a few large requests or many small ones. */
export const FUSE_WINDOW_BYTES = 2 << 20;

export interface FuseMountRequest {
  /** The file that the image is to be seen at. It must be there: what it holds is hidden as long as it is mounted. */
  path: string;
  /** Whether other users may open it, as far as its mode lets them; `auto`: where the system lets this one allow that. */
  allowOther: 'auto' | 'on' | 'off';
  /** What mount(8) shows as its source. */
  source: string;
}

/** Called by a channel; never from within a call of the channel. */
export interface FuseOwner {
  /**
   * `count` requests lie in the window, where its first numbers (32 bits each) say. The window is used up: what it holds stays as it is until the owner sets it
   * once more.
   */
  received(count: number): void;
  /** The file is mounted no longer (null), or the channel has failed. Called once, as the last call. */
  closed(error: BlockError | null): void;
}

export interface FuseChannel {
  owner: FuseOwner;
  /** Absolute, without links. */
  readonly path: string;
  /** Other users may open the file. */
  readonly allowsOther: boolean;
  /** Sets the window: `FUSE_WINDOW_BYTES` of memory of this host. Null: nothing is read, and the kernel waits. */
  window(block: Uint8Array | null): void;
  /** Queues an answer for the next `flush`: [start, end) of `buffer`, memory of this host. */
  push(buffer: Uint8Array, start: number, end: number): void;
  /** Sends what is queued: the memory may be used again. */
  flush(): void;
  /**
   * Takes the file out of sight: what has it open goes on. Requests are still received. Resolves when that is done, or when it is not mounted there any more. Rejects with
   * the system's error.
   */
  unmount(): Promise<void>;
  /** Ends the channel: who has the file open gets ENOTCONN. `closed` is not called. To be called after `closed`, too. */
  close(): void;
}

export interface Fuse {
  /**
   * Mounts a file. Rejects with `not-found`, `invalid-argument` where it is no regular file, `exists` where this process has mounted one there, `permission`, and `unsupported`
   * where there is no FUSE.
   */
  mount(request: FuseMountRequest): Promise<FuseChannel>;
}
