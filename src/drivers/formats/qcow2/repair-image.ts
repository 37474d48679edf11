// The repair of an image that is open: check, repair, check again, and the image in memory follows what changed on disk.

import type { RepairKind, RepairResult } from '../../../block/abilities.js';
import type { Child } from '../../../block/child.js';
import type { CheckFinding } from '../../../block/finding.js';
import { findingText } from '../../../block/finding-text.js';
import { type BlockError, toBlockError } from '../../../util/errors.js';
import { checkQcow2 } from './check.js';
import type { CheckLayout, Fault } from './check-state.js';
import { Incompatible } from './header.js';
import { patchAutoclear, patchFeatures } from './header-patch.js';
import type { Qcow2Image } from './image.js';
import { repairQcow2 } from './repair.js';
import type { BitmapsToMend } from './repair-bitmaps.js';
import type { SnapshotsToMend } from './repair-snapshots.js';

/** What could not be read of an image's snapshots and bitmaps when it was opened, and what is left. */
export interface Damage {
  faults: readonly Fault[];
  /** Why it does not open otherwise; null: it does. */
  error: BlockError | null;
  /** Absent: they stay as they are. */
  snapshots?: SnapshotsToMend;
  /** Absent: there is nothing to mend. */
  bitmaps?: BitmapsToMend;
}

const REFCOUNT_KINDS: ReadonlySet<string> = new Set(['refcount-too-low', 'too-many-references', 'copied-flag']);

const NO_DAMAGE: Damage = { faults: [], error: null };

/**
 * Repairs `image`, whose file is `file`, and which nobody uses meanwhile. `report` is called with each finding of the check before. Where nothing but
 * lost space is wrong afterwards, the bits "dirty" and "corrupt" are cleared. Where it rejects, the image is not written any more until it is opened again.
 */
export function repairImage(
  image: Qcow2Image,
  file: Child,
  layout: CheckLayout,
  kind: RepairKind,
  report: (finding: CheckFinding) => void,
  { keepsUnreadable = false, damage = NO_DAMAGE }: { keepsUnreadable?: boolean; damage?: Damage } = {},
): Promise<RepairResult> {
  return image.committer.exclusive(async () => {
    let refcountsFit = true;
    const noteAfter = (finding: CheckFinding): void => {
      if (concernsRefcounts(finding)) refcountsFit = false;
    };
    const tell = (finding: CheckFinding): void => {
      report(isFor(kind, finding) ? { ...finding, repairs: true } : finding);
    };
    for (const fault of damage.faults) tell({ ...fault, kind: fault.kind, severity: 'corruption' });
    const before = await checkQcow2(file, layout, tell);
    before.corruptions += damage.faults.length;
    try {
      if (layout.version === 3) await patchAutoclear(file);
      let after = before;
      const { checkErrors, corruptions, leaks } = before;
      if (leaks + corruptions + checkErrors > 0) {
        const { snapshots, bitmaps } = damage;
        const hasBacking = image.backingFile !== null;
        await repairQcow2(file, layout, kind, { hasBacking, keepsUnreadable, snapshots, bitmaps });
        after = await checkQcow2(file, layout, noteAfter);
      }
      const isSound = after.checkErrors === 0 && after.corruptions === 0;
      if (layout.version === 3) {
        // The refcounts are right, whatever else is not.
        if (kind === 'all' && after.checkErrors === 0 && refcountsFit)
          await patchFeatures(file, { clear: Incompatible.dirty });
        if (isSound) await patchFeatures(file, { clear: Incompatible.dirty | Incompatible.corrupt });
      }
      await image.reload();
      return { before, after };
    } catch (error) {
      image.broken ??= toBlockError(error);
      throw error;
    }
  });
}

/** The finding says that a write may take a cluster that is in use. */
function concernsRefcounts({ kind, table }: CheckFinding): boolean {
  return REFCOUNT_KINDS.has(kind) || table === 'refcount-table';
}

/** Whether a repair is for this. Where a cluster has one reference, the flag that says so is set with the leaks, as it follows from them. */
function isFor(repair: RepairKind, { severity, kind, refcount }: CheckFinding): boolean {
  if (severity === 'check-error') return false;
  return repair === 'all' || severity === 'leak' || (kind === 'copied-flag' && refcount === 1);
}

/**
 * Repairs an image whose dirty bit is set, before it is written; each finding is a warning. What cannot be read stays so: nobody has asked to give it up.
 * Rejects with `corrupt-image` where the refcounts cannot be corrected, and as the repair.
 */
export async function repairDirty(
  image: Qcow2Image,
  file: Child,
  layout: CheckLayout,
  warn: (message: string) => void,
): Promise<void> {
  const report = (finding: CheckFinding): void => warn(findingText(finding));
  const { after } = await repairImage(image, file, layout, 'all', report, { keepsUnreadable: true });
  if (after.checkErrors > 0) throw image.error('corrupt-image', 'Could not repair dirty image', 'open');
}
