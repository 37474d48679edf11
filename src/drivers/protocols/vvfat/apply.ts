// Changes the folder as a plan says.
//
//   1  what is to be changed must be as it is known, and where it lies must be writable: otherwise nothing is done
//   2  new content goes into files with temporary names, which are flushed, and their names are: from here on there is space for all
//   3  what is to go is read once more, and the first step repeated: what was copied may have taken its time
//   4  the names are changed: those of folders (move-folders.ts), and all others (moves.ts)
//   5  files get the times, and folders the permissions, that they are to have
//
// A failure in the first three steps leaves the folder as it was. `begin` is called behind them.

import type { FolderPath, HostFile, HostFolder } from '../../../host/host.js';
import { bestEffort } from '../../../util/best-effort.js';
import { type Known, keyOf } from './known.js';
import { MAX_DIRECTORY_ENTRIES } from './limits.js';
import { Look } from './look.js';
import { moveFolders } from './move-folders.js';
import { changedFolders, changeNames, flushFolders, type Waiting } from './moves.js';
import { refuseMounts } from './one-file-system.js';
import { PRIVATE_FILE, PRIVATE_FOLDER, setPermissions } from './permissions.js';
import type { Plan, PlannedWrite } from './plan.js';
import type { FoundFile } from './reader.js';
import { createTemporary } from './temporary.js';
import { msOfFatTime } from './times.js';

export interface ApplyRequest {
  folder: HostFolder;
  /** What the folder holds now. */
  known: Known;
  plan: Plan;
  random: () => number;
  /** Writes the content of a file of the disk. */
  copy: (found: FoundFile, into: HostFile) => Promise<void>;
  /** Called while what is gone is still there, and must be read now. */
  keep: () => Promise<void>;
  /** Called when all that is refused has been refused. */
  begin: () => void;
}

/**
 * Resolves when the folder holds what the plan says, durably; then, the `Look` says which files have other times and names than they had. Rejects with `bad-state` where
 * the folder was changed by others, `no-space`, `permission`, ...
 */
export async function applyPlan(request: ApplyRequest): Promise<Look> {
  const { folder, plan } = request;
  const look = new Look(folder);
  await refuseChanged(request, look);
  await refuseUnwritable(request);
  const temporaries: Waiting[] = [];
  try {
    for (const write of plan.writes) temporaries.push(await writeTemporary(request, write));
    const parents = temporaries.map(({ from }) => plan.folders.before(from.slice(0, -1)));
    await flushFolders(folder, parents);
    await request.keep();
    await refuseChanged(request, look);
  } catch (error) {
    for (const { from } of temporaries) await removeTemporary(folder, plan.folders.before(from));
    throw error;
  }
  request.begin();
  const fromElsewhere = new Set(plan.permissions.map(({ path }) => keyOf(path)));
  const isPrivate = (path: FolderPath) => fromElsewhere.has(keyOf(path));
  const { steps } = plan.folders;
  await moveFolders({ folder, known: request.known, steps, isPrivate, random: request.random }, look);
  await changeNames({ folder, plan, isPrivate, random: request.random }, look, temporaries);
  for (const { found, known, isTouched } of [...plan.moves, ...plan.kept]) {
    if (!isTouched) continue;
    look.changed(known.entry);
    const { path, changed } = found;
    // Of another owner's file, they cannot be set; its content is right.
    await folder
      .setTimes(path, known.entry.atimeMs, msOfFatTime(changed))
      .catch(bestEffort('setting the times of a file'));
  }
  // Inner ones first: they are reached through the outer ones.
  for (const { path, permissions } of plan.permissions.toReversed())
    await setPermissions(folder, path, PRIVATE_FOLDER, permissions);
  const gone = new Set(plan.goneFolders.map(keyOf));
  const left = changedFolders(plan).filter((path) => !gone.has(keyOf(path)));
  await flushFolders(folder, left);
  return look;
}

/** Leaves nothing where it fails. */
async function writeTemporary(request: ApplyRequest, { found, permissions }: PlannedWrite): Promise<Waiting> {
  const { folder, random } = request;
  const { known, before } = request.plan.folders;
  // Where it will lie, or as near as there is a folder: renaming it moves no content.
  let parent = found.path.slice(0, -1);
  while (parent.length > 0 && !known.folders.has(keyOf(parent))) parent = parent.slice(0, -1);
  const { path, file } = await createTemporary(folder, before(parent), random);
  try {
    try {
      await request.copy(found, file);
      await setPermissions(folder, path, PRIVATE_FILE, permissions);
      await file.flush();
    } finally {
      await file.close();
    }
    const changed = msOfFatTime(found.changed);
    await folder.setTimes(path, changed, changed);
    return { from: [...parent, path[path.length - 1]], to: found.path, entry: await folder.info(path), known: null };
  } catch (error) {
    await removeTemporary(folder, path);
    throw error;
  }
}

function removeTemporary(folder: HostFolder, path: FolderPath): Promise<void> {
  return folder.removeFile(path).catch(bestEffort('removing a temporary file'));
}

/** What is replaced, moved or removed must be what is known to be there, and nothing where something new comes. */
async function refuseChanged({ folder, known, plan }: ApplyRequest, look: Look): Promise<void> {
  const { known: after, before, steps } = plan.folders;
  const replaced = plan.writes.flatMap(({ replaces }) => replaces ?? []);
  const touched = plan.kept.filter(({ isTouched }) => isTouched);
  for (const { path, entry } of [...replaced, ...plan.gone, ...[...plan.moves, ...touched].map((of) => of.known)]) {
    await look.expect(before(path), entry);
  }
  for (const { known: one } of steps) if (one !== null) await look.expectFolder(one.path, one.entry);
  const holds = (all: Known, path: FolderPath) => all.files.has(keyOf(path)) || all.folders.has(keyOf(path));
  const moved = new Set(steps.map(({ to }) => to));
  const named = [...plan.writes, ...plan.moves].map(({ found }) => found.path);
  for (const path of [...plan.newFolders, ...moved, ...named]) {
    // In a new folder there is nothing.
    const isNew = path.length > 1 && !after.folders.has(keyOf(path.slice(0, -1)));
    if (isNew || (holds(after, path) && !moved.has(path))) continue;
    // What is known to be there leaves the place.
    const place = [...before(path.slice(0, -1)), path[path.length - 1]];
    if (!holds(known, place)) await look.expectNothing(place);
  }
  for (const path of plan.goneFolders) {
    for (const { name } of await folder.entries(before(path), MAX_DIRECTORY_ENTRIES)) {
      if (!holds(known, [...before(path), name])) throw look.refusal([...before(path), name]);
    }
  }
}

/** Names are changed in all of these: a folder among them that cannot be written to is found before the first one changes. */
async function refuseUnwritable({ folder, plan }: ApplyRequest): Promise<void> {
  await refuseMounts(folder, 'flush');
  const { known, before, steps } = plan.folders;
  // A folder that moves into another one is changed, too: its `..` is.
  const moved = steps.flatMap(({ from, to }) => (keyOf(from.slice(0, -1)) === keyOf(to.slice(0, -1)) ? [] : [to]));
  for (const path of [...changedFolders(plan), ...moved]) {
    if (path.length === 0 || known.folders.has(keyOf(path))) await folder.checkWritable(before(path));
  }
}
