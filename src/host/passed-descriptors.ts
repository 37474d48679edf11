// Descriptors that another program has passed to this one, over a monitor's socket: by name, for sockets, and in sets, for files.
//
//   getfd NAME  --> named --take--> the socket that is made of it
//   add-fd SET  --> /dev/fdset/SET --find--> duplicated for each file that is opened by that name
//
// A number stands for a descriptor that this process was started with, until the first command of a monitor's client (`namesOnly`): what a client says
// cannot reach descriptors that it has not passed.
//
// A set is there for as long as it has descriptors, or files that were opened from it. Sets belong to nobody: when the last one who passes descriptors
// has gone, those that no file was opened from are closed (as in QEMU).

import { BlockError } from '../util/errors.js';

/** Descriptors, named or in sets, at one time: a program that passes more has forgotten some. */
const MAX_DESCRIPTORS = 1024;
const PREFIX = '/dev/fdset/';

/** Whether the name of a file is that of a set of descriptors. */
export function isSetName(path: string): boolean {
  return path.startsWith(PREFIX);
}

export interface SetInfo {
  id: number;
  descriptors: readonly { fd: number; opaque: string | undefined }[];
}

interface DescriptorSet {
  readonly descriptors: { fd: number; opaque: string | undefined }[];
  /** Files that were opened from it. */
  files: number;
}

export class PassedDescriptors {
  readonly #close: (fd: number) => void;
  readonly #named = new Map<string, { fd: number; owner: object }>();
  readonly #sets = new Map<number, DescriptorSet>();
  #takesNumbers = true;

  /** `close` closes a descriptor. */
  constructor(close: (fd: number) => void) {
    this.#close = close;
  }

  // ---- by name -------------------------------------------------------------------------------------------------

  /** Keeps `fd` under a name; the one that had the name is closed. Throws `limit`; then `fd` is closed. */
  name(name: string, fd: number, owner: object): void {
    this.#makeRoom(fd);
    const old = this.#named.get(name);
    if (old !== undefined) this.#close(old.fd);
    this.#named.set(name, { fd, owner });
  }

  /** Hands out the descriptor, which has no name any more. Throws `not-found`. */
  take(name: string): number {
    const found = this.#named.get(name);
    if (found === undefined) {
      throw new BlockError('not-found', `File descriptor named '${name}' has not been found`, { operation: 'open' });
    }
    this.#named.delete(name);
    return found.fd;
  }

  /** From now on no socket is made of a number. */
  namesOnly(): void {
    this.#takesNumbers = false;
  }

  /** A socket may be made of a descriptor's number. Otherwise the number is looked up as a name, which `getfd` gives to none. */
  get takesNumbers(): boolean {
    return this.#takesNumbers;
  }

  /** Throws `not-found`. */
  forget(name: string): void {
    const found = this.#named.get(name);
    if (found === undefined) throw new BlockError('not-found', `File descriptor named '${name}' not found`);
    this.#named.delete(name);
    this.#close(found.fd);
  }

  /** Closes what `owner` has named and nobody has taken. */
  forgetAllOf(owner: object): void {
    for (const [name, one] of this.#named) if (one.owner === owner) this.forget(name);
  }

  // ---- in sets -------------------------------------------------------------------------------------------------

  /** Adds `fd` to a set, without `id` to a new one. Returns the set's id. Throws `limit`; then `fd` is closed. */
  add(fd: number, id: number | undefined, opaque: string | undefined): number {
    this.#makeRoom(fd);
    let chosen = id ?? 0;
    if (id === undefined) while (this.#sets.has(chosen)) chosen++;
    const set = this.#sets.get(chosen) ?? { descriptors: [], files: 0 };
    this.#sets.set(chosen, set);
    set.descriptors.push({ fd, opaque });
    return chosen;
  }

  /** Closes one descriptor of a set, or all. Files that were opened from them stay open. Throws `not-found`. */
  remove(id: number, fd: number | undefined): void {
    const set = this.#sets.get(id);
    const chosen = set?.descriptors.filter((one) => fd === undefined || one.fd === fd) ?? [];
    if (set === undefined || (fd !== undefined && chosen.length === 0)) {
      const what = fd === undefined ? `fdset-id:${id}` : `fdset-id:${id}, fd:${fd}`;
      throw new BlockError('not-found', `File descriptor named '${what}' not found`);
    }
    for (const one of chosen) {
      set.descriptors.splice(set.descriptors.indexOf(one), 1);
      this.#close(one.fd);
    }
    this.#sweep(id, set);
  }

  /** The highest id first. */
  get sets(): SetInfo[] {
    return [...this.#sets]
      .map(([id, { descriptors }]) => ({ id, descriptors: [...descriptors] }))
      .sort((a, b) => b.id - a.id);
  }

  /** Closes all descriptors of sets that no file was opened from: nobody is there any more who could name them. */
  forgetUnused(): void {
    for (const [id, set] of this.#sets) if (set.files === 0) this.remove(id, undefined);
  }

  /**
   * The descriptor that a file of this name is opened from: `fits` says whether one is open as the file has to be. Null for a name that is none of
   * a set's. Throws `not-found` (no such set), `permission` (none of the set fits), `invalid-argument`; `flags` is for the error only.
   */
  find(path: string, flags: number, fits: (fd: number) => boolean): { fd: number; release: () => void } | null {
    if (!isSetName(path)) return null;
    const digits = path.slice(PREFIX.length);
    if (!/^\d{1,10}$/.test(digits)) {
      throw new BlockError('invalid-argument', `Could not parse fdset ${path}`, { operation: 'dup', path });
    }
    const id = Number(digits);
    const set = this.#sets.get(id);
    const fail = (code: 'not-found' | 'permission', words: string): never => {
      throw new BlockError(code, `Could not dup FD for ${path} flags ${flags}: ${words}`, { operation: 'dup', path });
    };
    if (set === undefined) return fail('not-found', 'No such file or directory');
    const found = set.descriptors.find(({ fd }) => fits(fd));
    if (found === undefined) return fail('permission', 'Permission denied');
    set.files++;
    let released = false;
    const release = (): void => {
      if (released) return;
      released = true;
      set.files--;
      this.#sweep(id, set);
    };
    return { fd: found.fd, release };
  }

  /** Closes a descriptor that was passed and that nobody wants. */
  drop(fd: number): void {
    this.#close(fd);
  }

  /** Closes all. */
  close(): void {
    for (const name of [...this.#named.keys()]) this.forget(name);
    for (const id of [...this.#sets.keys()]) this.remove(id, undefined);
  }

  #sweep(id: number, set: DescriptorSet): void {
    if (set.files === 0 && set.descriptors.length === 0 && this.#sets.get(id) === set) this.#sets.delete(id);
  }

  #makeRoom(fd: number): void {
    let count = this.#named.size;
    for (const { descriptors } of this.#sets.values()) count += descriptors.length;
    if (count < MAX_DESCRIPTORS) return;
    this.#close(fd);
    throw new BlockError('limit', `more than ${MAX_DESCRIPTORS} descriptors were passed`);
  }
}
