// The bytes of requests.

import { closeSync, openSync, readSync } from 'node:fs';
import { encodeName } from '../../util/name-bytes.js';
import { wordsOfErrno } from '../../util/system-words.js';
import { writeMessage } from '../output.js';
import type { IoState } from './command.js';

/** What is written where nothing is said. */
export const DEFAULT_PATTERN = 0xcd;
/** What a buffer holds before it is read into: so a read that fills nothing is seen. */
export const UNREAD_PATTERN = 0xab;
/** What a buffer of `-m` begins behind. */
const OFF_BY_BYTES = 16;
const ALIGNMENT = 4096;

/** A buffer filled with one byte; it begins at a multiple of 4096 bytes, with `-m` 16 bytes behind one. */
export function filledBuffer({ misaligned }: IoState, bytes: number, fill: number): Uint8Array {
  if (!misaligned) return Buffer.alloc(bytes, fill);
  const room = Buffer.alloc(bytes + ALIGNMENT + OFF_BY_BYTES, fill);
  const start = (ALIGNMENT - (room.byteOffset % ALIGNMENT)) % ALIGNMENT;
  return room.subarray(start + OFF_BY_BYTES, start + OFF_BY_BYTES + bytes);
}

/** A buffer filled with the bytes of a file, again and again. Null after a failure was reported. */
export function bufferOfFile(state: IoState, bytes: number, name: string): Uint8Array | null {
  const buffer = filledBuffer(state, bytes, 0);
  let length = 0;
  try {
    const fd = openSync(encodeName(name), 'r');
    try {
      for (let read = -1; read !== 0 && length < bytes; length += read)
        read = readSync(fd, buffer, length, bytes - length, null);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    writeMessage(`${name}: ${wordsOfErrno(code) ?? message}`);
    return null;
  }
  if (length === 0) {
    writeMessage(`${name}: file is empty`);
    return null;
  }
  for (let filled = length; filled < bytes; filled *= 2) buffer.copyWithin(filled, 0, Math.min(filled, bytes - filled));
  return buffer;
}
