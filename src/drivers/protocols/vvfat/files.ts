// The files of the folder, which are opened when they are read; a few stay open. A file must be as it was when the folder was looked through: the disk says how long
// it is, and where its clusters lie.

import { pathBelow } from '../../../host/folder.js';
import type { FolderEntry, HostFile, HostFolder } from '../../../host/host.js';
import { bestEffort } from '../../../util/best-effort.js';
import { BlockError } from '../../../util/errors.js';
import type { ScannedFile } from './scan.js';

const MOST_OPEN = 16;

export class FolderFiles {
  readonly #folder: HostFolder;
  /** In the order in which they were used, the last one last. */
  readonly #open = new Map<ScannedFile, OpenFile>();

  constructor(folder: HostFolder) {
    this.#folder = folder;
  }

  /** Fills the buffer from `offset` of the file on. Rejects with `bad-state` where it is not the file that was there, or has changed, and as the host's `read`. */
  async read(scanned: ScannedFile, offset: number, buffer: Uint8Array): Promise<void> {
    const opened = this.#use(scanned);
    opened.users++;
    try {
      const file = await opened.file;
      await file.read(offset, buffer);
      // Once more behind the read: what was read is of the file as it was.
      await this.#check(scanned, file);
    } catch (error) {
      // It is opened again by its name next time: it may be there again.
      if (this.#open.get(scanned) === opened) this.#open.delete(scanned);
      opened.kept = false;
      throw error;
    } finally {
      opened.users--;
      await opened.closeUnused();
    }
  }

  /** All are closed, whatever fails; the first error is thrown. */
  async close(): Promise<void> {
    const all = [...this.#open.values()];
    this.#open.clear();
    for (const opened of all) opened.kept = false;
    const ends = await Promise.allSettled(all.map((opened) => opened.closeUnused()));
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  }

  #use(scanned: ScannedFile): OpenFile {
    const found = this.#open.get(scanned);
    const opened = found ?? new OpenFile(this.#openFile(scanned));
    this.#open.delete(scanned);
    this.#open.set(scanned, opened);
    if (this.#open.size > MOST_OPEN) {
      const [[oldest, file]] = this.#open;
      this.#open.delete(oldest);
      file.kept = false;
      void file.closeUnused().catch(bestEffort('closing a file of a folder'));
    }
    return opened;
  }

  async #openFile(scanned: ScannedFile): Promise<HostFile> {
    let file: HostFile;
    try {
      file = await this.#folder.openFile(scanned.path);
    } catch (error) {
      throw isOtherThing(error) ? this.#changed(scanned, error) : error;
    }
    try {
      await this.#check(scanned, file);
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async #check(scanned: ScannedFile, file: HostFile): Promise<void> {
    if (file.kind !== 'file' || !isSame(await file.info(), scanned.entry)) throw this.#changed(scanned);
  }

  #changed({ path }: ScannedFile, cause?: unknown): BlockError {
    const where = pathBelow(this.#folder.path, path);
    const text = `'${where}' has changed since its folder was opened as a disk: open it again`;
    return new BlockError('bad-state', text, { path: where, operation: 'read', cause });
  }
}

type Identity = Pick<FolderEntry, 'id' | 'size' | 'mtimeMs'>;

/** Whether they are the same file, with the same content as far as size and time tell. */
export function isSame(a: Identity, b: Identity): boolean {
  return a.id === b.id && a.size === b.size && a.mtimeMs === b.mtimeMs;
}

/** One file that is open, or being opened. */
class OpenFile {
  readonly file: Promise<HostFile>;
  users = 0;
  /** False: it is closed as soon as nobody reads it. */
  kept = true;
  #closed = false;

  constructor(file: Promise<HostFile>) {
    this.file = file;
  }

  async closeUnused(): Promise<void> {
    if (this.kept || this.users > 0 || this.#closed) return;
    this.#closed = true;
    let file: HostFile;
    try {
      file = await this.file;
    } catch {
      // Whoever wanted to read it has learned that.
      return;
    }
    await file.close();
  }
}

/** The error of opening what is no file, or not there. */
function isOtherThing(error: unknown): boolean {
  if (!(error instanceof BlockError)) return false;
  const { code, errno = '' } = error;
  return code === 'not-found' || code === 'loop' || ['ESPIPE', 'ENXIO', 'EISDIR'].includes(errno);
}
