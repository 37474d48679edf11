// The headers of an open image. A change goes to the one that does not count, with the next sequence number, and is durable when it resolves: then that one counts. Changes come one at a time.

import { Serial } from '../../../util/serial.js';
import type { ImageFile } from '../../image-file.js';
import { encodeHeader, HEADER_OFFSETS, type Header } from './header.js';

export class HeaderStore {
  readonly #file: ImageFile;
  readonly #changes = new Serial();
  #header: Header;

  constructor(file: ImageFile, header: Header) {
    this.#file = file;
    this.#header = header;
  }

  get header(): Header {
    return this.#header;
  }

  /** Rejects with `io`; then the file may say either. */
  change(fields: Partial<Pick<Header, 'fileWriteGuid' | 'dataWriteGuid' | 'logGuid'>>): Promise<void> {
    return this.#changes.run(async () => {
      const { index, sequence } = this.#header;
      const next = {
        ...this.#header,
        ...fields,
        index: 1 - index,
        sequence: BigInt.asUintN(64, sequence + 1n),
      };
      await this.#file.write(HEADER_OFFSETS[next.index], encodeHeader(next));
      await this.#file.flush();
      this.#header = next;
    });
  }
}
