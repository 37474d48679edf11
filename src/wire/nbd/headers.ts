// The headers of the transmission phase in its three dialects, which client and server agree on in the handshake.
//
//   request      magic32  flags16  command16  cookie64  offset64  length32 (extended: length64)        then a write's payload
//   simple       magic32  error32  cookie64                                                             then a read's data
//   structured   magic32  flags16  type16     cookie64  length32                                        then the payload of the chunk
//   extended     magic32  flags16  type16     cookie64  offset64  length64                              then the payload of the chunk
//
// They are written into, and read from, the buffers that are sent and received: no object is made of a header. Requests under way are columns of numbers
// (`RequestColumns`), and a slot is a row of them.

import { putBe16, putBe32, putBe64, putViewBe64, viewBe64 } from '../../util/bytes.js';
import {
  Command,
  CommandFlag,
  EXTENDED_REPLY_BYTES,
  EXTENDED_REPLY_MAGIC,
  EXTENDED_REQUEST_BYTES,
  EXTENDED_REQUEST_MAGIC,
  REQUEST_BYTES,
  REQUEST_MAGIC,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_BYTES,
  STRUCTURED_REPLY_MAGIC,
} from './constants.js';

export type Dialect = 'simple' | 'structured' | 'extended';

export interface DialectForm {
  requestBytes: number;
  requestMagic: number;
  /** Header of a chunk (or, in the simple dialect, of a reply), bytes. */
  replyBytes: number;
}

export const DIALECTS: Readonly<Record<Dialect, DialectForm>> = {
  simple: { requestBytes: REQUEST_BYTES, requestMagic: REQUEST_MAGIC, replyBytes: SIMPLE_REPLY_BYTES },
  structured: { requestBytes: REQUEST_BYTES, requestMagic: REQUEST_MAGIC, replyBytes: STRUCTURED_REPLY_BYTES },
  extended: {
    requestBytes: EXTENDED_REQUEST_BYTES,
    requestMagic: EXTENDED_REQUEST_MAGIC,
    replyBytes: EXTENDED_REPLY_BYTES,
  },
};

/** Where the fields of a request begin, bytes from its start. */
export const RequestField = {
  magic: 0,
  flags: 4,
  command: 6,
  cookieHigh: 8,
  cookieLow: 12,
  offset: 16,
  length: 24,
} as const;

/** Where the fields of a reply begin; a simple reply has an error in place of flags and type. */
export const ReplyField = { magic: 0, error: 4, flags: 4, type: 6, cookieHigh: 8, cookieLow: 12 } as const;
const STRUCTURED_LENGTH = 16;
const EXTENDED_LENGTH = 24;

/** What a header says of a request, a column each. */
export interface RequestColumns {
  /** The client's name for the request, as two 32-bit words. */
  readonly cookieHigh: Uint32Array;
  readonly cookieLow: Uint32Array;
  readonly offset: Float64Array;
}

/** What a client's table holds of its requests, a column each: the server's name for a request is its use of the slot, and the slot. */
export interface SentColumns {
  readonly command: Uint8Array;
  readonly flags: Uint16Array;
  readonly offset: Float64Array;
  readonly length: Float64Array;
  readonly use: Uint32Array;
}

/** The header of the request in `slot`. */
export function putRequest(view: DataView, at: number, requests: SentColumns, slot: number, extended: boolean): void {
  const command = requests.command[slot];
  const payload = extended && command === Command.write ? CommandFlag.payloadLength : 0;
  view.setUint32(at + RequestField.magic, extended ? EXTENDED_REQUEST_MAGIC : REQUEST_MAGIC);
  view.setUint16(at + RequestField.flags, requests.flags[slot] | payload);
  view.setUint16(at + RequestField.command, command);
  view.setUint32(at + RequestField.cookieHigh, requests.use[slot]);
  view.setUint32(at + RequestField.cookieLow, slot);
  putViewBe64(view, at + RequestField.offset, requests.offset[slot]);
  if (extended) putViewBe64(view, at + RequestField.length, requests.length[slot]);
  else view.setUint32(at + RequestField.length, requests.length[slot]);
}

/** The header of a disconnect, which has no answer. */
export function putDisconnect(view: DataView, at: number, extended: boolean): void {
  for (let i = 0; i < (extended ? EXTENDED_REQUEST_BYTES : REQUEST_BYTES); i++) view.setUint8(at + i, 0);
  view.setUint32(at + RequestField.magic, extended ? EXTENDED_REQUEST_MAGIC : REQUEST_MAGIC);
  view.setUint16(at + RequestField.command, Command.disconnect);
}

export function requestLength(view: DataView, at: number, extended: boolean): number {
  const field = at + RequestField.length;
  return extended ? viewBe64(view, field) : view.getUint32(field);
}

/** Is there a payload behind this request? In the extended dialect its flag alone says so. */
export function hasPayload(command: number, flags: number, extended: boolean): boolean {
  return extended ? (flags & CommandFlag.payloadLength) !== 0 : command === Command.write;
}

/** Length of the payload of a chunk, exact up to 2^53 - 1. */
export function chunkLength(view: DataView, at: number, extended: boolean): number {
  return extended ? viewBe64(view, at + EXTENDED_LENGTH) : view.getUint32(at + STRUCTURED_LENGTH);
}

export function putSimpleReply(
  bytes: Uint8Array,
  at: number,
  requests: RequestColumns,
  slot: number,
  error: number,
): void {
  putBe32(bytes, at + ReplyField.magic, SIMPLE_REPLY_MAGIC);
  putBe32(bytes, at + ReplyField.error, error);
  putBe32(bytes, at + ReplyField.cookieHigh, requests.cookieHigh[slot]);
  putBe32(bytes, at + ReplyField.cookieLow, requests.cookieLow[slot]);
}

/** The header of a chunk, in the structured or the extended dialect. */
export function putChunk(
  bytes: Uint8Array,
  at: number,
  requests: RequestColumns,
  slot: number,
  extended: boolean,
  flags: number,
  type: number,
  length: number,
): void {
  putBe32(bytes, at + ReplyField.magic, extended ? EXTENDED_REPLY_MAGIC : STRUCTURED_REPLY_MAGIC);
  putBe16(bytes, at + ReplyField.flags, flags);
  putBe16(bytes, at + ReplyField.type, type);
  putBe32(bytes, at + ReplyField.cookieHigh, requests.cookieHigh[slot]);
  putBe32(bytes, at + ReplyField.cookieLow, requests.cookieLow[slot]);
  if (extended) {
    putBe64(bytes, at + EXTENDED_LENGTH - 8, requests.offset[slot]);
    putBe64(bytes, at + EXTENDED_LENGTH, length);
  } else putBe32(bytes, at + STRUCTURED_LENGTH, length);
}
