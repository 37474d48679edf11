// The headers of replies in the three dialects of the transmission phase, written into memory that is there.
//
//   simple       magic  error32  cookie64
//   structured   magic  flags16  type16  cookie64  length32               payload
//   extended     magic  flags16  type16  cookie64  offset64  length64     payload

import type { BlockError } from '../../util/errors.js';
import {
  EXTENDED_REPLY_BYTES,
  EXTENDED_REPLY_MAGIC,
  EXTENDED_REQUEST_BYTES,
  EXTENDED_REQUEST_MAGIC,
  NbdError,
  REQUEST_BYTES,
  REQUEST_MAGIC,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_BYTES,
  STRUCTURED_REPLY_MAGIC,
} from '../../wire/nbd/constants.js';
import { put16, put32, put64 } from './bytes.js';
import type { RequestTable } from './requests.js';

/** What was agreed on in the handshake. */
export type Dialect = 'simple' | 'structured' | 'extended';

export interface DialectForm {
  requestBytes: number;
  requestMagic: number;
  /** Of a chunk (or, in the simple dialect, of a reply). */
  headerBytes: number;
}

export const DIALECTS: Readonly<Record<Dialect, DialectForm>> = {
  simple: { requestBytes: REQUEST_BYTES, requestMagic: REQUEST_MAGIC, headerBytes: SIMPLE_REPLY_BYTES },
  structured: { requestBytes: REQUEST_BYTES, requestMagic: REQUEST_MAGIC, headerBytes: STRUCTURED_REPLY_BYTES },
  extended: {
    requestBytes: EXTENDED_REQUEST_BYTES,
    requestMagic: EXTENDED_REQUEST_MAGIC,
    headerBytes: EXTENDED_REPLY_BYTES,
  },
};

/** Longest message that goes with an error, bytes. */
export const MAX_MESSAGE_BYTES = 512;

export function putSimple(bytes: Uint8Array, at: number, table: RequestTable, slot: number, error: number): void {
  put32(bytes, at, SIMPLE_REPLY_MAGIC);
  put32(bytes, at + 4, error);
  put32(bytes, at + 8, table.cookieHigh[slot]);
  put32(bytes, at + 12, table.cookieLow[slot]);
}

/** A chunk's header, in the structured or the extended dialect. */
export function putChunk(
  bytes: Uint8Array,
  at: number,
  table: RequestTable,
  slot: number,
  extended: boolean,
  flags: number,
  type: number,
  length: number,
): void {
  put32(bytes, at, extended ? EXTENDED_REPLY_MAGIC : STRUCTURED_REPLY_MAGIC);
  put16(bytes, at + 4, flags);
  put16(bytes, at + 6, type);
  put32(bytes, at + 8, table.cookieHigh[slot]);
  put32(bytes, at + 12, table.cookieLow[slot]);
  if (extended) {
    put64(bytes, at + 16, table.offset[slot]);
    put64(bytes, at + 24, length);
  } else put32(bytes, at + 16, length);
}

/** The error on the wire for one of ours. */
export function wireError(error: BlockError): number {
  switch (error.code) {
    case 'permission':
    case 'read-only':
      return NbdError.perm;
    case 'no-space':
      return NbdError.noSpace;
    case 'limit':
      return NbdError.noMemory;
    case 'closed':
      return NbdError.shutdown;
    case 'invalid-argument':
    case 'out-of-bounds':
    case 'misaligned':
    case 'unsupported':
      return NbdError.invalid;
    default:
      return NbdError.io;
  }
}
