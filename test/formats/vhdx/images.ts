// VHDX images as a test changes them: what has a checksum gets the right one again, and a log that was not replayed is put in.

import { HEADER_OFFSETS, seal } from '../../../src/drivers/formats/vhdx/header.js';
import { encodeEntry } from '../../../src/drivers/formats/vhdx/log-entry.js';

export const MIB = 1 << 20;
const LOG = MIB;
const GUID = '5a'.repeat(16);

/** Puts one entry into the log, whose GUID both headers then name, that gives the sector at `offset` the content `bytes`. */
export function withLog(image: Buffer, offset: number, bytes: Uint8Array): Buffer<ArrayBuffer> {
  const changed = Buffer.from(image);
  const { length } = image;
  const place = { guid: GUID, at: 0, tail: 0, sequence: 7n, flushedBytes: length, lastBytes: length };
  changed.set(encodeEntry({ ...place, writes: [{ offset, bytes }] }), LOG);
  for (const header of HEADER_OFFSETS) {
    changed.write(GUID, header + 48, 'hex');
    seal(changed.subarray(header, header + 4096));
  }
  return changed;
}
