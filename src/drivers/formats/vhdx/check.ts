// All entries of the table, read in order: what a check finds, and what is free.

import type { CheckResult, RepairKind } from '../../../block/abilities.js';
import type { CheckFinding } from '../../../block/finding.js';
import { viewOf } from '../../../util/bytes.js';
import type { ImageFile } from '../../image-file.js';
import { Bits } from '../blocks/bits.js';
import { FIRST_REGION_OFFSET, MAX_FILE_BYTES, MIB } from './header.js';
import {
  BITMAP_BYTES,
  ENTRY_BYTES,
  entryAt,
  isBitmapPlace,
  isCutOff,
  isPlace,
  neededBytes,
  regionUnder,
  State,
  type TableShape,
} from './table.js';

const STEP_BYTES = 1 << 20;

/** Called with each block that has a place, claims to have one, or keeps one that it does not use, in order; `isBitmap`: with those of the sector bitmap, where there is one. */
export type VisitBlock = (index: number, place: number, state: number, isBitmap: boolean) => void;

/** A block of such a state has no content, and may have had a place, which whoever wrote the image may count on. */
function keepsPlace(state: number): boolean {
  return state === State.undefined || state === State.unmapped;
}

/** Reads the table. Rejects with `io`. */
export async function readEntries(file: ImageFile, shape: TableShape, visit: VisitBlock): Promise<void> {
  const { offset, ratio, blocks, entries, hasParent } = shape;
  const total = entries * ENTRY_BYTES;
  const buffer = new Uint8Array(Math.min(STEP_BYTES, total));
  let index = 0;
  let chunk = 0;
  let untilBitmap = ratio;
  for (let done = 0; done < total; done += buffer.length) {
    const bytes = buffer.subarray(0, Math.min(buffer.length, total - done));
    await file.read(offset + done, bytes);
    const view = viewOf(bytes);
    for (let at = 0; at < bytes.length && (index < blocks || hasParent); at += ENTRY_BYTES) {
      const isBitmap = untilBitmap === 0;
      const low = view.getUint32(at, true);
      const { state, place } = entryAt(low, view.getUint32(at + 4, true));
      if (isBitmap) {
        if (hasParent && state !== State.notPresent) visit(chunk, place, state, true);
        untilBitmap = ratio;
        chunk++;
        continue;
      }
      if (index < blocks && (state > State.unmapped || (place > 0 && keepsPlace(state))))
        visit(index, place, state, false);
      untilBitmap--;
      index++;
    }
  }
}

/** Which parts of the file, of 1 MiB each, blocks lie on. */
class UsedSpace {
  readonly #bits: Bits;
  readonly #blockUnits: number;

  constructor(fileBytes: number, blockBytes: number) {
    this.#bits = new Bits(Math.ceil(Math.min(fileBytes, MAX_FILE_BYTES) / MIB));
    this.#blockUnits = blockBytes / MIB;
  }

  /** A block that begins at `place`, where one may lie, shares nothing with another one. */
  isFree(place: number, units = this.#blockUnits): boolean {
    const first = place / MIB;
    for (let i = 0; i < units; i++) if (this.#bits.has(first + i)) return false;
    return true;
  }

  add(place: number, units = this.#blockUnits): void {
    const first = place / MIB;
    for (let i = 0; i < units; i++) this.#bits.add(first + i);
  }

  /** Adds what lies on parts of the same file. */
  addAll(other: UsedSpace): void {
    this.#bits.addAll(other.#bits);
  }
}

/** What the table says of the file. */
export interface Survey {
  result: CheckResult;
  used: UsedSpace;
  /** End of the blocks, and of all regions. */
  end: number;
  /** Blocks whose place is none, or another's, too. */
  lost: number[];
  shared: number[];
}

/** Each finding is one call of `report`, with `repairs` where `kind` is for it. `fileBytes`: the file's length. Rejects with `io`. */
export async function survey(
  file: ImageFile,
  shape: TableShape,
  fileBytes: number,
  report: (finding: CheckFinding) => void,
  kind?: RepairKind,
): Promise<Survey> {
  const { blockBytes, regions } = shape;
  // The last block may go on behind the end of the file.
  const used = new UsedSpace(fileBytes + blockBytes, blockBytes);
  /** Places that blocks keep without using them: another block's that is on one is its own. */
  let kept = null as UsedSpace | null;
  const lost: number[] = [];
  const shared: number[] = [];
  /** Blocks that are there in part, and the blocks of the sector bitmap. */
  const parts: number[] = [];
  const bitmaps = new Set<number>();
  let corruptions = 0;
  let end = regions.all.at(-1)![1];
  const find = (finding: Omit<CheckFinding, 'severity'>): void => {
    corruptions++;
    report({ ...finding, severity: 'corruption', ...(kind === 'all' && { repairs: true }) } as CheckFinding);
  };
  const placeBitmap = (index: number, place: number, state: number): void => {
    if (state !== State.full || !isBitmapPlace(shape, place, fileBytes) || !used.isFree(place, 1)) {
      find({ kind: 'vhdx-bitmap', index, hostOffset: place, entry: `0x${state.toString(16)}` });
      return;
    }
    end = Math.max(end, place + BITMAP_BYTES);
    used.add(place, 1);
    bitmaps.add(index);
  };
  await readEntries(file, shape, (index, place, state, isBitmap) => {
    if (isBitmap) return placeBitmap(index, place, state);
    if (keepsPlace(state)) {
      if (!isPlace(shape, index, place, fileBytes)) return;
      kept ??= new UsedSpace(fileBytes + blockBytes, blockBytes);
      kept.add(place);
      end = Math.max(end, place + blockBytes);
      return;
    }
    if (shape.hasParent && state === State.partial) parts.push(index);
    const guestOffset = index * blockBytes;
    const at = { index, hostOffset: place, length: blockBytes, guestOffset };
    if (state !== State.full && !(shape.hasParent && state === State.partial)) {
      find({ kind: 'vhdx-state', index, content: 'none', guestOffset, entry: `0x${state.toString(16)}` });
      lost.push(index);
      return;
    }
    if (!isPlace(shape, index, place, fileBytes)) {
      const under = regionUnder(shape, place, place + blockBytes);
      if (place + neededBytes(shape, index) > fileBytes || place + blockBytes > MAX_FILE_BYTES) {
        find({ kind: place > fileBytes ? 'vhdx-start-outside' : 'vhdx-end-outside', ...at, entries: fileBytes });
      } else {
        const region = under ?? [0, FIRST_REGION_OFFSET];
        find({ kind: 'vhdx-overlap', ...at, reason: `${region[0]}-${region[1]}` });
      }
      if (!isCutOff(shape, index, place, fileBytes)) {
        lost.push(index);
        return;
      }
    }
    end = Math.max(end, place + blockBytes);
    if (!used.isFree(place)) {
      shared.push(index);
      find({ kind: 'vhdx-block-shared', ...at });
    }
    // Also where it is shared: a part of it may be its own.
    used.add(place);
  });
  if (kept !== null) used.addAll(kept);
  // Blocks without their bits come before them.
  const bare = new Set(parts.map((index) => Math.floor(index / shape.ratio)).filter((chunk) => !bitmaps.has(chunk)));
  for (const index of bare) find({ kind: 'vhdx-bitmap', index, hostOffset: 0, entry: '0x0' });
  const unsaid = { imageEndOffset: 0, totalClusters: 0, allocatedClusters: 0 };
  const result = { checkErrors: 0, corruptions, leaks: 0, ...unsaid, fragmentedClusters: 0, compressedClusters: 0 };
  return { result, used, end, lost, shared };
}
