// FUSE in memory: a test is the kernel, which sends requests and gets answers.

import type { BlockError } from '../../util/errors.js';
import type { Fuse, FuseChannel, FuseMountRequest, FuseOwner } from '../fuse.js';

const FIRST_REQUEST = 8192 - 80;
const PAGE = 4096;

export class SimFuse implements Fuse {
  /** What was mounted, in that order. */
  readonly channels: SimFuseChannel[] = [];

  async mount({ path, allowOther }: FuseMountRequest): Promise<SimFuseChannel> {
    const made = new SimFuseChannel(path, allowOther !== 'off');
    this.channels.push(made);
    return made;
  }
}

export class SimFuseChannel implements FuseChannel {
  readonly path: string;
  readonly allowsOther: boolean;
  owner: FuseOwner = { received: () => {}, closed: () => {} };
  mounted = true;
  open = true;
  /** Copies of the answers that were sent. */
  readonly answers: Uint8Array[] = [];
  #block: Uint8Array | null = null;
  #queue: Uint8Array[] = [];

  constructor(path: string, allowsOther: boolean) {
    this.path = path;
    this.allowsOther = allowsOther;
  }

  /** Requests are read now. */
  get reads(): boolean {
    return this.#block !== null;
  }

  window(block: Uint8Array | null): void {
    this.#block = block;
  }

  push(buffer: Uint8Array, start: number, end: number): void {
    this.#queue.push(buffer.subarray(start, end));
  }

  flush(): void {
    for (const answer of this.#queue.splice(0)) this.answers.push(answer.slice());
  }

  async unmount(): Promise<void> {
    this.mounted = false;
  }

  close(): void {
    this.open = false;
  }

  // ---- the kernel --------------------------------------------------------------------------------------------

  /** The owner receives these requests together. */
  send(...requests: readonly Uint8Array[]): void {
    const block = this.#block as Uint8Array;
    this.#block = null;
    const offsets = new DataView(block.buffer, block.byteOffset);
    let at = FIRST_REQUEST;
    requests.forEach((request, index) => {
      block.set(request, at);
      offsets.setInt32(4 * index, at, true);
      at = Math.ceil((at + request.length + 80) / PAGE) * PAGE - 80;
    });
    this.owner.received(requests.length);
  }

  /** It is mounted no longer, or has failed. */
  end(error: BlockError | null): void {
    this.mounted = false;
    this.owner.closed(error);
  }
}
