// Changes the names in the folder: what was to be refused has been refused, and new content lies in files with temporary names.
//
//   1  folders that take in what lay in a stricter one become private
//   2  files that have moved, or lie where a folder comes, step aside where places overlap; folders are made
//   3  files that have moved, and new content, get their names, wherever the place is free or a file's: each in one step, so that a file has its old content or its
//      new one at every moment; all that is made durable
//   4  what is gone is removed
//   5  what has waited for the place of a folder gets it
//
// Before each step, it is looked whether the place is as it is known: between the look and the step there is a moment in which another program is not noticed, but where a
// name is new, nothing is ever replaced.

import type { FolderEntry, FolderPath, HostFolder } from '../../../host/host.js';
import { type KnownFile, keyOf } from './known.js';
import type { Look } from './look.js';
import { PRIVATE_FOLDER } from './permissions.js';
import type { Plan } from './plan.js';
import { temporaryName } from './temporary.js';

/** A file that gets another name. */
export interface Waiting {
  from: FolderPath;
  to: FolderPath;
  entry: FolderEntry;
  /** Null: it is new. */
  known: KnownFile | null;
}

export interface NameChanges {
  folder: HostFolder;
  plan: Plan;
  /** Whether a new folder is to be its owner's alone. */
  isPrivate: (path: FolderPath) => boolean;
  random: () => number;
}

/** Rejects with `bad-state` where another program has changed something, and as the folder does. */
export async function changeNames(changes: NameChanges, look: Look, temporaries: readonly Waiting[]): Promise<void> {
  const { folder, plan, isPrivate } = changes;
  const { known, steps } = plan.folders;
  for (const { path } of plan.permissions) {
    const there = known.folders.get(keyOf(path));
    if (there !== undefined) await folder.setPermissions(path, there.entry.id, PRIVATE_FOLDER);
  }
  const { waiting, removed } = await stepAside(changes, look);
  const made = new Set(steps.map(({ to }) => keyOf(to)));
  for (const path of plan.newFolders) {
    if (!made.has(keyOf(path))) await look.giveNew(path, () => folder.createFolder(path, isPrivate(path)));
  }

  // Where a folder goes, the place is not free yet.
  const isLate = ({ to }: Waiting) => known.folders.has(keyOf(to));
  const all = [...waiting, ...temporaries];
  const gone = new Map(plan.gone.map((one) => [keyOf(one.path), one]));
  const name = (one: Waiting) => give(folder, look, one, gone.get(keyOf(one.to)));
  for (const one of all) if (!isLate(one)) await name(one);
  if (removed.length > 0 || plan.goneFolders.length > 0) await flushFolders(folder, changedFolders(plan));

  for (const { path, entry } of removed) {
    await look.expect(path, entry);
    look.changed(entry);
    await folder.removeFile(path);
  }
  for (const path of plan.goneFolders) await folder.removeFolder(path);
  for (const one of all) if (isLate(one)) await name(one);
}

/** Where places overlap, files get other names for a while. Resolves with those that have moved, in whichever place they are now, and with what is to be removed. */
async function stepAside({ folder, plan, random }: NameChanges, look: Look) {
  const { known } = plan.folders;
  const found = new Set([...plan.writes, ...plan.moves, ...plan.kept].map((one) => keyOf(one.found.path)));
  const newFolders = new Set(plan.newFolders.map(keyOf));
  const aside = async ({ path, entry }: KnownFile): Promise<FolderPath> => {
    // Out of all that may be removed.
    const place = [temporaryName(random)];
    await look.expect(path, entry);
    look.changed(entry);
    await look.giveNew(place, () => folder.renameToFree(path, place));
    return place;
  };
  const waiting: Waiting[] = [];
  for (const { found: to, known: one } of plan.moves) {
    const from = keyOf(one.path);
    const isFree = !known.files.has(keyOf(to.path)) && !known.folders.has(keyOf(to.path));
    const stays = isFree && !found.has(from) && !newFolders.has(from);
    const place = stays ? one.path : await aside(one);
    liesAt(one, place);
    waiting.push({ from: place, to: to.path, entry: one.entry, known: one });
  }
  const removed: { path: FolderPath; entry: FolderEntry }[] = [];
  for (const one of plan.gone) {
    const place = keyOf(one.path);
    if (newFolders.has(place)) removed.push({ path: await aside(one), entry: one.entry });
    // What has another file in its place goes when that one gets its name.
    else if (!found.has(place)) removed.push(one);
  }
  return { waiting, removed };
}

/** Gives the file its name, which `there` has, or nothing. */
async function give(folder: HostFolder, look: Look, one: Waiting, there: KnownFile | undefined): Promise<void> {
  const { from, to, entry, known } = one;
  await look.expect(from, entry);
  look.changed(entry);
  if (there === undefined) {
    await look.giveNew(to, () => folder.renameToFree(from, to));
  } else {
    await look.expect(to, there.entry);
    look.changed(there.entry);
    // Of two names of one file, rename(2) would leave both.
    if (there.entry.id === entry.id) await folder.removeFile(from);
    else await folder.rename(from, to);
  }
  if (known !== null) liesAt(known, to);
}

/** The disk goes on being read from the file, also where a later step fails. */
function liesAt({ base }: KnownFile, path: FolderPath): void {
  if (base !== null) base.path = path;
}

export async function flushFolders(folder: HostFolder, paths: readonly FolderPath[]): Promise<void> {
  for (const path of new Map(paths.map((path) => [keyOf(path), path])).values()) await folder.flush(path);
}

/** The folders in which names change, also those that are gone in the end, and new ones. */
export function changedFolders({ folders, writes, moves, gone, newFolders, goneFolders }: Plan): FolderPath[] {
  const changed = [...writes, ...moves].map(({ found }) => found.path);
  const paths = [...changed, ...[...gone, ...moves.map(({ known }) => known)].map(({ path }) => path)];
  const moved = folders.steps.flatMap(({ from, to }) => [from, to]);
  // Of the root, since files step aside there.
  const parents: FolderPath[] = [
    [],
    ...[...paths, ...moved, ...newFolders, ...goneFolders].map((path) => path.slice(0, -1)),
  ];
  return [...new Map(parents.map((path) => [keyOf(path), path])).values()];
}
