// Changes the folder as a plan says.
//
//   1  what is to be changed must be as it is known: otherwise nothing is done
//   2  new content goes into files with temporary names, which are flushed: from here on there is space for all
//   3  files that have moved step aside where their places overlap; what lies where a folder comes is removed; folders are made
//   4  files that have moved get their new names; what is gone is removed
//   5  new content gets its names, in one step each: a file has its old content or its new one, at every moment
//
// A failure in the first two steps leaves the folder as it was. `begin` is called before the third one.

import { pathBelow } from '../../../host/folder.js';
import type { FolderEntry, FolderPath, HostFile, HostFolder } from '../../../host/host.js';
import { bestEffort } from '../../../util/best-effort.js';
import { BlockError } from '../../../util/errors.js';
import { isSame } from './files.js';
import { MAX_DIRECTORY_BYTES } from './limits.js';
import { type Known, type KnownFile, keyOf, type Plan } from './plan.js';
import type { FoundFile } from './reader.js';
import { createTemporary, temporaryName } from './temporary.js';
import { msOfFatTime } from './times.js';

export interface ApplyRequest {
  folder: HostFolder;
  known: Known;
  plan: Plan;
  random: () => number;
  /** Writes the content of a file of the disk. */
  copy: (found: FoundFile, into: HostFile) => Promise<void>;
  /** Called when all that is refused has been refused: what is gone is still there, and must be read now. */
  begin: () => Promise<void>;
}

/** A file with a temporary name, and the one that it gets. */
interface Waiting {
  from: FolderPath;
  to: FolderPath;
}

/** Resolves when the folder holds what the plan says, durably. Rejects with `bad-state` where the folder was changed by others, `no-space`, `permission`, ... */
export async function applyPlan(request: ApplyRequest): Promise<void> {
  const { folder, plan } = request;
  await refuseChanged(request);
  const waiting: Waiting[] = [];
  try {
    for (const write of plan.writes) await writeTemporary(request, write, waiting);
    await request.begin();
  } catch (error) {
    for (const { from } of waiting) await folder.removeFile(from).catch(bestEffort('removing a temporary file'));
    throw error;
  }
  await changeNames(request, waiting);
  for (const { found, known, isTouched } of [...plan.moves, ...plan.kept]) {
    if (isTouched) await folder.setTimes(found.path, known.entry.atimeMs, msOfFatTime(found.changed));
  }
  await flushFolders(request);
}

async function writeTemporary(
  { folder, known, random, copy }: ApplyRequest,
  { found, replaces }: Plan['writes'][number],
  waiting: Waiting[],
): Promise<void> {
  // Where it will lie, or as near as there is a folder: renaming it moves no content.
  let parent = found.path.slice(0, -1);
  while (parent.length > 0 && !known.folders.has(keyOf(parent))) parent = parent.slice(0, -1);
  const { path, file } = await createTemporary(folder, parent, random, replaces?.entry.permissions ?? null);
  waiting.push({ from: path, to: found.path });
  try {
    await copy(found, file);
    await file.flush();
  } finally {
    await file.close();
  }
  const changed = msOfFatTime(found.changed);
  await folder.setTimes(path, changed, changed);
}

async function changeNames({ folder, known, plan, random }: ApplyRequest, waiting: Waiting[]): Promise<void> {
  const found = new Set([...plan.writes, ...plan.moves, ...plan.kept].map((one) => keyOf(one.found.path)));
  const newFolders = new Set(plan.newFolders.map(keyOf));
  const straight: Waiting[] = [];
  for (const { found: to, known: one } of plan.moves) {
    const isReplaced = found.has(keyOf(one.path)) || newFolders.has(keyOf(one.path));
    if (!isReplaced && !isKnown(known, to.path)) straight.push({ from: one.path, to: to.path });
    else {
      // Out of all that may be removed.
      const aside = [temporaryName(random)];
      await folder.rename(one.path, aside);
      waiting.push({ from: aside, to: to.path });
    }
  }
  const inTheWay = plan.gone.filter(({ path }) => newFolders.has(keyOf(path)));
  for (const { path } of inTheWay) await folder.removeFile(path);
  for (const path of plan.newFolders) await folder.createFolder(path);
  for (const { from, to } of straight) await folder.rename(from, to);
  for (const one of plan.gone) {
    // What has another file in its place goes when that one gets its name.
    if (!inTheWay.includes(one) && !found.has(keyOf(one.path))) await folder.removeFile(one.path);
  }
  for (const path of plan.goneFolders) await folder.removeFolder(path);
  for (const { from, to } of waiting) await folder.rename(from, to);
}

function isKnown({ files, folders }: Known, path: FolderPath): boolean {
  return files.has(keyOf(path)) || folders.has(keyOf(path));
}

/** What is replaced, moved or removed must be what is known to be there, and nothing where something new comes. */
async function refuseChanged({ folder, known, plan }: ApplyRequest): Promise<void> {
  const look = (path: FolderPath): Promise<FolderEntry | null> =>
    folder.info(path).catch((error: unknown) => {
      if (error instanceof BlockError && error.code === 'not-found') return null;
      throw error;
    });
  const replaced = plan.writes.flatMap(({ replaces }) => replaces ?? []);
  const touched = plan.kept.filter(({ isTouched }) => isTouched);
  for (const one of [...replaced, ...plan.gone, ...[...plan.moves, ...touched].map((of) => of.known)]) {
    const is = await look(one.path);
    if (is === null || is.kind !== 'file' || !isSame(is, one.entry)) throw changed(folder, one);
  }
  for (const path of [...plan.newFolders, ...[...plan.writes, ...plan.moves].map(({ found }) => found.path)]) {
    if (!isKnown(known, path) && (await look(path)) !== null) throw changed(folder, { path });
  }
  for (const path of plan.goneFolders) {
    for (const { name } of await folder.entries(path, MAX_DIRECTORY_BYTES)) {
      if (!isKnown(known, [...path, name])) throw changed(folder, { path: [...path, name] });
    }
  }
}

function changed(folder: HostFolder, { path }: Pick<KnownFile, 'path'>): BlockError {
  const where = pathBelow(folder.path, path);
  const text = `'${where}' was changed by another program while its folder is a disk that is written to: nothing more is written there`;
  return new BlockError('bad-state', text, { path: where, operation: 'flush' });
}

async function flushFolders({ folder, plan }: ApplyRequest): Promise<void> {
  const paths = new Map<string, FolderPath>();
  const changedAt = (path: FolderPath) => paths.set(keyOf(path.slice(0, -1)), path.slice(0, -1));
  for (const { found } of [...plan.writes, ...plan.moves]) changedAt(found.path);
  for (const { path } of [...plan.gone, ...plan.moves.map((one) => one.known)]) changedAt(path);
  for (const path of [...plan.newFolders, ...plan.goneFolders]) changedAt(path);
  // Names were changed in the root, too.
  paths.set('', []);
  for (const path of plan.goneFolders) paths.delete(keyOf(path));
  for (const path of paths.values()) await folder.flush(path);
}
