// A disk that is written to: what machines write is kept apart (scratch.ts), and brought to the folder when they flush, where the file system is consistent then. In
// between it is not, as a rule: a flush that comes in the middle of a change leaves the folder as it was, and a later one brings all.
//
//   write --> scratch file          flush --> reader.ts: what lies on the disk --> plan.ts: what that changes --> apply.ts: the folder

import type { HostFile, HostFolder } from '../../../host/host.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { printable } from '../../../util/foreign-text.js';
import { applyPlan } from './apply.js';
import { byteOfCluster, clusterBytes, type Geometry, SECTOR_BYTES } from './geometry.js';
import { keepImage } from './kept-image.js';
import { type Known, type KnownFile, type KnownFolder, keyOf } from './known.js';
import type { Span } from './layout.js';
import type { Look } from './look.js';
import { type Plan, planOf } from './plan.js';
import { type FoundFile, type FoundFolder, type ReadDisk, readFileSystem } from './reader.js';
import { isFolder, type Scan } from './scan.js';
import type { Scratch } from './scratch.js';
import type { Run } from './table.js';

const COPY_BYTES = 1 << 20;

export interface WriteBackParts {
  folder: HostFolder;
  geometry: Geometry;
  scratch: Scratch;
  /** Where the disk holds something of the folder. */
  spans: readonly Span[];
  /** As machines see the disk. */
  read: ReadDisk;
  random: () => number;
  /** Receives one line. */
  warn: (message: string) => void;
}

export class WriteBack {
  readonly #parts: WriteBackParts;
  #known: Known = { files: new Map(), folders: new Map() };
  /** The folder was changed in part: nothing can be said of it any more. */
  #broken: unknown = null;
  /** It was said that the folder is not up to date. */
  #warned = false;

  constructor(scan: Scan, parts: WriteBackParts) {
    this.#parts = parts;
    for (const folder of scan.folders) {
      // Each folder but the root has a cluster.
      if (folder.parent !== null && folder.run !== null) {
        this.#known.folders.set(keyOf(folder.path), {
          path: folder.path,
          entry: folder.entry,
          cluster: folder.run.first,
        });
      }
      for (const child of folder.children) {
        if (isFolder(child)) continue;
        const { path, entry, run } = child;
        const runs = run === null ? [] : [run];
        this.#known.files.set(keyOf(path), { path, entry, runs, base: run === null ? null : child });
      }
    }
  }

  /**
   * Brings the folder up to date, while nobody reads or writes the disk. Where the file system is not consistent, that is put off, and a warning says so, once. Rejects
   * with `bad-state` where the folder was changed by others, `no-space`, `permission`, ...
   */
  async flush(): Promise<void> {
    const why = await this.#bring();
    if (why !== null && !this.#warned) {
      const text = `What a machine has written is not in '${this.#parts.folder.path}' yet: its file system is not consistent (${why})`;
      this.#parts.warn(`warning: ${printable(text)}`);
    }
    this.#warned = why !== null;
  }

  /** Brings the folder up to date for the last time. Where that cannot be done, the whole disk is kept as an image, and the error says where. Rejects as `flush`, and with `bad-state`. */
  async finish(): Promise<void> {
    const { folder, geometry, scratch, spans, read, random } = this.#parts;
    let failure: unknown;
    try {
      const why = await this.#bring();
      if (why === null) return;
      failure = notConsistent(folder.path, why);
    } catch (error) {
      failure = error;
    }
    const sectors = geometry.diskSectors;
    const kept = await keepImage({ folder, bytes: sectors * SECTOR_BYTES, scratch, spans, read, random });
    const { code, message, errno } = toBlockError(failure);
    throw new BlockError(code, `${message}. ${kept}`, { path: folder.path, operation: 'close', errno, cause: failure });
  }

  /** Resolves with null, or with why it cannot be done now: a sentence's end. */
  async #bring(): Promise<string | null> {
    if (this.#broken !== null) throw this.#broken;
    const { folder, geometry, scratch, read, random } = this.#parts;
    if (!scratch.hasFresh) return null;
    const tree = await readFileSystem(geometry, read);
    if (typeof tree === 'string') return tree;
    const plan = planOf(this.#known, tree, (runs) => this.#isFresh(runs));
    let began = false;
    try {
      const look = await applyPlan({
        folder,
        known: this.#known,
        plan,
        random,
        copy: (found, into) => this.#copy(found, into),
        keep: async () => {
          for (const one of plan.gone) await this.#keep(one);
        },
        begin: () => {
          began = true;
        },
      });
      this.#known = await this.#after(plan, tree.folders, look);
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
  async #after(plan: Plan, folders: readonly FoundFolder[], look: Look): Promise<Known> {
    const { folder } = this.#parts;
    const known: Known = { files: new Map(), folders: await this.#foldersAfter(plan, folders) };
    for (const { found, known: one } of [...plan.kept, ...plan.moves]) {
      const { path } = found;
      if (look.isOurs(one.entry)) one.entry = await folder.info(path);
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

  async #foldersAfter(plan: Plan, folders: readonly FoundFolder[]): Promise<Map<string, KnownFolder>> {
    const { folder } = this.#parts;
    const changed = new Set(plan.permissions.map(({ path }) => keyOf(path)));
    const all = new Map<string, KnownFolder>();
    for (const { path, cluster } of folders) {
      const before = changed.has(keyOf(path)) ? undefined : plan.folders.known.folders.get(keyOf(path));
      all.set(keyOf(path), { path, cluster, entry: before?.entry ?? (await folder.info(path)) });
    }
    return all;
  }
}

function notConsistent(path: string, why: string): BlockError {
  const text = `What was last written to the disk is not in '${path}': its file system is not consistent (${why})`;
  return new BlockError('bad-state', text, { path, operation: 'close' });
}

function brokenOff(path: string, cause: unknown): BlockError {
  const { code, message, errno } = toBlockError(cause);
  const text = `Could not bring '${path}' up to date, and it may have changed in part: ${message}`;
  return new BlockError(code, text, { path, operation: 'flush', errno, cause });
}
