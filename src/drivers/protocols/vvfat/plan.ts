// What is to be done in the folder so that it holds what the file system on the disk says: found by comparing it with what the folder was known to hold.

import type { FolderEntry, FolderPath } from '../../../host/host.js';
import type { FoundFile, FoundTree } from './reader.js';
import type { ScannedFile } from './scan.js';
import type { Run } from './table.js';
import { fatTime } from './times.js';

/** A file that the folder holds, and where it lies on the disk. */
export interface KnownFile {
  path: FolderPath;
  entry: FolderEntry;
  runs: readonly Run[];
  /** What the disk reads where the machine has not written: this file, as it was when the disk was opened. Null: all of that is in the scratch file. */
  base: ScannedFile | null;
}

export interface Known {
  /** By `keyOf` their paths. */
  files: Map<string, KnownFile>;
  folders: Map<string, FolderPath>;
}

export interface Plan {
  newFolders: FolderPath[];
  /** Files with content that the folder does not hold. */
  writes: { found: FoundFile; replaces: KnownFile | null }[];
  /** Files that have another path. `isTouched`: the disk says another time. */
  moves: { found: FoundFile; known: KnownFile; isTouched: boolean }[];
  /** Files that stay. */
  kept: { found: FoundFile; known: KnownFile; isTouched: boolean }[];
  /** Files that are not on the disk any more: with another one in their place, or not. */
  gone: KnownFile[];
  /** Each behind those that lie in it. */
  goneFolders: FolderPath[];
}

export function keyOf(path: FolderPath): string {
  return path.join('/');
}

/** `isFresh`: whether a machine has written to one of the clusters. */
export function planOf(known: Known, { folders, files }: FoundTree, isFresh: (runs: readonly Run[]) => boolean): Plan {
  const plan: Plan = { newFolders: [], writes: [], moves: [], kept: [], gone: [], goneFolders: [] };
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
  for (const found of others) {
    const moved = found.runs.length === 0 ? undefined : byCluster.get(found.runs[0].first);
    if (moved !== undefined && holds(moved, found)) {
      used.add(moved);
      plan.moves.push({ found, known: moved, isTouched: isTouched(moved, found) });
    } else plan.writes.push({ found, replaces: known.files.get(keyOf(found.path)) ?? null });
  }
  for (const one of known.files.values()) if (!used.has(one)) plan.gone.push(one);
  const there = new Set(folders.map(keyOf));
  plan.newFolders = folders.filter((path) => !known.folders.has(keyOf(path)));
  plan.goneFolders = [...known.folders.values()].filter((path) => !there.has(keyOf(path))).reverse();
  return plan;
}

function sameRuns(a: readonly Run[], b: readonly Run[]): boolean {
  return a.length === b.length && a.every(({ first, count }, at) => first === b[at].first && count === b[at].count);
}

/** The time of the file is not the one that the disk says. */
function isTouched({ entry }: KnownFile, { changed }: FoundFile): boolean {
  const { date, time } = fatTime(entry.mtimeMs);
  return date !== changed.date || time !== changed.time;
}
