// The file that a command makes an image in: what is left of it where the image was not completed. What was made for nothing is removed on an error by
// whoever made it (`createImage`); a file that was there before is not, and has lost its content.

import { type BigIntStats, statSync } from 'node:fs';
import { pathOfName } from '../block/filename.js';
import { encodeName } from '../util/name-bytes.js';
import { shown } from './output.js';

export class NewImageFile {
  readonly #name: string;
  readonly #before: BigIntStats | null;

  /** Before it is touched. */
  constructor(name: string) {
    this.#name = name;
    this.#before = this.#now();
  }

  /** Null where there is none, or none that can be looked at. */
  #now(): BigIntStats | null {
    try {
      return statSync(encodeName(pathOfName(this.#name)), { bigint: true });
    } catch {
      return null;
    }
  }

  /** A sentence about what is left; null where nothing is, or where the file is as before. */
  left(): string | null {
    const now = this.#now();
    const before = this.#before;
    if (now === null) return null;
    if (before === null || now.ino !== before.ino) return incompleteImage(this.#name);
    if (now.mtimeNs === before.mtimeNs && now.size === before.size) return null;
    return `'${shown(this.#name)}' has lost its old content, and is incomplete: start again.`;
  }

  /** The same of a command that a signal ended. */
  state(): string {
    if (this.#before === null && this.#now() === null) return `'${shown(this.#name)}' was not made.`;
    return this.left() ?? `'${shown(this.#name)}' is unchanged.`;
  }
}

/** What is said of a new image whose content was not copied to the end. */
export function incompleteImage(name: string): string {
  return `'${shown(name)}' is incomplete: delete it or start again.`;
}
