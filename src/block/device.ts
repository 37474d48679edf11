// A device: a named user of a root node, with throttle, statistics and error policy. Guests, exports and benchmarks write
// through it; while its node is drained, its requests wait here.

import { BlockError, toBlockError } from '../util/errors.js';
import type { Child, NodeUser } from './child.js';
import type { BlockNode } from './node.js';
import { PERM_ALL, Perm, type WriteFlags, type ZeroFlags } from './types.js';

/** Lets requests in at a rate (see `host/throttle.ts`); undefined means at once. */
export interface Admission {
  admit(isWrite: boolean, bytes: number): Promise<void> | undefined;
}

export interface DeviceStats {
  readOperations: number;
  readBytes: number;
  writeOperations: number;
  writeBytes: number;
  flushOperations: number;
  unmapOperations: number;
  unmapBytes: number;
  failedOperations: number;
}

export interface DeviceOptions {
  name: string;
  /** Write permission is taken on the node. */
  writable: boolean;
  throttle?: Admission | null;
}

export class Device implements NodeUser {
  readonly name: string;
  readonly writable: boolean;
  readonly stats: DeviceStats = {
    readOperations: 0,
    readBytes: 0,
    writeOperations: 0,
    writeBytes: 0,
    flushOperations: 0,
    unmapOperations: 0,
    unmapBytes: 0,
    failedOperations: 0,
  };
  throttle: Admission | null;

  #root: Child | null;
  #inFlight = 0;
  #quiesced = 0;
  #resume: (() => void)[] = [];
  #idle: (() => void)[] = [];

  constructor(node: BlockNode, options: DeviceOptions) {
    this.name = options.name;
    this.writable = options.writable;
    this.throttle = options.throttle ?? null;
    const perm = Perm.CONSISTENT_READ | (options.writable ? Perm.WRITE : 0);
    this.#root = node.attach(this, 'root', perm, options.writable ? PERM_ALL & ~(Perm.WRITE | Perm.RESIZE) : PERM_ALL);
  }

  get userName(): string {
    return `device '${this.name}'`;
  }

  /** The root node; a job may have put another one in place. */
  get node(): BlockNode {
    if (this.#root === null) throw new BlockError('closed', `device '${this.name}' is closed`);
    return this.#root.node;
  }

  get length(): number {
    return this.node.length;
  }

  async read(offset: number, buffer: Uint8Array): Promise<void> {
    await this.#request(false, buffer.length, () => this.node.read(offset, buffer));
    this.stats.readOperations++;
    this.stats.readBytes += buffer.length;
  }

  async write(offset: number, buffer: Uint8Array, flags?: WriteFlags): Promise<void> {
    await this.#request(true, buffer.length, () => this.node.write(offset, buffer, flags));
    this.stats.writeOperations++;
    this.stats.writeBytes += buffer.length;
  }

  async writeZeroes(offset: number, length: number, flags?: ZeroFlags): Promise<void> {
    await this.#request(true, length, () => this.node.writeZeroes(offset, length, flags));
    this.stats.writeOperations++;
    this.stats.writeBytes += length;
  }

  async discard(offset: number, length: number): Promise<void> {
    await this.#request(true, 0, () => this.node.discard(offset, length));
    this.stats.unmapOperations++;
    this.stats.unmapBytes += length;
  }

  async flush(): Promise<void> {
    await this.#request(true, 0, () => this.node.flush());
    this.stats.flushOperations++;
  }

  drainBegin(): void {
    this.#quiesced++;
  }

  async drained(): Promise<void> {
    while (this.#inFlight > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  drainEnd(): void {
    if (--this.#quiesced > 0) return;
    const waiting = this.#resume;
    this.#resume = [];
    for (const resume of waiting) resume();
  }

  /** Lets go of the node once all requests are answered. The node itself stays open. */
  async close(): Promise<void> {
    await this.drained();
    if (this.#root === null) return;
    this.#root.node.detach(this.#root);
    this.#root = null;
  }

  async #request(isWrite: boolean, bytes: number, action: () => Promise<void>): Promise<void> {
    if (isWrite && !this.writable) {
      throw new BlockError('read-only', `device '${this.name}' is read-only`, { operation: 'write' });
    }
    const admitted = this.throttle?.admit(isWrite, bytes);
    if (admitted !== undefined) await admitted;
    while (this.#quiesced > 0) await new Promise<void>((resolve) => this.#resume.push(resolve));
    this.#inFlight++;
    try {
      await action();
    } catch (error) {
      this.stats.failedOperations++;
      throw toBlockError(error, { path: this.node.filename });
    } finally {
      if (--this.#inFlight === 0 && this.#idle.length > 0) {
        const idle = this.#idle;
        this.#idle = [];
        for (const wake of idle) wake();
      }
    }
  }
}
