// Folders that a machine has renamed or moved are found by their first cluster, as files are, and are renamed in the folder: so they keep their owner, their permissions,
// and all else that a disk does not know of. That is done before all other names change, and the rest of the plan is about the folder as it is then.
//
// A folder takes its place only where that is free by then: not in place of a file, or of a folder that goes. Otherwise it is made anew, and its files move.

import type { FolderPath } from '../../../host/host.js';
import { type Known, type KnownFile, type KnownFolder, keyOf } from './known.js';
import type { FoundFolder } from './reader.js';

/** Rounds in which folders are left out that have no place: each may leave out others. */
const MOST_ROUNDS = 8;

/** A folder that gets its place before files do: one of the folder, or, where `known` is null, a new one that another one moves into. */
export interface FolderStep {
  to: FolderPath;
  known: KnownFolder | null;
  /** Where it would lie if nothing but the folders around it moved. */
  from: FolderPath;
}

export interface FolderMoves {
  /** What the folder holds once the steps are done. */
  known: Known;
  /** Each before those that lie in it. */
  steps: FolderStep[];
  /** The path, before the steps, of what has `path` after them. */
  before: (path: FolderPath) => FolderPath;
}

export function planFolderMoves(known: Known, folders: readonly FoundFolder[]): FolderMoves {
  const leftOut = new Set<KnownFolder>();
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const moves = new Places(known, folders, leftOut);
    if (moves.movers.size === 0) break;
    const steps = moves.steps();
    if (steps.refused.length === 0) return { known: moves.after(), steps: steps.taken, before: moves.before() };
    for (const one of steps.refused) leftOut.add(one);
  }
  return { known, steps: [], before: (path) => path };
}

/** Where each folder lies behind the moves. */
class Places {
  /** Those that are renamed themselves; others only lie in one that is. */
  readonly movers = new Map<string, KnownFolder>();
  readonly #known: Known;
  readonly #folders: readonly FoundFolder[];
  /** By `keyOf` the path before. */
  readonly #after = new Map<string, FolderPath>();
  /** Folders that go, or are other ones on the disk, and files: by `keyOf` the path behind. */
  readonly #staying = new Set<string>();
  readonly #files = new Set<string>();
  readonly #there = new Set<string>();

  constructor(known: Known, folders: readonly FoundFolder[], leftOut: ReadonlySet<KnownFolder>) {
    this.#known = known;
    this.#folders = folders;
    const found = new Map(folders.map((one) => [one.cluster, one.path]));
    this.#after.set('', []);
    for (const one of known.folders.values()) {
      const along = this.#along(one.path);
      const path = leftOut.has(one) ? undefined : found.get(one.cluster);
      if (path === undefined) this.#staying.add(keyOf(along));
      else if (keyOf(path) !== keyOf(along)) this.movers.set(keyOf(path), one);
      this.#after.set(keyOf(one.path), path ?? along);
      this.#there.add(keyOf(path ?? along));
    }
    if (this.movers.size === 0) return;
    for (const { path } of known.files.values()) this.#files.add(keyOf(this.#along(path)));
  }

  /** Where it lies if nothing but the folders around it moves. */
  #along(path: FolderPath): FolderPath {
    return [...this.#after.get(keyOf(path.slice(0, -1)))!, path[path.length - 1]];
  }

  steps(): { taken: FolderStep[]; refused: KnownFolder[] } {
    const taken: FolderStep[] = [];
    const refused: KnownFolder[] = [];
    const needed = this.#newFoldersAround();
    for (const { path } of this.#folders) {
      const key = keyOf(path);
      const known = this.movers.get(key);
      if (known !== undefined) {
        const isFree = !this.#staying.has(key) && !this.#files.has(key);
        const hasWay = path.slice(0, -1).every((_, at) => !this.#files.has(keyOf(path.slice(0, at + 1))));
        if (isFree && hasWay) taken.push({ to: path, known, from: this.#along(known.path) });
        else refused.push(known);
      } else if (needed.has(key)) taken.push({ to: path, known: null, from: path });
    }
    return { taken, refused };
  }

  #newFoldersAround(): Set<string> {
    const needed = new Set<string>();
    for (const to of this.movers.keys()) {
      for (let at = to.lastIndexOf('/'); at > 0; at = to.lastIndexOf('/', at - 1)) {
        const key = to.slice(0, at);
        if (!this.#there.has(key)) needed.add(key);
      }
    }
    return needed;
  }

  after(): Known {
    const files = new Map<string, KnownFile>();
    for (const one of this.#known.files.values()) {
      const path = this.#along(one.path);
      files.set(keyOf(path), { ...one, path });
    }
    const folders = new Map<string, KnownFolder>();
    for (const one of this.#known.folders.values()) {
      const path = this.#after.get(keyOf(one.path))!;
      folders.set(keyOf(path), { ...one, path });
    }
    return { files, folders };
  }

  before(): (path: FolderPath) => FolderPath {
    const before = new Map<string, FolderPath>();
    for (const one of this.#known.folders.values()) before.set(keyOf(this.#after.get(keyOf(one.path))!), one.path);
    return (path) => {
      for (let depth = path.length; depth > 0; depth--) {
        const there = before.get(keyOf(path.slice(0, depth)));
        if (there !== undefined) return [...there, ...path.slice(depth)];
      }
      return path;
    };
  }
}
