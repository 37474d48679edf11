// Looks at what lies in the folder, before something there is changed: what another program has changed is neither overwritten nor removed.

import { pathBelow } from '../../../host/folder.js';
import type { FolderEntry, FolderPath, HostFolder } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';
import { isSame } from './files.js';

export class Look {
  readonly #folder: HostFolder;
  /** Files whose time of any change is ours: by their `id`, since one may have several names. */
  readonly #ours = new Set<string>();

  constructor(folder: HostFolder) {
    this.#folder = folder;
  }

  /** We have changed something of the file: names, times, permissions. */
  changed({ id }: FolderEntry): void {
    this.#ours.add(id);
  }

  isOurs({ id }: FolderEntry): boolean {
    return this.#ours.has(id);
  }

  /** Rejects with `bad-state` unless the file is there, as it is known. */
  async expect(path: FolderPath, entry: FolderEntry): Promise<void> {
    const now = await this.#at(path);
    const isKnown = now !== null && now.kind === 'file' && isSame(now, entry);
    if (!isKnown || (now.ctimeMs !== entry.ctimeMs && !this.isOurs(entry))) throw this.refusal(path);
  }

  /** Rejects with `bad-state` unless the folder is there. */
  async expectFolder(path: FolderPath, { id }: FolderEntry): Promise<void> {
    const now = await this.#at(path);
    if (now === null || now.kind !== 'folder' || now.id !== id) throw this.refusal(path);
  }

  /** Rejects with `bad-state` where something is there. */
  async expectNothing(path: FolderPath): Promise<void> {
    if ((await this.#at(path)) !== null) throw this.refusal(path);
  }

  /** Gives something the name `path`, by `action`, which never replaces anything. Rejects with `bad-state` where something has that name already. */
  async giveNew(path: FolderPath, action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      throw error instanceof BlockError && error.code === 'exists' ? this.refusal(path) : error;
    }
  }

  refusal(path: FolderPath): BlockError {
    const where = pathBelow(this.#folder.path, path);
    const text = `'${where}' was changed by another program while its folder is a disk that is written to: nothing more is written there`;
    return new BlockError('bad-state', text, { path: where, operation: 'flush' });
  }

  async #at(path: FolderPath): Promise<FolderEntry | null> {
    try {
      return await this.#folder.info(path);
    } catch (error) {
      if (error instanceof BlockError && error.code === 'not-found') return null;
      throw error;
    }
  }
}
