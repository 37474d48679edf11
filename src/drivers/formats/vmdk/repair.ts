// The repair of a sparse extent.
//
// Where a table and its copy differ, one of the two was written, and then power was lost. What an entry points to was durable before either, so the entry that points to
// a grain is the right one. An entry that leads out of the file, or to a compressed grain that is not whole, is taken from the other table; where that does not do either, the grain is lost, and becomes a hole.

import { SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import { badEntriesOf, bytesOf, type Checked, readTable, type TablePair, tablesOf } from './check.js';
import { ENTRY_BYTES } from './header.js';

/** Repairs all that a check finds: a table that nothing can be taken from is not there any more, and its grains are lost. Rejects with `io`. */
export async function repairSparse(part: Checked): Promise<void> {
  for await (const pair of tablesOf(part)) await repairTable(part, pair);
  await part.file.flush();
}

async function repairTable(
  part: Checked,
  { number, table, copy, isTableSound, isCopySound }: TablePair,
): Promise<void> {
  const { file, header } = part;
  const { directory, redundantDirectory } = header;
  if (table === 0) return;
  const sound = isTableSound ? table : isCopySound ? copy : 0;
  if (sound !== table) await setDirectory(file, directory, number, sound);
  if (redundantDirectory !== null && !(isTableSound && isCopySound)) {
    await setDirectory(file, redundantDirectory, number, sound);
  }
  if (sound === 0) return;
  const own = await readTable(part, sound);
  const other = isTableSound && isCopySound && copy !== table ? await readTable(part, copy) : null;
  const bad = await badEntriesOf(part, own);
  const otherBad = other === null ? bad : await badEntriesOf(part, other);
  for (let i = 0; i < header.tableEntries; i++) {
    const at = i * ENTRY_BYTES;
    if (own.getUint32(at, true) !== 0 && !bad.has(i)) continue;
    own.setUint32(at, other === null || otherBad.has(i) ? 0 : other.getUint32(at, true), true);
  }
  if (other !== null) await file.write(copy, bytesOf(own));
  await file.write(sound, bytesOf(own));
}

async function setDirectory(file: ImageFile, directory: number, number: number, table: number): Promise<void> {
  const entry = new Uint8Array(ENTRY_BYTES);
  new DataView(entry.buffer).setUint32(0, table / SECTOR_BYTES, true);
  await file.write(directory + number * ENTRY_BYTES, entry);
}
