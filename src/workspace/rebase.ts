// Gives an image another backing file. Its content stays (`rebaseImage`), or the header alone changes (`renameBacking`).
//
//   checks -> copy what the new backing file has otherwise -> flush -> header, by one write of one sector -> flush
//
// Broken off anywhere, the image reads as before, over its old backing file or over the new one.

import { idOfFile } from '../block/backing-name.js';
import { backingOf, chainOf } from '../block/chain.js';
import { type Child, type NodeUser, withLink } from '../block/child.js';
import { checkCompresses } from '../block/create.js';
import { resolveBackingNameOf } from '../block/filename.js';
import { fileId } from '../block/identity.js';
import { needFormat } from '../block/node/format.js';
import type { BlockNode } from '../block/node/node.js';
import { knownDriver } from '../block/registry.js';
import { sameBelow } from '../block/same-below.js';
import { PERM_ALL, Perm } from '../block/types.js';
import { type FillOptions, fillDifferences } from '../jobs/rebase.js';
import { refuseAborted } from '../util/abort.js';
import { orElse } from '../util/best-effort.js';
import { BlockError, toBlockError } from '../util/errors.js';

/** What the header is to say of the backing file. */
export interface BackingName {
  /** As it is written there. */
  name: string;
  /** Required: without one, the backing file would be probed. */
  format: string | undefined;
}

export interface RebasePlan extends Pick<FillOptions, 'compress' | 'fua' | 'signal' | 'onFault' | 'onProgress'> {
  /** Writable, with its present chain. */
  image: BlockNode;
  /** Null: none. */
  to: BackingName | null;
  /** The new backing file, open for reading; null where `to` is. */
  backing: BlockNode | null;
  /** Called when all is checked, before anything is written. */
  onCopy?: () => void;
}

/**
 * Rejects with what would be wrong after the copy: `unsupported` for a format without backing files, `invalid-argument` for a name that has no room in the header or
 * leads to the image itself, and for a format that is not given. With `to` null, nothing but a format without backing files is refused.
 */
async function checkRebase(image: BlockNode, to: BackingName | null): Promise<void> {
  const refuse = (cause: unknown, words: string): BlockError =>
    new BlockError(toBlockError(cause).code, `Could not change the backing file to '${to?.name ?? ''}': ${words}`, {
      path: image.filename,
      cause,
    });
  const invalid = (words: string): BlockError => refuse(new BlockError('invalid-argument', words), words);
  if (knownDriver(image.driver)?.hasBacking !== true) {
    const cause = new BlockError('unsupported', `driver '${image.driver}' does not support backing files`);
    throw refuse(cause, 'Operation not supported');
  }
  if (to === null) return;
  try {
    needFormat(image).checkBackingRoom(to.name, to.format ?? image.driver);
  } catch (cause) {
    const noRoom = toBlockError(cause).errno === 'ENOSPC';
    throw refuse(cause, noRoom ? 'No space left in the file header' : 'Invalid argument');
  }
  if (to.format === undefined) throw invalid('backing format must be specified');
  const own = await fileId(image);
  if (own === null) return;
  const full = resolveBackingNameOf(image, to.name);
  const named = await idOfFile(image.host, full).catch(orElse('name of a backing file', null));
  if (named === own) throw invalid('An image cannot be its own backing file');
}

/**
 * Makes `backing` the backing file of the image, whose content stays. Rejects as `checkRebase`, with `invalid-argument` for an image with internal snapshots, which would
 * read something else, with `cancelled` after an abort, and with what either side fails with.
 */
export async function rebaseImage(plan: RebasePlan): Promise<void> {
  const { image, to, backing, compress } = plan;
  await checkRebase(image, to);
  if (compress) checkCompresses(knownDriver(image.driver));
  if (backing !== null) await refuseLoop(image, backing);
  const old = backingOf(image);
  const same = backing === null ? null : await sameBelow(image, backing);
  // A chain that is the same below the image leaves the snapshots as they are, too.
  const unchanged = backing === null ? old === null : same !== null && same === old;
  if (!unchanged) refuseSnapshots(image);
  refuseAborted(plan.signal);
  const user: NodeUser = { userName: 'rebase' };
  const fill = (overlay: Child, below: Child | null) =>
    fillDifferences({ ...plan, overlay, backing: below, same: same ?? null });
  const writing = {
    user,
    role: 'root',
    perm: Perm.CONSISTENT_READ | Perm.WRITE_UNCHANGED,
    shared: PERM_ALL & ~(Perm.WRITE | Perm.RESIZE),
  } as const;
  const reading = { ...writing, role: 'source', perm: Perm.CONSISTENT_READ } as const;
  plan.onCopy?.();
  await withLink(image, writing, (overlay) =>
    backing === null ? fill(overlay, null) : withLink(backing, reading, (below) => fill(overlay, below)),
  );
  await renameBacking(image, to);
}

/** Writes name and format of the backing file into the header of the image, whatever they lead to. Rejects as `checkRebase`, and with `io`, `no-space`. */
export async function renameBacking(image: BlockNode, to: BackingName | null): Promise<void> {
  await checkRebase(image, to);
  const format = needFormat(image);
  await image.graph.drained([format], () => format.changeBackingFile(to?.name ?? null, to?.format ?? null));
}

/** The image must not lie below itself, whatever its files are called. */
async function refuseLoop(image: BlockNode, backing: BlockNode): Promise<void> {
  const own = await fileId(image);
  for (const layer of chainOf(backing)) {
    if (own === null || (await fileId(layer)) !== own) continue;
    const reason = `the backing chain of '${backing.filename}' leads to the image itself`;
    throw BlockError.at(image.filename, 'invalid-argument', reason, { operation: 'rebase' });
  }
}

function refuseSnapshots(image: BlockNode): void {
  const count = image.abilities.snapshots?.list().length ?? 0;
  if (count === 0) return;
  throw BlockError.at(
    image.filename,
    'invalid-argument',
    `The image has internal snapshots (${count}), which would read something else over another backing file: delete them, or use the unsafe mode`,
    { operation: 'rebase' },
  );
}
