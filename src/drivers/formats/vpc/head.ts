// What decides how a VHD image is opened: its footer, of which there may be two, and its header.
//
//   last sector        copy at the begin    taken
//   fixed              anything             the last sector, where the file is as long as it says: a guest can write what looks like a copy of another footer to its disk's
//                                           first sector
//   anything else      right                the copy, as QEMU does: the last sector may be lost, or old, where somebody died while the file grew
//   dynamic, ...       not right            the last sector; the copy is mended before a block is allocated

import type { Child } from '../../../block/child.js';
import { BlockError } from '../../../util/errors.js';
import { hasMagic } from '../../../util/magic.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { FOOTER_BYTES, FOOTER_COOKIE, isFooter, Kind, parseFooter } from './footer.js';
import { HEADER_BYTES } from './header.js';

export interface Head {
  footer: Uint8Array;
  /** Empty for a fixed image, and where it cannot be read. */
  header: Uint8Array;
  /** The file begins with this footer. */
  hasCopy: boolean;
  /** The file ends with this footer. */
  hasEnd: boolean;
}

/** `length` bytes at `offset`; those beyond the end of the file are zeroes. */
async function readAt(link: Child, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  const inside = Math.max(0, Math.min(length, link.length - offset));
  if (inside > 0) await link.read(offset, bytes.subarray(0, inside));
  return bytes;
}

/** `isExact`: only where it says as many bytes as the file has. */
function isFixedFooter(bytes: Uint8Array, fileBytes: number, isExact: boolean): boolean {
  const { kind, currentBytes } = parseFooter(bytes);
  return kind === Kind.fixed && (!isExact || currentBytes + FOOTER_BYTES === roundUp(fileBytes, SECTOR_BYTES));
}

/** The head as bytes, which `parseHead` takes apart. Rejects with `invalid-image`, `io`. */
export async function readHead(link: Child): Promise<Uint8Array> {
  const fail = (reason: string): never => {
    throw BlockError.at(link.filename, 'invalid-image', reason, { operation: 'open' });
  };
  if (link.length === 0) fail('File too small for a VHD header');
  const copy = await readAt(link, 0, FOOTER_BYTES);
  // Virtual PC once wrote footers of 511 bytes: the last sector is not whole.
  const last = await readAt(link, roundUp(link.length, SECTOR_BYTES) - SECTOR_BYTES, FOOTER_BYTES);
  const hasLast = isFooter(last);
  const looksLikeCopy = isFooter(copy) && parseFooter(copy).kind !== Kind.fixed;
  const isFixed = hasLast && isFixedFooter(last, link.length, looksLikeCopy);
  const hasCopy = looksLikeCopy && !isFixed;
  if (!hasCopy && !hasLast) {
    fail([copy, last].some((one) => hasMagic(one, FOOTER_COOKIE)) ? 'Incorrect header checksum' : 'invalid VPC image');
  }
  const footer = hasCopy ? copy : last;
  const { dataOffset } = parseFooter(footer);
  const header =
    isFixed || !Number.isSafeInteger(dataOffset) ? new Uint8Array(0) : await readAt(link, dataOffset, HEADER_BYTES);
  const hasEnd = Buffer.compare(footer, last) === 0;
  return Buffer.concat([[hasCopy ? 1 : 0, hasEnd ? 1 : 0], footer, header].map((part) => Buffer.from(part)));
}

export function parseHead(bytes: Uint8Array): Head {
  return {
    hasCopy: bytes[0] === 1,
    hasEnd: bytes[1] === 1,
    footer: bytes.slice(2, 2 + FOOTER_BYTES),
    header: bytes.slice(2 + FOOTER_BYTES),
  };
}
