// Image locks as QEMU takes them: open-file-description locks on single bytes of the image file. All of them are shared locks: they do not
// block, they announce which permissions a process uses and which ones it does not share. Others test for them.
//
//   byte 100 + n   some process uses permission n       byte 200 + n   some process does not share permission n
//        0 consistent read    1 write    2 write unchanged    3 resize
//
//   prepare(used, unshared)    take the new locks, then test: used against bytes 200+, unshared against bytes 100+; a conflict undoes them
//     commit                   release the locks that are not needed any more
//     abort                    release the new ones
//
// The new locks are taken before the test, so that of two processes that come at the same time at least one sees the other.

import type { PreparedPermissions } from '../../../block/node/permissions.js';
import { PERM_ALL, Perm, permNames } from '../../../block/types.js';
import type { HostFile } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';

const USED_BASE = 100;
const UNSHARED_BASE = 200;
const BITS = Object.values(Perm).map((perm) => Math.log2(perm));

const NOTHING_TO_DO: PreparedPermissions = { commit() {}, abort() {} };

export class ImageLocks {
  #file: HostFile;
  /** The permissions that are announced now, as bits of `Perm`. */
  #used = 0;
  #unshared = 0;
  /** What is locked: the same, and what is prepared. */
  #held = { used: 0, unshared: 0 };

  constructor(file: HostFile) {
    this.#file = file;
  }

  /** Others may use `perm`, bits of `Perm`. */
  shares(perm: number): boolean {
    return (this.#unshared & perm) === 0;
  }

  /** Some of `perm` is used. */
  uses(perm: number): boolean {
    return (this.#used & perm) !== 0;
  }

  /** Announces `used` and `unshared` instead of the permissions before. Throws as `prepare`. */
  set(used: number, unshared: number): void {
    this.prepare(used, unshared).commit();
  }

  /**
   * Announces `used` and `unshared` in addition to the permissions before, until `commit` or `abort`. Throws `locked`, with the locks as before,
   * where another process (or another open file of this process) conflicts.
   */
  prepare(used: number, unshared: number): PreparedPermissions {
    if (used === this.#used && unshared === this.#unshared) return NOTHING_TO_DO;
    const newUsed = used & ~this.#used;
    const newUnshared = unshared & ~this.#unshared;
    let lockedUsed = 0;
    let lockedUnshared = 0;
    try {
      for (const bit of bitsOf(newUsed)) {
        lockByte(this.#file, USED_BASE + bit);
        lockedUsed |= 1 << bit;
      }
      for (const bit of bitsOf(newUnshared)) {
        lockByte(this.#file, UNSHARED_BASE + bit);
        lockedUnshared |= 1 << bit;
      }
      for (const bit of bitsOf(used)) this.#refuseConflict(UNSHARED_BASE + bit, `"${permNames(1 << bit)}"`);
      for (const bit of bitsOf(unshared)) this.#refuseConflict(USED_BASE + bit, `shared "${permNames(1 << bit)}"`);
    } catch (error) {
      unlock(this.#file, lockedUsed, lockedUnshared);
      throw error;
    }
    this.#held = { used: this.#used | used, unshared: this.#unshared | unshared };
    return {
      commit: () => {
        this.#held = { used, unshared };
        unlock(this.#file, this.#used & ~used, this.#unshared & ~unshared);
        this.#used = used;
        this.#unshared = unshared;
      },
      abort: () => {
        this.#held = { used: this.#used, unshared: this.#unshared };
        unlock(this.#file, lockedUsed, lockedUnshared);
      },
    };
  }

  /** Takes on `file`, the same image opened again, the locks that the file has now, prepared ones included. Throws `locked`. */
  copyTo(file: HostFile): void {
    for (const bit of bitsOf(this.#held.used)) lockByte(file, USED_BASE + bit);
    for (const bit of bitsOf(this.#held.unshared)) lockByte(file, UNSHARED_BASE + bit);
  }

  /** `file`, which got the locks by `copyTo`, takes the place of the file before, which gives its locks back. */
  move(file: HostFile): void {
    const old = this.#file;
    this.#file = file;
    unlock(file, PERM_ALL & ~this.#used, PERM_ALL & ~this.#unshared);
    // Duplicates of the program's own descriptor are one open file.
    if (old.descriptor === null) unlock(old, PERM_ALL, PERM_ALL);
  }

  #refuseConflict(byte: number, what: string): void {
    if (!this.#file.lockConflicts('exclusive', byte, 1)) return;
    const { path } = this.#file;
    throw new BlockError('locked', `Failed to get ${what} lock\nIs another process using the image [${path}]?`, {
      path,
      operation: 'lock',
      offset: byte,
    });
  }
}

function lockByte(file: HostFile, byte: number): void {
  if (file.lock('shared', byte, 1)) return;
  throw new BlockError('locked', `Failed to lock byte ${byte}`, { path: file.path, operation: 'lock', offset: byte });
}

function unlock(file: HostFile, used: number, unshared: number): void {
  for (const bit of bitsOf(used)) file.lock('none', USED_BASE + bit, 1);
  for (const bit of bitsOf(unshared)) file.lock('none', UNSHARED_BASE + bit, 1);
}

function bitsOf(perms: number): number[] {
  return BITS.filter((bit) => (perms & (1 << bit)) !== 0);
}
