// A disk that is written to: what machines write is kept apart (scratch.ts), and brought to the folder when they flush, where the file system is consistent then. In
// between it is not, as a rule: a flush that comes in the middle of a change leaves the folder as it was, and a later one brings all.
//
//   write --> scratch file          flush --> reader.ts: what lies on the disk --> plan.ts: what that changes --> apply.ts: the folder

import type { FolderPath, HostFile, HostFolder } from '../../../host/host.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { applyPlan } from './apply.js';
import { byteOfCluster, clusterBytes, type Geometry } from './geometry.js';
import { type Known, type KnownFile, keyOf, type Plan, planOf } from './plan.js';
import { type FoundFile, type ReadDisk, readFileSystem } from './reader.js';
import { isFolder, type Scan } from './scan.js';
import type { Scratch } from './scratch.js';
import type { Run } from './table.js';

const COPY_BYTES = 1 << 20;

export interface WriteBackParts {
  folder: HostFolder;
  geometry: Geometry;
  scratch: Scratch;
  /** As machines see the disk. */
  read: ReadDisk;
  random: () => number;
}

export class WriteBack {
  readonly #parts: WriteBackParts;
  #known: Known = { files: new Map(), folders: new Map() };
  /** The folder was changed in part: nothing can be said of it any more. */
  #broken: unknown = null;

  constructor(scan: Scan, parts: WriteBackParts) {
    this.#parts = parts;
    for (const folder of scan.folders) {
      if (folder.parent !== null) this.#known.folders.set(keyOf(folder.path), folder.path);
      for (const child of folder.children) {
        if (isFolder(child)) continue;
        const { path, entry, run } = child;
        const runs = run === null ? [] : [run];
        this.#known.files.set(keyOf(path), { path, entry, runs, base: run === null ? null : child });
      }
    }
  }

  /**
   * Brings the folder up to date, while nobody reads or writes the disk. Resolves with null, or with why it cannot be done now: a sentence's end. Rejects with
   * `bad-state` where the folder was changed by others, `no-space`, `permission`, ...
   */
  async bring(): Promise<string | null> {
    if (this.#broken !== null) throw this.#broken;
    const { folder, geometry, scratch, read, random } = this.#parts;
    if (!scratch.hasFresh) return null;
    const tree = await readFileSystem(geometry, read);
    if (typeof tree === 'string') return tree;
    const plan = planOf(this.#known, tree, (runs) => this.#isFresh(runs));
    let began = false;
    try {
      await applyPlan({
        folder,
        known: this.#known,
        plan,
        random,
        copy: (found, into) => this.#copy(found, into),
        begin: async () => {
          for (const one of plan.gone) await this.#keep(one);
          began = true;
        },
      });
      this.#known = await this.#after(plan, tree.folders);
    } catch (error) {
      if (began) this.#broken = brokenOff(folder.path, error);
      throw this.#broken ?? error;
    }
    scratch.settle();
    return null;
  }

  #isFresh(runs: readonly Run[]): boolean {
    const { geometry, scratch } = this.#parts;
    return runs.some(({ first, count }) =>
      scratch.isFresh(byteOfCluster(geometry, first), byteOfCluster(geometry, first + count)),
    );
  }

  async #copy({ runs, size }: FoundFile, into: HostFile): Promise<void> {
    let written = 0;
    for (const { offset, bytes } of this.#pieces(runs)) {
      const part = bytes.subarray(0, size - written);
      await this.#parts.read(offset, part);
      await into.write(written, part);
      written += part.length;
    }
  }

  /** What the disk reads of a file that goes stays as it is: the machine may have it in other files, or look at it once more. */
  async #keep({ base, runs }: KnownFile): Promise<void> {
    if (base === null) return;
    const { scratch, read } = this.#parts;
    for (const { offset, bytes } of this.#pieces(runs)) {
      for (let at = offset; at < offset + bytes.length; ) {
        const { held, end } = scratch.runAt(at, offset + bytes.length);
        const part = bytes.subarray(at - offset, end - offset);
        if (!held) {
          await read(at, part);
          await scratch.keep(at, part);
        }
        at = end;
      }
    }
  }

  /** The clusters, in pieces, each with a place for its bytes that holds until the next piece. */
  *#pieces(runs: readonly Run[]): Iterable<{ offset: number; bytes: Uint8Array }> {
    const { geometry } = this.#parts;
    const room = new Uint8Array(COPY_BYTES);
    for (const { first, count } of runs) {
      const end = byteOfCluster(geometry, first) + count * clusterBytes(geometry);
      for (let offset = byteOfCluster(geometry, first); offset < end; offset += COPY_BYTES) {
        yield { offset, bytes: room.subarray(0, Math.min(COPY_BYTES, end - offset)) };
      }
    }
  }

  /** What the folder holds once the plan is done. */
  async #after(plan: Plan, folders: readonly FolderPath[]): Promise<Known> {
    const { folder } = this.#parts;
    const known: Known = { files: new Map(), folders: new Map(folders.map((path) => [keyOf(path), path])) };
    for (const { found, known: one, isTouched } of [...plan.kept, ...plan.moves]) {
      const { path } = found;
      if (isTouched || keyOf(path) !== keyOf(one.path)) one.entry = await folder.info(path);
      one.path = path;
      if (one.base !== null) Object.assign(one.base, { path, entry: one.entry });
      known.files.set(keyOf(path), one);
    }
    for (const { found } of plan.writes) {
      const { path, runs } = found;
      known.files.set(keyOf(path), { path, entry: await folder.info(path), runs, base: null });
    }
    return known;
  }
}

function brokenOff(path: string, cause: unknown): BlockError {
  const { code, message, errno } = toBlockError(cause);
  const text = `Could not bring '${path}' up to date, and it may have changed in part: ${message}`;
  return new BlockError(code, text, { path, operation: 'flush', errno, cause });
}
