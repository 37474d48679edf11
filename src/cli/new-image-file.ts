// The file that a command makes an image in: what is left of it where the image was not completed. What was made for nothing is removed on an error by
// whoever made it (`createImage`); a file that was there before is not, and has lost its content.
//
// An ordinary file tells by itself whether it was written to. A device does not (its size and times stay), nor does an export: what they still hold is not known
// once the image is being made.

import { type BigIntStats, statSync } from 'node:fs';
import { parseProtocolName } from '../block/filename.js';
import { type BlockErrorCode, errorsOf, toBlockError } from '../util/errors.js';
import { encodeName } from '../util/name-bytes.js';
import { shown } from './output.js';

/** Failures of requests: all others are refusals, which come before the first write. */
const OF_REQUESTS: readonly BlockErrorCode[] = ['io', 'no-space', 'closed', 'cancelled', 'internal'];

export class NewImageFile {
  readonly #name: string;
  /** Null for what is not in the file system. */
  readonly #path: string | null;
  readonly #before: BigIntStats | null;
  /** It tells whether it was written to. */
  readonly #tells: boolean;

  /** Before it is touched. */
  constructor(name: string) {
    this.#name = name;
    this.#path = pathOf(name);
    this.#before = this.#now();
    this.#tells = this.#path !== null && (this.#before === null || this.#before.isFile());
  }

  /** Null where there is none, or none that can be looked at. */
  #now(): BigIntStats | null {
    if (this.#path === null) return null;
    try {
      return statSync(encodeName(this.#path), { bigint: true });
    } catch {
      return null;
    }
  }

  /** A sentence about what is left; null where nothing is, or where the file is as before and no other process has it. `failure`: why the image was not made, where that is known. */
  left(failure?: unknown): string | null {
    const now = this.#now();
    // Several processes may make the same file at once; whoever has it now must not lose it by what another one is told. Whether that one has written since is a matter of moments, and
    // says nothing.
    if (now !== null && isOthers(failure)) {
      return `'${shown(this.#name)}' is in use by another process: leave it until that has ended.`;
    }
    if (!this.#tells) return mayHaveWritten(failure) ? this.#perhapsLost() : null;
    const before = this.#before;
    if (now === null) return null;
    const same = before !== null && now.dev === before.dev && now.ino === before.ino;
    if (same && now.mtimeNs === before.mtimeNs && now.size === before.size) return null;
    if (!same) return incompleteImage(this.#name);
    return `'${shown(this.#name)}' has lost its old content, and is incomplete: start again.`;
  }

  /** The same of a command that a signal ended. `begun`: the image was being made already. */
  state(begun = true): string {
    const unchanged = `'${shown(this.#name)}' is unchanged.`;
    if (!this.#tells) return begun ? this.#perhapsLost() : unchanged;
    if (this.#before === null && this.#now() === null) return `'${shown(this.#name)}' was not made.`;
    return this.left() ?? unchanged;
  }

  #perhapsLost(): string {
    return `'${shown(this.#name)}' may have lost its old content: start again.`;
  }
}

/** Null where the name is not that of a file or a device. */
function pathOf(name: string): string | null {
  try {
    const options = parseProtocolName(name);
    return 'filename' in options ? options.filename : null;
  } catch {
    // No image is made by such a name.
    return null;
  }
}

/** Another process has the lock of the file. */
function isOthers(failure: unknown): boolean {
  for (const { code, operation } of errorsOf(failure)) if (code === 'locked' && operation === 'lock') return true;
  return false;
}

function mayHaveWritten(failure: unknown): boolean {
  if (failure === undefined) return true;
  const { code, operation } = toBlockError(failure);
  return operation !== 'open' && operation !== 'connect' && OF_REQUESTS.includes(code);
}

/** What is said of a new image whose content was not copied to the end. */
export function incompleteImage(name: string): string {
  return `'${shown(name)}' is incomplete: delete it or start again.`;
}
