// The check of a Parallels image: it was closed, each entry points into the file, and the file ends with the last cluster.

import type { CheckResult, RepairKind } from '../../../block/abilities.js';
import type { CheckFinding } from '../../../block/finding.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import { type Header, tableEnd } from './header.js';
import { firstPlace } from './space.js';
import { readEntries } from './table.js';

/** A check, with what a repair needs of it. */
export interface Checked {
  result: CheckResult;
  /** Entries that point out of the image. */
  outside: number[];
  /** End of the clusters that lie inside. */
  end: number;
}

/** Each finding is one call of `report`, with `repairs` where `kind` is for it. Rejects with `io`. */
export async function checkParallels(
  file: ImageFile,
  header: Header,
  report: (finding: CheckFinding) => void,
  kind?: RepairKind,
): Promise<Checked> {
  const { clusterBytes, entries, inUse } = header;
  const fileBytes = roundUp(file.usedEnd, SECTOR_BYTES);
  const find = (finding: CheckFinding, repairs: boolean): void => {
    report({ ...finding, ...(repairs && { repairs: true }) });
  };
  if (inUse) find({ kind: 'parallels-in-use', severity: 'corruption' }, kind === 'all');
  const outside: number[] = [];
  let end = firstPlace(header);
  let imageEnd = end;
  let allocated = 0;
  let fragmented = 0;
  let next = { index: -1, place: 0 };
  await readEntries(file, header, (index, place) => {
    const isOutside = place > fileBytes || place < tableEnd(entries);
    if (isOutside) {
      outside.push(index);
      find({ kind: 'parallels-outside', severity: 'corruption', index, hostOffset: place }, kind === 'all');
    } else end = Math.max(end, place + clusterBytes);
    // As for QEMU, an entry that points out counts as long as it stays.
    if (!isOutside || kind !== 'all') imageEnd = Math.max(imageEnd, place + clusterBytes);
    allocated++;
    if (index === next.index && place !== next.place) fragmented++;
    next = { index: index + 1, place: place + clusterBytes };
  });
  const unused = Math.max(0, fileBytes - imageEnd);
  const leaks = Math.ceil(unused / clusterBytes);
  if (leaks > 0) find({ kind: 'parallels-unused-end', severity: 'leak', length: unused }, kind !== undefined);
  const result: CheckResult = {
    checkErrors: 0,
    corruptions: outside.length + (inUse ? 1 : 0),
    leaks,
    imageEndOffset: imageEnd,
    totalClusters: entries,
    allocatedClusters: allocated,
    fragmentedClusters: fragmented,
    compressedClusters: 0,
  };
  return { result, outside, end };
}
