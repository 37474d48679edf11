// A differencing image, which holds the sectors that were written since it was made; all others are those of its parent, its backing node. It is only read.

import { skipFilters } from '../../../block/chain.js';
import { FormatNode, openBacking } from '../../../block/node/format.js';
import type { BlockNode } from '../../../block/node/node.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { OpenRequest } from '../../../block/registry.js';
import type { BlockStatus, Located } from '../../../block/types.js';
import type { ZeroScan } from '../../../host/host.js';
import { bestEffort } from '../../../util/best-effort.js';
import { BlockError } from '../../../util/errors.js';
import { later, settleAll } from '../../../util/settle.js';
import type { ImageFile } from '../../image-file.js';
import { HOLE, holeRun, readBelow } from './places.js';

/** A run of sectors that lie together. */
export interface OverlayRun {
  /** In the file; HOLE: they are the parent's; ZERO: they read as zeroes. */
  place: number;
  length: number;
}

/** Throws `read-only` where a differencing image, one of `format`, is to be written. */
export function refuseWriting(filename: string, format: string, readOnly: boolean): void {
  if (readOnly) return;
  throw BlockError.at(filename, 'read-only', `A differencing ${format} image can only be read`, { operation: 'open' });
}

export abstract class OverlayNode extends FormatNode {
  protected abstract readonly file: ImageFile;
  /** As people call it. */
  protected abstract readonly formatName: string;
  /** The run at `offset`, of `length` bytes at most; null where something is to be read first. Throws `corrupt-image`. */
  protected abstract runAt(offset: number, length: number): OverlayRun | null;
  /** Reads what `runAt` lacks at `offset`, or a part of it. Rejects with `io`, `corrupt-image`. */
  protected abstract load(offset: number): Promise<void>;

  async #loadedRun(offset: number, length: number): Promise<OverlayRun> {
    for (;;) {
      const run = this.runAt(offset, length);
      if (run !== null) return run;
      await this.load(offset);
    }
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    if (write) return false;
    const run = this.runAt(offset, length);
    return (
      run !== null && run.place >= 0 && run.length === length && this.primary!.locate(run.place, length, false, into)
    );
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const parts: Promise<void>[] = [];
    let failure: { error: unknown } | null = null;
    try {
      for (let done = 0; done < buffer.length; ) {
        const run = await this.#loadedRun(offset + done, buffer.length - done);
        const target = buffer.subarray(done, done + run.length);
        if (run.place >= 0) parts.push(later(this.file.read(run.place, target, 'read_aio')));
        else if (run.place === HOLE) parts.push(later(readBelow(this.file, this.cow, offset + done, target)));
        else target.fill(0);
        done += run.length;
      }
    } catch (error) {
      failure = { error };
    }
    await settleAll(parts, failure);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  override blockStatusSync(offset: number, length: number): BlockStatus | null {
    const run = this.runAt(offset, length);
    return run === null ? null : this.#statusOf(run, offset);
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    return this.#statusOf(await this.#loadedRun(offset, length), offset);
  }

  #statusOf({ place, length }: OverlayRun, at: number): BlockStatus {
    const none = { length, compressed: false, offset: -1, node: null };
    if (place === HOLE) return { ...none, ...holeRun(this.cow, at, length), allocated: false, data: false };
    if (place < 0) return { ...none, allocated: true, data: false, zero: true };
    return { ...none, allocated: true, data: true, zero: false, offset: place, node: this.primary!.node };
  }

  override async prepareReopen({ readOnly = this.readOnly }: NodeChange): Promise<PreparedReopen | null> {
    refuseWriting(this.filename, this.formatName, readOnly);
    return null;
  }
}

/**
 * Opens the parent of `image`, which is closed where this rejects: with `invalid-image` where it is not there, or `mismatchOf` says what is wrong with it, and as opening it does. Where only
 * the header is wanted, nothing is asked of the parent.
 */
export async function openOverParent<Image extends OverlayNode>(
  { onlyHeader, options, openChild }: Pick<OpenRequest<'vhdx' | 'vpc'>, 'onlyHeader' | 'options' | 'openChild'>,
  image: Image,
  mismatchOf: (parent: BlockNode) => string | null,
): Promise<Image> {
  await openBacking({ openChild }, image);
  const { cow } = image;
  if (onlyHeader || (cow === null && options.backing !== undefined)) return image;
  const reason =
    cow === null ? 'The differencing image does not say where its parent is' : mismatchOf(skipFilters(cow.node));
  if (reason === null) return image;
  // Best effort: what the caller must learn is why the parent cannot be used.
  await image.close().catch(bestEffort('closing after a failed open'));
  throw BlockError.at(image.filename, 'invalid-image', reason, { operation: 'open' });
}
