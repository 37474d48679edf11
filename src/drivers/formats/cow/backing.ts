// What a cow image notes of its backing file, to know it again: its size, and when it was changed last.

import type { BlockNode } from '../../../block/node/node.js';

export interface BackingFile {
  /** Bytes. */
  size: number;
  /** When it was changed last: seconds since 1970, in the 32 bits of the header. */
  date: number;
}

/** Of the file that `node` stands for; null where that is none of this machine. Rejects with `io`. */
export async function describeFile(node: BlockNode): Promise<BackingFile | null> {
  const file = node.hostFile();
  if (file === null) return null;
  const { size, mtimeMs } = await file.info();
  return { size, date: Math.floor(mtimeMs / 1000) >>> 0 };
}
