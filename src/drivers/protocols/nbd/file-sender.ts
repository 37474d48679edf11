// Data of a copy that lies in files, on its way to the server without being read into memory: a request for each piece, behind whose header the link has the
// system send the file's own pages.
//
//   piece --> client.writeFile --held--> link: header, pages --> server
//                     \--not in memory, no pipe, ...--> read --> client.request, as any write
//
// The pages may be sent, and taken by the server, at any time until the answer; and where a connection is lost, the server may still take what was sent over it,
// later than what was sent again. So only files that this program cannot write to are sent so: what a guest, or a cluster that is used again, makes of
// the pages later would come to the target behind the copy's back.

import type { MoveReceiver } from '../../../block/types.js';
import type { Host, HostFile, Moved, MovePiece } from '../../../host/host.js';
import { type BlockError, toBlockError } from '../../../util/errors.js';
import { Command } from '../../../wire/nbd/constants.js';
import type { NbdClient } from './client.js';

/** Pieces are at least so long, on average: below, one request for many of them is better. */
const WORTH_BYTES = 64 * 1024;

type Fault = NonNullable<Moved['fault']>;

export class FileSender implements MoveReceiver {
  readonly #host: Host;
  readonly #client: NbdClient;
  readonly #changing: (action: () => Promise<void>) => Promise<void>;

  /** `changing` runs what changes the export. */
  constructor(host: Host, client: NbdClient, changing: (action: () => Promise<void>) => Promise<void>) {
    this.#host = host;
    this.#client = client;
    this.#changing = changing;
  }

  /** TLS encrypts what is sent: in memory. */
  get usable(): boolean {
    return this.#client.settings.tls === null;
  }

  takes(pieces: readonly MovePiece[]): boolean {
    const { minBlock, maxPayload } = this.#client.identity;
    let bytes = 0;
    for (const { file, length, to, packing } of pieces) {
      // Compressed clusters are not what the server is to have.
      if (packing) return false;
      if (file === null || file.writable || !file.movable || length > maxPayload) return false;
      if (length % minBlock !== 0 || to % minBlock !== 0) return false;
      bytes += length;
    }
    return bytes >= pieces.length * WORTH_BYTES;
  }

  async receive(pieces: readonly MovePiece[]): Promise<Moved> {
    let fault: Fault | null = null;
    await this.#changing(async () => {
      const faults = await Promise.all(pieces.map((piece, index) => this.#send(piece, index)));
      fault = faults.find((one) => one !== null) ?? null;
    });
    return { slices: [], map: new Uint8Array(0), fault };
  }

  /** What went wrong with one piece; null where it was written. */
  async #send(piece: MovePiece, index: number): Promise<Fault | null> {
    const file = piece.file as HostFile;
    let isRead = false;
    let buffer: Uint8Array | null = null;
    const { memory } = this.#host;
    try {
      if (await this.#client.writeFile(piece.to, piece.length, file, piece.offset)) return null;
      buffer = memory.allocate(piece.length);
      isRead = true;
      await file.read(piece.offset, buffer);
      isRead = false;
      await this.#client.request(Command.write, 0, piece.to, piece.length, buffer, 0);
      return null;
    } catch (error) {
      const failure: BlockError = toBlockError(error, { path: isRead ? file.path : this.#client.settings.path });
      return { error: failure, isRead, piece: index };
    } finally {
      if (buffer !== null) memory.free(buffer);
    }
  }
}
