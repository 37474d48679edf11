// A header that says where in the file the name of the backing file is: both are read as one piece of bytes, the name behind the header.

import type { Child } from '../../../block/child.js';
import { readUpTo } from '../../../block/stale.js';
import { viewOf } from '../../../util/bytes.js';

/** Where a name is in the file: bytes, which need not be there. */
export interface NamePlace {
  offset: number;
  length: number;
}

/** The header of `headerBytes`, or what the file has of it, and behind it the first `maxBytes` of the name whose place `placeOf` finds in the header; null: there is none. Rejects with `io`. */
export async function readHeadAndName(
  link: Child,
  headerBytes: number,
  maxBytes: number,
  placeOf: (header: DataView) => NamePlace | null,
): Promise<Uint8Array> {
  const head = await readUpTo(link, headerBytes);
  const place = head.length < headerBytes ? null : placeOf(viewOf(head));
  if (place === null) return head;
  const inFile = Math.min(place.length, maxBytes, link.length - place.offset);
  if (inFile <= 0) return head;
  const both = new Uint8Array(headerBytes + inFile);
  both.set(head);
  await link.read(place.offset, both.subarray(headerBytes));
  return both;
}

/** The bytes of the name in what `readHeadAndName` has read: up to its end, or to a zero. */
export function nameBehind(head: Uint8Array, headerBytes: number): Uint8Array {
  const name = head.subarray(headerBytes);
  const end = name.indexOf(0);
  return end < 0 ? name : name.subarray(0, end);
}
