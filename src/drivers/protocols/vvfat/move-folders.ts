// Gives folders that a machine has renamed their places, each before those that lie in it. Where another one is still in a place, it steps aside, to a temporary name.

import type { FolderPath, HostFolder } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';
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
  { folder, isPrivate, random }: FolderChanges,
  look: Look,
  tree: Tree,
  to: FolderPath,
  known: KnownFolder | null,
): Promise<void> {
  const parent = tree.at(to.slice(0, -1));
  const name = to[to.length - 1];
  const other = parent.inner.get(name);
  if (other !== undefined) {
    const aside = temporaryName(random);
    await folder.renameToFree(other.path, [aside]);
    other.moveTo(tree.root, aside);
  }
  if (known === null) {
    await folder.createFolder(to, isPrivate(to));
    new Place(parent, name);
    return;
  }
  const place = tree.known(known.path);
  await look.expectFolder(place.path, known.entry);
  try {
    await folder.renameToFree(place.path, to);
  } catch (error) {
    throw error instanceof BlockError && error.code === 'exists' ? look.refusal(to) : error;
  }
  place.moveTo(parent, name);
}

class Place {
  readonly inner = new Map<string, Place>();
  #parent: Place | null;
  #name: string;

  constructor(parent: Place | null, name: string) {
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
  readonly root = new Place(null, '');
  /** By the paths that they had. */
  readonly #places = new Map<string, Place>([['', this.root]]);

  constructor({ folders }: Known) {
    for (const { path } of folders.values()) {
      this.#places.set(keyOf(path), new Place(this.known(path.slice(0, -1)), path[path.length - 1]));
    }
  }

  known(path: FolderPath): Place {
    return this.#places.get(keyOf(path))!;
  }

  at(path: FolderPath): Place {
    return path.reduce((place, name) => place.inner.get(name)!, this.root);
  }
}
