// The data of options, as clients send it. Nothing in it is trusted: malformed data is null.

import { getBe16, getBe32 } from '../../util/bytes.js';
import { MAX_STRING_BYTES } from '../../wire/nbd/constants.js';

/** Of INFO and GO. */
export interface InfoRequest {
  name: string;
  infos: ReadonlySet<number>;
}

/** Of LIST_META_CONTEXT and SET_META_CONTEXT. */
export interface MetaRequest {
  name: string;
  queries: string[];
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text of [start, end); null where it is too long, holds a NUL or is no UTF-8. */
export function parseText(data: Uint8Array, start: number, end: number): string | null {
  if (end - start > MAX_STRING_BYTES) return null;
  const bytes = data.subarray(start, end);
  if (bytes.includes(0)) return null;
  try {
    return UTF8.decode(bytes);
  } catch {
    // Not UTF-8: `decode` throws nothing else.
    return null;
  }
}

/** length32 name  count16  info16 ... */
export function parseInfoRequest(data: Uint8Array): InfoRequest | null {
  if (data.length < 6) return null;
  const end = 4 + getBe32(data, 0);
  if (end + 2 > data.length) return null;
  const name = parseText(data, 4, end);
  const count = getBe16(data, end);
  if (name === null || end + 2 + 2 * count !== data.length) return null;
  const infos = new Set<number>();
  for (let at = end + 2; at < data.length; at += 2) infos.add(getBe16(data, at));
  return { name, infos };
}

/** length32 name  count32  (length32 query) ... */
export function parseMetaRequest(data: Uint8Array): MetaRequest | null {
  if (data.length < 8) return null;
  let at = 4 + getBe32(data, 0);
  if (at + 4 > data.length) return null;
  const name = parseText(data, 4, at);
  if (name === null) return null;
  const count = getBe32(data, at);
  at += 4;
  const queries: string[] = [];
  for (let i = 0; i < count; i++) {
    if (at + 4 > data.length) return null;
    const end = at + 4 + getBe32(data, at);
    if (end > data.length) return null;
    const query = parseText(data, at + 4, end);
    if (query === null) return null;
    queries.push(query);
    at = end;
  }
  return at === data.length ? { name, queries } : null;
}
