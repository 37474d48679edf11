// The check of a VDI image: each entry of the map points to a block of its own, and the header counts them.

import type { CheckResult, RepairKind } from '../../../block/abilities.js';
import type { CheckFinding } from '../../../block/finding.js';
import { viewOf } from '../../../util/bytes.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import { Bits } from '../blocks/bits.js';
import { BLOCK_BYTES, DISCARDED, type Header, UNALLOCATED } from './header.js';

const STEP_BYTES = 1 << 20;

/** Called with the entries that are not empty, in order. */
export type VisitEntry = (index: number, entry: number) => void;

/** Reads the map. Rejects with `io`. */
export async function readEntries(file: ImageFile, { mapOffset, blocks }: Header, visit: VisitEntry): Promise<void> {
  const total = blocks * 4;
  const buffer = new Uint8Array(Math.min(STEP_BYTES, roundUp(total, SECTOR_BYTES)));
  for (let done = 0; done < total; done += buffer.length) {
    const bytes = buffer.subarray(0, Math.min(buffer.length, roundUp(total - done, SECTOR_BYTES)));
    await file.read(mapOffset + done, bytes);
    const view = viewOf(bytes);
    const count = Math.min(bytes.length, total - done) / 4;
    for (let i = 0; i < count; i++) {
      const entry = view.getUint32(4 * i, true);
      if (entry !== UNALLOCATED && entry !== DISCARDED) visit(done / 4 + i, entry);
    }
  }
}

/**
 * Each finding is one call of `report`, with `repairs` where `kind` is for it. All of them are corruptions, as for QEMU: a count that is too low has the next block overwrite
 * another. Rejects with `io`.
 */
export async function checkVdi(
  file: ImageFile,
  header: Header,
  report: (finding: CheckFinding) => void,
  kind?: RepairKind,
): Promise<CheckResult> {
  const used = new Bits(header.blocks);
  let allocated = 0;
  let corruptions = 0;
  const find = (finding: Omit<CheckFinding, 'severity'>): void => {
    corruptions++;
    report({ ...finding, severity: 'corruption', ...(kind === 'all' && { repairs: true }) } as CheckFinding);
  };
  await readEntries(file, header, (index, entry) => {
    const guestOffset = index * BLOCK_BYTES;
    if (entry >= header.blocks) {
      find({ kind: 'vdi-block-too-large', index, cluster: entry, guestOffset });
      return;
    }
    allocated++;
    if (used.has(entry)) find({ kind: 'vdi-block-shared', index, cluster: entry, guestOffset });
    used.add(entry);
  });
  if (allocated !== header.allocated) {
    find({ kind: 'vdi-count', references: allocated, entries: header.allocated });
  }
  // As QEMU, which says of this format neither how much is allocated, nor where the image ends.
  const unsaid = { imageEndOffset: 0, totalClusters: 0, allocatedClusters: 0 };
  return { checkErrors: 0, corruptions, leaks: 0, ...unsaid, fragmentedClusters: 0, compressedClusters: 0 };
}
