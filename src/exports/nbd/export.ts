// One export: a device under a name, and what clients learn of it.

import type { DirtyBitmap } from '../../block/bitmap.js';
import { chainOf } from '../../block/chain.js';
import { type Device, rootOf } from '../../block/device.js';
import { bitmapNode, bitmapOf } from '../../block/find-bitmap.js';
import type { BlockNode } from '../../block/node/node.js';
import { BlockError } from '../../util/errors.js';
import { CommandFlag, MAX_STRING_BYTES, TransmissionFlag } from '../../wire/nbd/constants.js';
import type { Dialect } from '../../wire/nbd/headers.js';
import { AllocationContext, BitmapContext, DepthContext, type MetaContext } from './contexts.js';

/** What of an image is served, and how. */
export interface ExportOptions {
  /** What clients ask for. Default: the empty name, which is what they get where they name none. */
  name?: string;
  /** For people. */
  description?: string;
  /** Clients may not write. Default: as the image is. */
  readOnly?: boolean;
  /** Dirty bitmaps, by name: of the image or of those in its backing chain, or with `node` of any one. They are busy as long as they are exported. */
  bitmaps?: readonly (string | { node: string; name: string })[];
  /** Also offer `qemu:allocation-depth`. */
  allocationDepth?: boolean;
  /** Whether clients are told that several connections see each other's writes. Default `auto`: where several are allowed. */
  multiConnection?: 'auto' | 'on' | 'off';
  /** Each write is on the disk when it is answered, whether or not a client asks for it. */
  writethrough?: boolean;
  /** Let clients change the size, by the protocol's experimental RESIZE command. */
  resize?: boolean;
}

export const BLOCK_SIZES = { minimum: 1, preferred: 4096, maximum: 32 * 1024 * 1024 } as const;

export class NbdExport {
  readonly name: string;
  readonly description: string | null;
  readonly device: Device;
  readonly readOnly: boolean;
  readonly resizable: boolean;
  readonly contexts: readonly MetaContext[];
  /** Bytes, as clients know it. */
  size: number;
  readonly #multiConnection: 'auto' | 'on' | 'off';
  readonly #writethrough: boolean;
  readonly #bitmaps: DirtyBitmap[] = [];

  /** Throws `invalid-argument`, `read-only`; for a bitmap `not-found`, `busy`, `bad-state`. */
  constructor(device: Device, options: ExportOptions = {}) {
    this.name = checkText(options.name ?? '', 'export name');
    this.description = options.description === undefined ? null : checkText(options.description, 'description');
    this.device = device;
    if (options.readOnly === false && !device.writable) {
      throw new BlockError('read-only', `Export '${this.name}' cannot be writable: its image is read-only`);
    }
    this.readOnly = options.readOnly ?? !device.writable;
    this.resizable = options.resize === true && !this.readOnly;
    this.#writethrough = options.writethrough ?? false;
    this.#multiConnection = options.multiConnection ?? 'auto';
    this.size = device.length;
    const contexts: MetaContext[] = [new AllocationContext()];
    if (options.allocationDepth) contexts.push(new DepthContext());
    try {
      for (const wanted of options.bitmaps ?? []) contexts.push(new BitmapContext(this.#hold(wanted)));
    } catch (error) {
      this.close();
      throw error;
    }
    this.contexts = contexts;
  }

  /** Transmission flags. `single`: the server takes one connection only. `payload`: contexts can be picked with each request. */
  flags(dialect: Dialect, single: boolean, payload: boolean): number {
    const multi = this.#multiConnection === 'auto' ? !single : this.#multiConnection === 'on';
    const { hasFlags, readOnly, sendFlush, sendFua, sendTrim, sendWriteZeroes, sendFastZero } = TransmissionFlag;
    const { sendDf, canMultiConn, sendCache, sendResize, blockStatusPayload } = TransmissionFlag;
    return (
      hasFlags |
      sendFlush |
      sendFua |
      sendCache |
      (this.readOnly ? readOnly : sendTrim | sendWriteZeroes | sendFastZero) |
      (this.resizable ? sendResize : 0) |
      (multi ? canMultiConn : 0) |
      (dialect === 'simple' ? 0 : sendDf) |
      (dialect === 'extended' && payload ? blockStatusPayload : 0)
    );
  }

  /** Whether a change with these command flags must be on the disk when it is answered. */
  durable(flags: number): boolean {
    return (flags & CommandFlag.fua) !== 0 || this.#writethrough;
  }

  /** Releases the bitmaps. The device stays open: the caller owns it. */
  close(): void {
    for (const bitmap of this.#bitmaps.splice(0)) bitmap.unhold();
  }

  #hold(wanted: string | { node: string; name: string }): DirtyBitmap {
    const [node, bitmap] = this.#find(wanted);
    if (this.#bitmaps.includes(bitmap)) return bitmap;
    if (this.readOnly && !node.readOnly && bitmap.recording) {
      throw new BlockError('invalid-argument', `Enabled bitmap '${bitmap.name}' incompatible with readonly export`);
    }
    bitmap.hold();
    this.#bitmaps.push(bitmap);
    return bitmap;
  }

  #find(wanted: string | { node: string; name: string }): [BlockNode, DirtyBitmap] {
    const { node: root } = rootOf(this.device);
    if (typeof wanted !== 'string') {
      const node = bitmapNode(root.graph, wanted.node);
      return [node, bitmapOf(node, wanted.name)];
    }
    for (const node of chainOf(root)) {
      const bitmap = node.bitmaps.get(wanted);
      if (bitmap !== undefined) return [node, bitmap];
    }
    throw new BlockError('not-found', `Bitmap '${wanted}' is not found`);
  }
}

function checkText(text: string, what: string): string {
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > MAX_STRING_BYTES) {
    throw new BlockError('invalid-argument', `${what} '${text}' too long`);
  }
  if (text.includes('\0')) throw new BlockError('invalid-argument', `The ${what} cannot hold a NUL`);
  return text;
}
