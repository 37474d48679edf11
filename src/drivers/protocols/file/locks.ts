// Image locks as QEMU takes them: open-file-description locks on single bytes of the image itself, all of them shared, so
// that a holder shows what it does and what it does not let others do, and everyone else can test for it.
//
//   byte 100 + n   somebody uses permission n       byte 200 + n   somebody does not share permission n
//        0 consistent read    1 write    2 write unchanged    3 resize

import type { PreparedPermissions } from '../../../block/node/permissions.js';
import { Perm, permNames } from '../../../block/types.js';
import type { HostFile } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';

const USED_BASE = 100;
const UNSHARED_BASE = 200;
const BITS = Object.values(Perm).map((perm) => Math.log2(perm));

export class ImageLocks {
  #file: HostFile;
  /** What is locked now, bits of `Perm`. */
  #used = 0;
  #unshared = 0;

  constructor(file: HostFile) {
    this.#file = file;
  }

  /** Shows `used` and `unshared` to others in place of what was shown before. Throws as `prepare`. */
  set(used: number, unshared: number): void {
    this.prepare(used, unshared).commit();
  }

  /**
   * Shows `used` and `unshared` to others beside what was shown before, which ends with `commit`. Throws `locked`, and shows what it did before,
   * where another process (or another open file of this one) conflicts.
   */
  prepare(used: number, unshared: number): PreparedPermissions {
    const newUsed = used & ~this.#used;
    const newUnshared = unshared & ~this.#unshared;
    // First show, then look: of two that come at once, at least one sees the other.
    let shownUsed = 0;
    let shownUnshared = 0;
    try {
      for (const bit of bitsOf(newUsed)) {
        this.#lock(USED_BASE + bit);
        shownUsed |= 1 << bit;
      }
      for (const bit of bitsOf(newUnshared)) {
        this.#lock(UNSHARED_BASE + bit);
        shownUnshared |= 1 << bit;
      }
      for (const bit of bitsOf(used)) this.#refuseConflict(UNSHARED_BASE + bit, `"${permNames(1 << bit)}"`);
      for (const bit of bitsOf(unshared)) this.#refuseConflict(USED_BASE + bit, `shared "${permNames(1 << bit)}"`);
    } catch (error) {
      this.#unlock(shownUsed, shownUnshared);
      throw error;
    }
    return {
      commit: () => {
        this.#unlock(this.#used & ~used, this.#unshared & ~unshared);
        this.#used = used;
        this.#unshared = unshared;
      },
      abort: () => this.#unlock(shownUsed, shownUnshared),
    };
  }

  /** Takes the same locks on `file`, which is the same image opened anew; the old one is about to be closed. */
  move(file: HostFile): void {
    this.#file = file;
    for (const bit of bitsOf(this.#used)) this.#lock(USED_BASE + bit);
    for (const bit of bitsOf(this.#unshared)) this.#lock(UNSHARED_BASE + bit);
  }

  #lock(byte: number): void {
    if (this.#file.lock('shared', byte, 1)) return;
    throw new BlockError('locked', `Failed to lock byte ${byte}`, { path: this.#file.path, operation: 'lock' });
  }

  #unlock(used: number, unshared: number): void {
    for (const bit of bitsOf(used)) this.#file.lock('none', USED_BASE + bit, 1);
    for (const bit of bitsOf(unshared)) this.#file.lock('none', UNSHARED_BASE + bit, 1);
  }

  #refuseConflict(byte: number, what: string): void {
    if (!this.#file.lockConflicts('exclusive', byte, 1)) return;
    const { path } = this.#file;
    throw new BlockError('locked', `Failed to get ${what} lock\nIs another process using the image [${path}]?`, {
      path,
      operation: 'lock',
    });
  }
}

function bitsOf(perms: number): number[] {
  return BITS.filter((bit) => (perms & (1 << bit)) !== 0);
}
