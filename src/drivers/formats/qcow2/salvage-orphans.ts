// L2 tables that nothing points to, among the clusters of a damaged image that nobody claims.

import { viewOf } from '../../../util/bytes.js';
import { isCopied } from './l2-codec.js';
import { entryBytes, isPlain, Verdict } from './salvage-entries.js';
import { readWhatCan, refuseToGoOn } from './salvage-read.js';
import type { SurveyedImage } from './salvage-surveyed.js';

/** So many are listed. */
export const MAX_ORPHANS = 1 << 16;

/** Lists them in the log, and takes them for tables. `progress` gets bytes of the file. The number of tables that are found. */
export async function orphansAmong(
  image: SurveyedImage,
  refcountsAreRight: boolean,
  progress: (done: number) => void,
): Promise<number> {
  const { claims, geometry, log, refcounts, rules, file } = image;
  const verdict = new Verdict();
  const { clusterSize } = geometry;
  let count = 0;
  for await (const [from, to] of stretches(image)) {
    for (let cluster = from; cluster < to; cluster++) {
      if (claims.isUsed(cluster)) continue;
      if (refcountsAreRight) {
        const block = await refcounts.blockOf(cluster);
        if (block === null || refcounts.countIn(block, cluster) === 0) continue;
      }
      const host = cluster * clusterSize;
      const bytes = new Uint8Array(clusterSize);
      let isRead = true;
      await readWhatCan(file, host, bytes, () => {
        isRead = false;
      });
      if (!isRead || !isOrphan(image, verdict, viewOf(bytes))) continue;
      claims.tables.add(cluster);
      if (count++ < MAX_ORPHANS) log.orphans.push({ hostOffset: host, bytes: geometry.l2Span });
    }
    progress(Math.min(to * clusterSize, rules.fileBytes));
  }
  return count;
}

/** It has the shape of a table without a fault, and most of what it points to is nobody else's. */
function isOrphan({ claims, geometry, rules }: SurveyedImage, verdict: Verdict, table: DataView): boolean {
  let [own, others, flagged] = [0, 0, false];
  for (let slot = 0; slot < geometry.l2Entries; slot++) {
    verdict.judge(table, slot, rules);
    if (verdict.isOdd || verdict.isWrong) return false;
    if (!isPlain(verdict) && verdict.kind !== 'compressed') continue;
    // A refcount table has the shape of a table, too, but none of the flags.
    if (verdict.kind === 'compressed' || isCopied(table.getUint32(slot * entryBytes(rules)))) flagged = true;
    if (!rules.isExternal && claims.isUsed(Math.floor(verdict.host / geometry.clusterSize))) others++;
    else own++;
  }
  return flagged && own > others;
}

/** Runs of clusters of the file that are no holes: from, to. */
export async function* stretches({ file, geometry, rules }: SurveyedImage): AsyncGenerator<[number, number]> {
  const { clusterSize } = geometry;
  let next = 0;
  for (let at = 0; at < rules.fileBytes; ) {
    const left = rules.fileBytes - at;
    const status = await file.blockStatus(at, left).catch((cause: unknown) => {
      refuseToGoOn(cause);
      return { zero: false, length: left };
    });
    const end = at + status.length;
    // Holes may begin and end within a cluster, which is there once.
    const from = Math.max(next, Math.floor(at / clusterSize));
    if (!status.zero) {
      next = Math.ceil(end / clusterSize);
      if (from < next) yield [from, next];
    }
    at = end;
  }
}
