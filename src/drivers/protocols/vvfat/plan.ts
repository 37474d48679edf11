// What is to be done in the folder so that it holds what the file system on the disk says: found by comparing it with what the folder was known to hold.

import type { FolderEntry, FolderPath } from '../../../host/host.js';
import { type FolderMoves, planFolderMoves } from './folder-moves.js';
import { type Known, type KnownFile, type KnownFolder, keyOf } from './known.js';
import type { FoundFile, FoundFolder, FoundTree } from './reader.js';
import type { Run } from './table.js';
import { fatTime } from './times.js';

/** A file with content that the folder does not hold. */
export interface PlannedWrite {
  found: FoundFile;
  replaces: KnownFile | null;
  /** Null: those of any new file. */
  permissions: number | null;
}

export interface Plan {
  /** Done first: all else is about the folder as it is then. */
  folders: FolderMoves;
  /** Each before those that lie in it. */
  newFolders: FolderPath[];
  /** The permission bits of folders, new ones and others, that hold what lay in another one. */
  permissions: { path: FolderPath; permissions: number }[];
  writes: PlannedWrite[];
  /** Files that have another path. `isTouched`: the disk says another time. */
  moves: { found: FoundFile; known: KnownFile; isTouched: boolean }[];
  /** Files that stay. */
  kept: { found: FoundFile; known: KnownFile; isTouched: boolean }[];
  /** Files that are not on the disk any more: with another one in their place, or not. */
  gone: KnownFile[];
  /** Each behind those that lie in it. */
  goneFolders: FolderPath[];
}

/** `isFresh`: whether a machine has written to one of the clusters. */
export function planOf(
  knownBefore: Known,
  { folders, files }: FoundTree,
  isFresh: (runs: readonly Run[]) => boolean,
): Plan {
  const folderMoves = planFolderMoves(knownBefore, folders);
  const { known } = folderMoves;
  const plan: Plan = {
    folders: folderMoves,
    newFolders: [],
    permissions: [],
    writes: [],
    moves: [],
    kept: [],
    gone: [],
    goneFolders: [],
  };
  const holds = (one: KnownFile, found: FoundFile) =>
    one.entry.size === found.size && sameRuns(one.runs, found.runs) && !isFresh(found.runs);
  const used = new Set<KnownFile>();
  const others: FoundFile[] = [];
  for (const found of files) {
    const one = known.files.get(keyOf(found.path));
    if (one === undefined || !holds(one, found)) others.push(found);
    else {
      used.add(one);
      plan.kept.push({ found, known: one, isTouched: isTouched(one, found) });
    }
  }
  const byCluster = new Map<number, KnownFile>();
  for (const one of known.files.values())
    if (one.runs.length > 0 && !used.has(one)) byCluster.set(one.runs[0].first, one);
  const changed: FoundFile[] = [];
  for (const found of others) {
    const moved = found.runs.length === 0 ? undefined : byCluster.get(found.runs[0].first);
    if (moved !== undefined && holds(moved, found)) {
      used.add(moved);
      plan.moves.push({ found, known: moved, isTouched: isTouched(moved, found) });
    } else changed.push(found);
  }
  for (const one of known.files.values()) if (!used.has(one)) plan.gone.push(one);
  const emptied = plan.gone.filter(({ runs }) => runs.length === 0);
  for (const found of changed) {
    const replaces = known.files.get(keyOf(found.path)) ?? null;
    const origins: KnownFile[] = [];
    if (replaces !== null) origins.push(replaces);
    const first = found.runs.at(0)?.first;
    const moved = first === undefined ? undefined : byCluster.get(first);
    if (moved !== undefined) origins.push(moved);
    // An empty file has no cluster. Its time is what tells it from others, once it is renamed.
    if (first === undefined && replaces === null) origins.push(...emptied.filter((one) => !isTouched(one, found)));
    plan.writes.push({ found, replaces, permissions: strictestOf(origins) });
  }
  planFolders(plan, known, folders);
  return plan;
}

function planFolders(plan: Plan, known: Known, folders: readonly FoundFolder[]): void {
  const byCluster = new Map<number, KnownFolder>();
  for (const one of known.folders.values()) byCluster.set(one.cluster, one);
  const there = new Set<string>();
  for (const { path, cluster } of folders) {
    there.add(keyOf(path));
    const place = known.folders.get(keyOf(path));
    const origin = byCluster.get(cluster);
    if (place === undefined) plan.newFolders.push(path);
    if (origin === undefined || origin === place) continue;
    const permissions = strictestOf(place === undefined ? [origin] : [origin, place])!;
    if (permissions !== place?.entry.permissions) plan.permissions.push({ path, permissions });
  }
  for (const { path } of known.folders.values()) if (!there.has(keyOf(path))) plan.goneFolders.push(path);
  plan.goneFolders.reverse();
}

/** Of several files that one may come from, what all of them allow. Null: there is none. */
function strictestOf(origins: readonly { entry: FolderEntry }[]): number | null {
  if (origins.length === 0) return null;
  return origins.reduce((bits, { entry }) => bits & entry.permissions, 0o7777);
}

function sameRuns(a: readonly Run[], b: readonly Run[]): boolean {
  return a.length === b.length && a.every(({ first, count }, at) => first === b[at].first && count === b[at].count);
}

/** The time of the file is not the one that the disk says. */
function isTouched({ entry }: KnownFile, { changed }: FoundFile): boolean {
  const { date, time } = fatTime(entry.mtimeMs);
  return date !== changed.date || time !== changed.time;
}
