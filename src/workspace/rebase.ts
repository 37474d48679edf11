// Gives an image another backing file. Its content stays (`rebaseImage`), or the header alone changes (`renameBacking`).
//
//   checks -> copy what the new backing file has otherwise -> flush -> header, by one write of one sector -> flush
//
// Broken off anywhere, the image reads as before, over its old backing file or over the new one.

import { idOfFile } from '../block/backing-name.js';
import { backingOf, chainOf, skipFilters } from '../block/chain.js';
import { type Child, type NodeUser, withLink } from '../block/child.js';
import { compresses, refuseUncompressed } from '../block/compression.js';
import { resolveBackingNameOf } from '../block/filename.js';
import { referrerOf } from '../block/foreign-name.js';
import type { Graph } from '../block/graph.js';
import { fileId } from '../block/identity.js';
import { formatOf, needFormat } from '../block/node/format.js';
import type { BlockNode } from '../block/node/node.js';
import type { InnerOpenOptions, OpenOptions } from '../block/open.js';
import { knownDriver } from '../block/registry.js';
import { sameBelow } from '../block/same-below.js';
import { PERM_ALL, Perm } from '../block/types.js';
import { type FillOptions, fillDifferences } from '../jobs/rebase.js';
import { refuseAborted } from '../util/abort.js';
import { orElse } from '../util/best-effort.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { reasonInWords } from '../util/system-words.js';
import { type ImageOpener, type ImageSource, openToRead, releaseImage, withWritable } from './open.js';

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
 * Rejects with what would be wrong after the copy: `unsupported` for a format without backing files, and for one that keeps the name it has, `invalid-argument` for a name that has no
 * room in the header or leads to the image itself, and for a format that is not given. With `to` null, nothing but such formats is refused.
 */
async function checkRebase(image: BlockNode, to: BackingName | null): Promise<void> {
  const refuse = (cause: unknown, words: string): BlockError =>
    new BlockError(toBlockError(cause).code, `Could not change the backing file to '${to?.name ?? ''}': ${words}`, {
      path: image.filename,
      cause,
    });
  const invalid = (words: string): BlockError => refuse(new BlockError('invalid-argument', words), words);
  if (to !== null && to.format === undefined) throw invalid('backing format must be specified');
  if (knownDriver(image.driver)?.hasBacking !== true) {
    const cause = new BlockError('unsupported', `driver '${image.driver}' does not support backing files`);
    throw refuse(cause, 'Operation not supported');
  }
  try {
    needFormat(image).checkBackingChange(to?.name ?? null, to?.format ?? null);
  } catch (cause) {
    const { code, errno } = toBlockError(cause);
    const noRoom = errno === 'ENOSPC' ? 'No space left in the file header' : 'Invalid argument';
    throw refuse(cause, code === 'unsupported' ? 'Operation not supported' : noRoom);
  }
  if (to === null) return;
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
  if (compress) refuseUncompressed(image);
  await refuseOtherContent(image);
  if (backing !== null) await refuseLoop(image, backing);
  const old = backingOf(image);
  const same = backing === null ? null : await sameBelow(image, backing);
  // A chain that is the same below the image leaves the snapshots as they are, too.
  const unchanged = backing === null ? old === null : same !== null && same === old;
  if (!unchanged) refuseSnapshots(image);
  refuseAborted(plan.signal);
  const user: NodeUser = { userName: 'rebase' };
  const fill = (overlay: Child, below: Child | null) =>
    fillDifferences({ ...plan, compress: compresses(image, compress), overlay, backing: below, same: same ?? null });
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
  await writeBacking(image, to);
}

/**
 * Writes name and format of the backing file into the header of the image, whatever they lead to, but for the image itself. Rejects as `checkRebase`, and with `io`,
 * `no-space`.
 */
export async function renameBacking(image: BlockNode, to: BackingName | null): Promise<void> {
  await checkRebase(image, to);
  if (to !== null) await refuseNamedLoop(image, to);
  await writeBacking(image, to);
}

async function writeBacking(image: BlockNode, to: BackingName | null): Promise<void> {
  const format = needFormat(image);
  await image.graph.drained([format], () => format.changeBackingFile(to?.name ?? null, to?.format ?? null));
}

/**
 * What stays is what the image reads by its own header: options that show it over another backing file would make that its content. Where the file of the header cannot be
 * looked up (it was moved), the options are all there is.
 */
async function refuseOtherContent(image: BlockNode): Promise<void> {
  const { backingFile, backingFormat } = needFormat(image);
  const below = backingOf(image);
  const named = backingFile === null ? null : await idNamed(image, backingFile);
  if (backingFile === null ? below === null : named === null) return;
  const sameFormat = backingFormat === null || below === null || skipFilters(below).driver === backingFormat;
  if (below !== null && named === (await fileId(below)) && sameFormat) return;
  const has = backingFile === null ? 'none' : `'${backingFile}'`;
  const shown = below === null ? 'without one' : `over '${below.filename}'`;
  const reason = `The backing file in the header is ${has}, and the image was opened ${shown}: its content is not clear`;
  throw BlockError.at(image.filename, 'invalid-argument', reason, { operation: 'rebase' });
}

/** Device and inode of the file that a name in the header of `image` leads to; null where it leads to none, or to no file. */
function idNamed(image: BlockNode, name: string): Promise<string | null> {
  return idOfFile(image.host, resolveBackingNameOf(image, name)).catch(orElse('name of a backing file', null));
}

/**
 * The same as `refuseLoop` by the names in the headers, where a backing file is not opened. As far as they can be followed: the user may name what is not there yet.
 */
async function refuseNamedLoop(image: BlockNode, { name, format }: BackingName): Promise<void> {
  const { graph } = image;
  const own = await fileId(image);
  const seen = new Set([own]);
  let next: NamedBelow | null = {
    name: resolveBackingNameOf(image, name),
    how: { format, referrer: await referrerOf(image, 'backing') },
  };
  while (own !== null && next !== null) {
    const id = await idOfFile(graph.host, next.name).catch(orElse('name of a backing file', null));
    if (id === own) throw leadsToItself(image, name);
    if (id === null || seen.has(id)) return;
    seen.add(id);
    next = await namedBelow(graph, next).catch(orElse('backing chain of a new name', null));
  }
}

/** An image by the name that another one has for it. */
interface NamedBelow {
  name: string;
  how: OpenOptions & InnerOpenOptions;
}

/** The backing file that the header of an image names; null where there is none. Nothing else is opened. Rejects as `openToRead`. */
async function namedBelow(graph: Graph, { name, how }: NamedBelow): Promise<NamedBelow | null> {
  const layer = await openToRead(graph, name, { ...how, backing: false, forceShare: true });
  try {
    const { backingFile = null, backingFormat = null } = formatOf(layer) ?? {};
    if (backingFile === null) return null;
    const referrer = await referrerOf(layer, 'backing');
    return {
      name: resolveBackingNameOf(layer, backingFile),
      how: { format: backingFormat ?? undefined, referrer },
    };
  } finally {
    await releaseImage(graph, layer);
  }
}

function leadsToItself(image: BlockNode, backing: string): BlockError {
  const reason = `the backing chain of '${backing}' leads to the image itself`;
  return BlockError.at(image.filename, 'invalid-argument', reason, { operation: 'rebase' });
}

/** The image must not lie below itself, whatever its files are called. */
async function refuseLoop(image: BlockNode, backing: BlockNode): Promise<void> {
  const own = await fileId(image);
  for (const layer of chainOf(backing)) {
    if (own === null || (await fileId(layer)) !== own) continue;
    throw leadsToItself(image, backing.filename);
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

// ---- of an image that is named, not open ------------------------------------------------------------------------

export interface RebaseRequest extends Omit<RebasePlan, 'image' | 'backing'> {
  image: ImageSource;
  /** How it is opened, and how the new backing file is. */
  how: OpenOptions;
  below: OpenOptions;
}

/** Opens both images, rebases as `rebaseImage`, and closes them. Rejects as that, and as `openNode`. */
export function rebaseByName(graph: Graph, { image: name, how, below, ...plan }: RebaseRequest): Promise<void> {
  return withWritable(graph, name, how, async (image) => {
    const { to } = plan;
    if (to === null) return rebaseImage({ ...plan, image, backing: null });
    const backing = await openNewBacking(image, to, (file, options) =>
      openToRead(graph, file, { ...below, ...options }, 'copy'),
    );
    try {
      await rebaseImage({ ...plan, image, backing });
    } finally {
      await releaseImage(graph, backing);
    }
  });
}

/** Opens the image alone, and changes its header as `renameBacking`. Rejects as that, and as `openNode`. */
export function renameByName(graph: Graph, { image: name, how, to }: RebaseRequest): Promise<void> {
  return withWritable(graph, name, { ...how, backing: false }, (image) => renameBacking(image, to));
}

/** Opens the new backing file of `image` with `open`, by the name that the header will have, and says in an error what it was to be. */
export async function openNewBacking(image: BlockNode, to: BackingName, open: ImageOpener): Promise<BlockNode> {
  try {
    const referrer = await referrerOf(image, 'backing');
    return await open(resolveBackingNameOf(image, to.name), { format: to.format, referrer });
  } catch (error) {
    const failure = toBlockError(error);
    throw new BlockError(failure.code, `Could not open new backing file '${to.name}': ${reasonInWords(failure)}`, {
      path: failure.path,
      cause: error,
    });
  }
}
