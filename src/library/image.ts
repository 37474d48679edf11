// An open image of the library: what a guest would have in hand.

import { DirtyBitmap } from '../block/bitmap.js';
import { closeDevice, Device, rootOf } from '../block/device.js';
import type { BlockNode } from '../block/node/node.js';
import { ThrottleGroup } from '../host/throttle.js';
import type { ThrottleLimits } from '../schema/generated/types.js';
import { plainObject, text } from '../schema/shape.js';
import { validate } from '../schema/validate.js';
import { BlockError } from '../util/errors.js';

/**
 * An open image (with its backing chain): read, write, writeZeroes, discard, flush. Requests may run side by side; jobs may work on
 * the image meanwhile. Everything rejects with `BlockError`.
 */
export class Image extends Device {
  readonly #node: BlockNode;
  #closing: Promise<void> | null = null;

  /** Made by `open`. */
  constructor(node: BlockNode, name: string) {
    super(node, { name, writable: !node.readOnly });
    this.#node = node;
  }

  /**
   * Limits reads and writes from now on (QAPI `ThrottleLimits`: bps and iops; total, read, write; bursts); `{}` lifts all limits. Throws
   * `invalid-argument`.
   */
  limit(limits: ThrottleLimits): void {
    const checked = validate('ThrottleLimits', plainObject(limits, 'limits'), { suggest: true });
    const group = new ThrottleGroup(this.host.clock, checked);
    this.setThrottle(group.enabled ? group.join() : null);
  }

  /** Begins to record in a new dirty bitmap which parts are written (`granularity` in bytes, 64 KiB by default). Throws `exists`, `invalid-argument`. */
  addBitmap(name: string, granularity?: number): DirtyBitmap {
    const { node } = rootOf(this);
    text(name, 'name');
    if (node.bitmaps.has(name)) throw new BlockError('exists', `Bitmap already exists: ${name}`);
    const bitmap = new DirtyBitmap({ name, size: node.length, granularity });
    node.bitmaps.set(name, bitmap);
    return bitmap;
  }

  /** Throws `not-found`, and `busy` where a job uses it. */
  removeBitmap(name: string): void {
    const { bitmaps } = rootOf(this).node;
    const bitmap = bitmaps.get(name);
    if (bitmap === undefined) throw new BlockError('not-found', `Dirty bitmap '${name}' not found`);
    if (bitmap.busy) throw new BlockError('busy', `Bitmap '${name}' is currently in use by another operation`);
    bitmaps.delete(name);
  }

  /**
   * Waits for the requests under way, flushes and closes the files; a second call waits for the same. Rejects with `busy` while a job works on the
   * image, a service offers it, it is the disk of an emulator or becomes part of a snapshot: end that first. Rejects where the last flush fails:
   * then data may be lost.
   */
  override async close(): Promise<void> {
    if (this.#closing === null && this.users.length > 0) {
      const { filename, users } = this;
      const verb = users.length === 1 ? 'uses' : 'use';
      throw new BlockError('busy', `'${filename}' cannot be closed: ${users.join(' and ')} ${verb} it`, {
        path: filename,
        operation: 'close',
      });
    }
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async #close(): Promise<void> {
    // Whatever it is by then: a job may be putting another node in place.
    const node = await closeDevice(this);
    const { graph } = this.#node;
    if (node !== null) await graph.release(node);
    if (node !== this.#node) await graph.release(this.#node);
  }
}
