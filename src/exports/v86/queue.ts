// The requests of one IDE disk, one after the other as they came. v86 answers some writes to its guest before it hands them over
// (programmed I/O), so the next request may overlap one that is not done: the order is what keeps them right. Where a request fails, it
// and all after it stay, and the image holds exactly the writes before it, as after a power loss.
//
//   get, set -> [ write write read flush write ] -> device
//                 `-- one batch: written, flushed together, then answered

import type { Device } from '../../block/device.js';
import { detach } from '../../util/best-effort.js';
import { type BlockError, toBlockError } from '../../util/errors.js';

interface Read {
  kind: 'read';
  offset: number;
  length: number;
  answer: (data: Uint8Array) => void;
}

interface Write {
  kind: 'write';
  offset: number;
  data: Uint8Array;
  answer: () => void;
}

interface Flush {
  kind: 'flush';
  answer: () => void;
  refuse: (error: BlockError) => void;
}

export interface RequestQueueOptions {
  /** Writes are durable when they are answered. */
  writethrough: boolean;
  /** The first request has failed: the queue waits for `retry`. */
  failed: (error: BlockError) => void;
  /** `queuedBytes` has grown, or shrunk. */
  grown: () => void;
  shrunk: () => void;
}

export class RequestQueue {
  readonly #device: Device;
  readonly #options: RequestQueueOptions;
  readonly #requests: (Read | Write | Flush)[] = [];
  #queuedBytes = 0;
  #running = false;
  #error: BlockError | null = null;

  constructor(device: Device, options: RequestQueueOptions) {
    this.#device = device;
    this.#options = options;
  }

  /** Data of writes that are not answered, bytes. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }
  get idle(): boolean {
    return this.#requests.length === 0;
  }
  /** The error that the queue is stopped for. */
  get error(): BlockError | null {
    return this.#error;
  }

  read(offset: number, length: number, answer: (data: Uint8Array) => void): void {
    this.#add({ kind: 'read', offset, length, answer });
  }

  /** `data` is copied. */
  write(offset: number, data: Uint8Array, answer: () => void): void {
    this.#queuedBytes += data.length;
    this.#add({ kind: 'write', offset, data: data.slice(), answer });
    this.#options.grown();
  }

  /** Resolves when all that was asked before is done and durable; rejects with the error that the queue is stopped for. */
  flush(): Promise<void> {
    if (this.#error !== null) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => this.#add({ kind: 'flush', answer: resolve, refuse: reject }));
  }

  /** Tries the request again that failed. */
  retry(): void {
    this.#error = null;
    this.#run();
  }

  /** Stops for `error`: `failed` is called, and every pending flush rejects. */
  stop(error: BlockError): void {
    this.#error = error;
    for (let i = this.#requests.length - 1; i >= 0; i--) {
      const request = this.#requests[i];
      if (request.kind !== 'flush') continue;
      this.#requests.splice(i, 1);
      request.refuse(error);
    }
    this.#options.failed(error);
  }

  /** Forgets all requests: none is answered any more. */
  drop(): void {
    this.#requests.length = 0;
    this.#queuedBytes = 0;
  }

  #add(request: Read | Write | Flush): void {
    this.#requests.push(request);
    this.#run();
  }

  #run(): void {
    if (this.#running || this.#error !== null) return;
    this.#running = true;
    const work = this.#work().finally(() => {
      this.#running = false;
      // Requests that came, or were tried again, while the last one ended.
      if (this.#requests.length > 0) this.#run();
    });
    detach('v86 disk', work);
  }

  async #work(): Promise<void> {
    try {
      while (this.#requests.length > 0 && this.#error === null) await this.#next(this.#requests[0]);
    } catch (error) {
      this.stop(toBlockError(error));
    }
  }

  async #next(request: Read | Write | Flush): Promise<void> {
    if (request.kind === 'write') return this.#writeBatch();
    if (request.kind === 'flush') {
      await this.#device.flush();
      if (this.#requests[0] === request) this.#requests.shift();
      request.answer();
      return;
    }
    const data = new Uint8Array(request.length);
    await this.#device.read(request.offset, data);
    if (this.#requests[0] !== request) return;
    this.#requests.shift();
    request.answer(data);
  }

  /** The writes at the head, and those that come meanwhile. They stay in the queue until they are done, so that `retry` repeats them all. */
  async #writeBatch(): Promise<void> {
    const first = this.#requests[0];
    let count = 0;
    for (; count < this.#requests.length; count++) {
      const request = this.#requests[count];
      if (request.kind !== 'write') break;
      await this.#device.write(request.offset, request.data);
    }
    if (this.#options.writethrough) await this.#device.flush();
    if (this.#requests[0] !== first) return;
    for (const done of this.#requests.splice(0, count) as Write[]) {
      this.#queuedBytes -= done.data.length;
      done.answer();
    }
    this.#options.shrunk();
  }
}
