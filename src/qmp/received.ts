// The descriptors that one client has passed, on their way to a command.
//
//   arrives (with bytes) --> the message that these bytes complete --> its command takes it
//                                                                  --> nobody does: the next command that wants one
//
// As in QEMU: of several that come together only the first is kept, and one that nobody has taken is closed when another one is left over.

import type { PassedDescriptors } from '../host/passed-descriptors.js';
import type { Caller } from './command.js';

export class ReceivedDescriptors {
  readonly #passed: PassedDescriptors;
  /** Those that are this object's to close. */
  readonly #held = new Set<number>();
  #arrived: number | null = null;
  #leftOver: number | null = null;
  /** Bytes have come since the last descriptor. */
  #complete = true;

  readonly #owner: object;

  constructor(passed: PassedDescriptors, owner: object) {
    this.#passed = passed;
    this.#owner = owner;
  }

  add(fd: number): void {
    if (!this.#complete) {
      this.#passed.drop(fd);
      return;
    }
    this.#drop(this.#arrived);
    this.#arrived = fd;
    this.#held.add(fd);
    this.#complete = false;
  }

  /** The bytes that it came with are here. */
  bytesCame(): void {
    this.#complete = true;
  }

  /** For the command of a message that is complete now. `done` is to be called when it has ended. */
  forMessage(): Caller & { done(): void } {
    const own = this.#arrived;
    this.#arrived = null;
    return {
      owner: this.#owner,
      takeDescriptor: () => this.#take(own) ?? this.#take(this.#leftOver),
      done: () => {
        if (own === null || !this.#held.has(own)) return;
        this.#drop(this.#leftOver);
        this.#leftOver = own;
      },
    };
  }

  close(): void {
    for (const fd of this.#held) this.#passed.drop(fd);
    this.#held.clear();
  }

  #take(fd: number | null): number | null {
    return fd !== null && this.#held.delete(fd) ? fd : null;
  }

  #drop(fd: number | null): void {
    const taken = this.#take(fd);
    if (taken !== null) this.#passed.drop(taken);
  }
}
