// Data loss at close. When the tables cannot be written, writes whose mapping exists in memory only are lost, although they were answered. So the
// error of the close names their guest ranges.

import { BlockError, toBlockError } from '../../../util/errors.js';
import { formatSize } from '../../../util/size.js';
import { messageInWords, reasonInWords } from '../../../util/system-words.js';
import type { Qcow2Image } from './image.js';
import { Kind } from './l2-codec.js';
import type { Table } from './table-cache.js';
import type { GuestOffset } from './types.js';

/** Guest bytes [from, to). */
interface Range {
  from: GuestOffset;
  to: GuestOffset;
}

/** Ranges that the message names; the others are counted. */
const NAMED_RANGES = 8;

/**
 * Writes all changes of metadata, when the image is closed. Where the disk is full, space that was reserved ahead is released and the commit is tried
 * once more. Rejects with the failure, which names the guest ranges that are lost.
 */
export async function storeAll(image: Qcow2Image): Promise<void> {
  try {
    if (image.broken !== null) throw image.broken;
    try {
      await image.commit();
    } catch (error) {
      if (!(error instanceof BlockError) || error.code !== 'no-space') throw error;
      await image.file.trim();
      await image.commit();
    }
  } catch (error) {
    const lost = lossBy(image, toBlockError(error));
    if (lost !== null) throw lost;
    // Corruption was reported when it was found, and no write was lost.
    if (error !== image.broken) throw error;
  }
}

/** The error for the guest ranges whose latest content is lost by `error`; null where there are none. */
function lossBy(image: Qcow2Image, error: BlockError): BlockError | null {
  const ranges = unstored(image);
  if (ranges.length === 0) return null;
  const bytes = ranges.reduce((sum, { from, to }) => sum + to - from, 0);
  const named = ranges.slice(0, NAMED_RANGES).map(({ from, to }) => `${from}-${to - 1}`);
  const more = ranges.length - named.length;
  const { path } = image.file;
  const reason = error.path === path ? reasonInWords(error) : messageInWords(error);
  return BlockError.at(
    path,
    error.code,
    `writes since the last flush are lost: ${formatSize(bytes)} at guest offsets ` +
      `${named.join(', ')}${more > 0 ? ` and ${more} more ranges` : ''}: ${reason}`,
    { operation: 'close', offset: ranges[0].from, errno: error.errno, cause: error },
  );
}

/** Guest ranges whose L2 entries differ from those on disk, or may; in order, neighbours joined. Without unmapped ones: a lost discard loses no data. */
function unstored(image: Qcow2Image): Range[] {
  const ranges: Range[] = [];
  const tables = [...image.mapping.cache.dirty].sort((a, b) => a.index - b.index);
  for (const table of tables) addTable(image, table, ranges);
  return ranges;
}

function addTable(image: Qcow2Image, table: Table, ranges: Range[]): void {
  const { l2Span, subclusters, subclusterSize } = image.geometry;
  const { codec } = image.mapping;
  const end = Math.ceil(table.dirtyTo / codec.entryBytes) * subclusters;
  let index = Math.floor(table.dirtyFrom / codec.entryBytes) * subclusters;
  while (index < end) {
    const from = (table.index * l2Span + index * subclusterSize) as GuestOffset;
    if (from >= image.length()) return;
    const kind = codec.kindAt(table.view, index);
    index += codec.run(table.view, index, end - index);
    if (kind === Kind.unallocated || kind === Kind.preallocated) continue;
    const to = Math.min(table.index * l2Span + index * subclusterSize, image.length()) as GuestOffset;
    const last = ranges[ranges.length - 1];
    if (last?.to === from) last.to = to;
    else ranges.push({ from, to });
  }
}
