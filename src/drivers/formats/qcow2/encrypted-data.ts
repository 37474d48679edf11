// Encrypted content of guest clusters (specification: "Header", crypt_method). What lies in the file is sectors of 512 bytes, each encrypted with its number:
//
//   LUKS          the number of the sector in the file that the content lies in
//   legacy AES    the number of the sector of the guest's disk
//
// So nothing of it can be located or moved as it is, and zeroes of the file are no zeroes of the disk. Compressed clusters are never encrypted: QEMU reads
// and writes them so.
//
//   write --> EncryptedData --sectors, encrypted--> DataFile, or ExternalData where the content has a file of its own

import type { Located } from '../../../block/types.js';
import type { SectorCipher } from '../../../host/cipher.js';
import type { Memory } from '../../../host/host.js';
import type { BlkdebugEvent } from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import { decryptPieces, writePieces } from '../encryption/pieces.js';
import { DataFile } from './data-file.js';
import { type GuestOffset, type HostOffset, plus } from './types.js';

const ZERO_BYTES = 1 << 20;

/** How the content of an image is encrypted. */
export interface ContentCipher {
  /** Null where the image was opened for its header alone. */
  cipher: SectorCipher | null;
  /** Sectors count on the guest's disk, not in the file. */
  byGuest: boolean;
}

export class EncryptedData extends DataFile {
  override readonly isEncrypted = true;
  override readonly isExternal: boolean;
  override readonly isRaw: boolean;
  /** What lies in the file, as it is. */
  readonly #stored: DataFile;
  readonly #memory: Memory;
  readonly #content: ContentCipher;

  constructor(stored: DataFile, memory: Memory, content: ContentCipher) {
    super(stored.file);
    this.isExternal = stored.isExternal;
    this.isRaw = stored.isRaw;
    this.#stored = stored;
    this.#memory = memory;
    this.#content = content;
  }

  override async read(host: HostOffset, guest: GuestOffset, buffer: Uint8Array, event: BlkdebugEvent): Promise<void> {
    const cipher = this.#needCipher('read');
    await this.readStored(host, buffer, event);
    await decryptPieces(cipher, this.#content.byGuest ? guest : host, buffer);
  }

  override async write(host: HostOffset, guest: GuestOffset, buffer: Uint8Array, event?: BlkdebugEvent): Promise<void> {
    const at = this.#content.byGuest ? guest : host;
    await writePieces(this.#memory, this.#needCipher('write'), at, buffer, (done, piece) =>
      this.#stored.write(plus(host, done), plus(guest, done), piece, done === 0 ? event : undefined),
    );
  }

  /** Sectors that count on the guest's disk stay as they are wherever they lie in the file; others are encrypted anew. */
  override readToMove(host: HostOffset, buffer: Uint8Array): Promise<void> {
    if (this.#content.byGuest) return super.readToMove(host, buffer);
    return this.read(host, 0 as GuestOffset, buffer, 'read_aio');
  }

  override writeMoved(host: HostOffset, buffer: Uint8Array): Promise<void> {
    if (this.#content.byGuest) return super.writeMoved(host, buffer);
    return this.write(host, 0 as GuestOffset, buffer, 'write_aio');
  }

  override async writeZeroes(host: HostOffset, guest: GuestOffset, length: number): Promise<void> {
    const zeroes = this.#memory.allocate(Math.min(length, ZERO_BYTES)).fill(0);
    try {
      for (let done = 0; done < length; done += zeroes.length) {
        const part = zeroes.subarray(0, Math.min(zeroes.length, length - done));
        await this.write(plus(host, done), plus(guest, done), part, 'write_aio');
      }
    } finally {
      this.#memory.free(zeroes);
    }
  }

  /** Zeroes of the file decrypt to anything but zeroes. */
  override async makeRoom(host: HostOffset, length: number): Promise<boolean> {
    await this.#stored.makeRoom(host, length);
    return false;
  }

  override flush(): Promise<void> | undefined {
    return this.#stored.flush();
  }

  /**
   * After power loss, the entries may still point to this content: it must be zeroes then, and not what zeroes of the file decrypt to. So the space of an external
   * data file is not given back here, and one that reads as the disk does is written.
   */
  override zeroing(start: number, end: number, _unmap: boolean): Promise<void> | undefined {
    const length = Math.min(end, this.length) - start;
    return this.isRaw && length > 0 ? this.writeZeroes(start as HostOffset, start as GuestOffset, length) : undefined;
  }

  override locate(_host: HostOffset, _length: number, _write: boolean, _into: Located): boolean {
    return false;
  }

  /** Zeroes the keys. */
  override close(): void {
    this.#content.cipher?.close();
  }

  #needCipher(operation: string): SectorCipher {
    const { cipher } = this.#content;
    if (cipher !== null) return cipher;
    const reason = "Parameter 'encrypt.key-secret' is required for cipher";
    throw BlockError.at(this.file.path, 'permission', reason, { operation });
  }
}
