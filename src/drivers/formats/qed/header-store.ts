// The header of an open QED image, as it is in the file, and changes of it: one at a time, each durable when it resolves. What is not understood is kept.
//
// The fields lie in one sector, so that a change of them is there as a whole or not at all. A new name of the backing file is in that sector, too; where it is too long for that, it goes to a
// place that the old name does not use, and is durable before the fields.

import { MAX_BACKING_NAME_BYTES } from '../../../block/backing-name.js';
import { BlockError } from '../../../util/errors.js';
import { encodeName } from '../../../util/name-bytes.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';
import { Serial } from '../../../util/serial.js';
import type { ImageFile } from '../../image-file.js';
import { Feature, HEADER_BYTES, type Header, putHeader } from './header.js';

export class HeaderStore {
  readonly #file: ImageFile;
  readonly #bytes: Uint8Array;
  readonly header: Header;
  readonly #changes = new Serial();

  /** `head`: the bytes that `header` was parsed from. */
  constructor(file: ImageFile, head: Uint8Array, header: Header) {
    this.#file = file;
    this.#bytes = head.slice(0, HEADER_BYTES);
    this.header = header;
  }

  has(feature: number): boolean {
    return (this.header.features & feature) !== 0;
  }

  /** Sets or clears a feature. Rejects with `io`; then the file may say either. */
  setFeature(feature: number, isSet: boolean): Promise<void> {
    return this.#change(() => {
      const { features } = this.header;
      return { features: isSet ? features | feature : features & ~feature };
    });
  }

  /** Rejects as `setFeature`. */
  set(fields: Partial<Header>): Promise<void> {
    return this.#change(() => fields);
  }

  /** Throws `invalid-argument` where the name does not fit. */
  checkName(name: string): void {
    this.#placeOf(encodeName(name));
  }

  /** Another backing file; null: none. Rejects with `invalid-argument`, `io`. */
  setBacking(name: string | null, isRaw: boolean): Promise<void> {
    if (name === null) {
      return this.#change(() => ({
        features: this.header.features & ~(Feature.backingFile | Feature.backingIsRaw),
        backingNameBytes: 0,
      }));
    }
    const bytes = encodeName(name);
    return this.#changes.run(async () => {
      const { features } = this.header;
      const offset = this.#placeOf(bytes);
      const isInSector = offset === HEADER_BYTES && offset + bytes.length <= SECTOR_BYTES;
      if (!isInSector) {
        await this.#file.write(offset, bytes);
        await this.#file.flush();
      }
      const fields = {
        features: (features & ~Feature.backingIsRaw) | Feature.backingFile | (isRaw ? Feature.backingIsRaw : 0),
        backingNameOffset: offset,
        backingNameBytes: bytes.length,
      };
      await this.#write(fields, isInSector ? bytes : new Uint8Array(0));
    });
  }

  #placeOf(name: Uint8Array): number {
    const { headerClusters, clusterBytes, backingNameOffset, backingNameBytes } = this.header;
    const room = headerClusters * clusterBytes;
    const refuse = (message: string, errno?: string): never => {
      throw BlockError.at(this.#file.path, 'invalid-argument', message, {
        operation: 'change backing file',
        ...(errno !== undefined && { errno }),
      });
    };
    if (name.length > MAX_BACKING_NAME_BYTES) refuse('Backing file name too long');
    if (HEADER_BYTES + name.length > room) refuse('The backing file name does not fit into the header', 'ENOSPC');
    if (HEADER_BYTES + name.length <= SECTOR_BYTES) return HEADER_BYTES;
    const isFree = this.header.backingNameOffset >= HEADER_BYTES + name.length || !this.has(Feature.backingFile);
    const behind = backingNameOffset + backingNameBytes;
    return isFree || behind + name.length > room ? HEADER_BYTES : behind;
  }

  #change(fields: () => Partial<Header>): Promise<void> {
    return this.#changes.run(() => this.#write(fields(), new Uint8Array(0)));
  }

  async #write(fields: Partial<Header>, name: Uint8Array): Promise<void> {
    const bytes = new Uint8Array(HEADER_BYTES + name.length);
    bytes.set(this.#bytes);
    bytes.set(name, HEADER_BYTES);
    putHeader(bytes, { ...this.header, ...fields });
    await this.#file.write(0, bytes);
    await this.#file.flush();
    Object.assign(this.header, fields);
  }
}
