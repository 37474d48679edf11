// Encrypted reads and writes of any length: in pieces that several workers take at the same time.
//
//   read    |  piece  |  piece  |  piece  |     all read as one, then each is decrypted where it is
//   write   |  piece  |  piece  |  piece  |     each is encrypted into a buffer of the host, and written from there: the caller's bytes stay as they are

import { CIPHER_SECTOR, type SectorCipher } from '../../../host/cipher.js';
import type { Memory } from '../../../host/host.js';
import { settleAll } from '../../../util/settle.js';

/** A worker has one of a megabyte in about half a millisecond. */
const PIECE_BYTES = 256 << 10;
/** Buffers of one write at the same time. */
const PIECES_AT_ONCE = 8;

/** Decrypts `buffer`, whole sectors, whose first byte has the offset `at` in the cipher's count. */
export async function decryptPieces(cipher: SectorCipher, at: number, buffer: Uint8Array): Promise<void> {
  if (buffer.length <= PIECE_BYTES) return cipher.decrypt(at / CIPHER_SECTOR, buffer, buffer);
  const parts: Promise<void>[] = [];
  for (let done = 0; done < buffer.length; done += PIECE_BYTES) {
    const piece = buffer.subarray(done, done + PIECE_BYTES);
    parts.push(cipher.decrypt((at + done) / CIPHER_SECTOR, piece, piece));
  }
  await settleAll(parts);
}

/** Encrypts `buffer`, as `decryptPieces`, and calls `write` for each piece, with its offset in `buffer`. */
export async function writePieces(
  memory: Memory,
  cipher: SectorCipher,
  at: number,
  buffer: Uint8Array,
  write: (done: number, piece: Uint8Array) => Promise<void>,
): Promise<void> {
  const writeOne = async (done: number): Promise<void> => {
    const plain = buffer.subarray(done, Math.min(done + PIECE_BYTES, buffer.length));
    const piece = memory.allocate(plain.length);
    try {
      await cipher.encrypt((at + done) / CIPHER_SECTOR, plain, piece);
      await write(done, piece);
    } finally {
      memory.free(piece);
    }
  };
  if (buffer.length <= PIECE_BYTES) return writeOne(0);
  for (let begin = 0; begin < buffer.length; begin += PIECES_AT_ONCE * PIECE_BYTES) {
    const parts: Promise<void>[] = [];
    const end = Math.min(buffer.length, begin + PIECES_AT_ONCE * PIECE_BYTES);
    for (let done = begin; done < end; done += PIECE_BYTES) parts.push(writeOne(done));
    await settleAll(parts);
  }
}
