// Gives folders that a machine has renamed their places, each before those that lie in it. Where another one is still in a place, it steps aside, to a temporary name.

import type { FolderPath, HostFolder } from '../../../host/host.js';
import type { FolderStep } from './folder-moves.js';
import { type Known, type KnownFolder, keyOf } from './known.js';
import type { Look } from './look.js';
import { temporaryName } from './temporary.js';

export interface FolderChanges {
  folder: HostFolder;
  /** As it is before. */
  known: Known;
  steps: readonly FolderStep[];
  /** Whether a new folder is to be its owner's alone. */
  isPrivate: (path: FolderPath) => boolean;
  random: () => number;
}

/** Rejects with `bad-state` where another program has changed something, and as the folder does. The disk is read from where its files are then, in any case. */
export async function moveFolders(changes: FolderChanges, look: Look): Promise<void> {
  if (changes.steps.length === 0) return;
  const tree = new Tree(changes.known);
  try {
    for (const { to, known } of changes.steps) await take(changes, look, tree, to, known);
  } finally {
    for (const { base, path } of changes.known.files.values()) {
      if (base !== null) base.path = [...tree.known(path.slice(0, -1)).path, path[path.length - 1]];
    }
  }
}

async function take(
  changes: FolderChanges,
  look: Look,
  tree: Tree,
  to: FolderPath,
  known: KnownFolder | null,
): Promise<void> {
  const { folder, isPrivate, random } = changes;
  const parent = tree.at(to.slice(0, -1));
  const name = to[to.length - 1];
  const other = parent.inner.get(name);
  if (other !== undefined) await move(folder, look, other, tree.root, temporaryName(random));
  if (known !== null) return move(folder, look, tree.known(known.path), parent, name);
  await look.giveNew(to, () => folder.createFolder(to, isPrivate(to)));
  new Place(parent, name, null);
}

/** `place` becomes `name` in `parent`, where nothing is. */
async function move(folder: HostFolder, look: Look, place: Place, parent: Place, name: string): Promise<void> {
  const { path, known } = place;
  const to = [...parent.path, name];
  // A folder that was just made is where no other one comes.
  await look.expectFolder(path, known!.entry);
  await look.giveNew(to, () => folder.renameToFree(path, to));
  place.moveTo(parent, name);
}

class Place {
  readonly inner = new Map<string, Place>();
  /** Null: the disk itself, and a new folder. */
  readonly known: KnownFolder | null;
  #parent: Place | null;
  #name: string;

  constructor(parent: Place | null, name: string, known: KnownFolder | null) {
    this.known = known;
    this.#parent = parent;
    this.#name = name;
    parent?.inner.set(name, this);
  }

  get path(): FolderPath {
    return this.#parent === null ? [] : [...this.#parent.path, this.#name];
  }

  moveTo(parent: Place, name: string): void {
    this.#parent?.inner.delete(this.#name);
    this.#parent = parent;
    this.#name = name;
    parent.inner.set(name, this);
  }
}

/** Where the folders are now. */
class Tree {
  readonly root = new Place(null, '', null);
  /** By the paths that they had. */
  readonly #places = new Map<string, Place>([['', this.root]]);

  constructor({ folders }: Known) {
    for (const one of folders.values()) {
      const { path } = one;
      this.#places.set(keyOf(path), new Place(this.known(path.slice(0, -1)), path[path.length - 1], one));
    }
  }

  known(path: FolderPath): Place {
    return this.#places.get(keyOf(path))!;
  }

  at(path: FolderPath): Place {
    return path.reduce((place, name) => place.inner.get(name)!, this.root);
  }
}
