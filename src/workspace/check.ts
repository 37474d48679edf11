// Checks and repairs an image by its name: opens it, works on its metadata, closes it.

import type { Abilities, CheckResult, RepairKind, RepairResult } from '../block/abilities.js';
import type { CheckFinding } from '../block/finding.js';
import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node/node.js';
import { type OpenOptions, openNode } from '../block/open.js';
import { BlockError } from '../util/errors.js';
import { type ImageOpener, type ImageSource, reader, releaseImage } from './open.js';

/**
 * Checks whether the metadata of an image is consistent, without changing it. Calls `report` once for each finding, with the image's format.
 * Rejects as `openToRead`, with `unsupported` where the format has no checks, and with `io`, `limit`. `what`: `checkData` compares data with the image's checksums of it.
 */
export async function checkImage(
  graph: Graph,
  image: ImageSource,
  options: OpenOptions,
  report: (finding: CheckFinding, format: string) => void,
  open: ImageOpener = reader(graph),
  what: 'check' | 'checkData' = 'check',
): Promise<{ format: string; result: CheckResult; fixed?: undefined }> {
  const node = await open(image, options);
  try {
    const check = ability(node, what);
    return { format: node.driver, result: await check((finding) => report(finding, node.driver)) };
  } finally {
    await releaseImage(graph, node);
  }
}

/** Opens an image to be repaired. */
function repairer(graph: Graph): ImageOpener {
  return (image, options) => openNode(graph, image, { ...options, readOnly: false, forRepair: true });
}

/**
 * Checks an image, repairs what is found (`leaks`: lost space alone), and checks it again. `report` gets the findings of the first check, and once they are
 * repaired, `repaired` is called, and `report` gets what is still found. Rejects as `checkImage`, and with `no-space`, `locked`.
 */
export async function repairImage(
  graph: Graph,
  image: ImageSource,
  kind: RepairKind,
  options: OpenOptions,
  report: (finding: CheckFinding, format: string) => void,
  repaired: (result: RepairResult) => void = () => undefined,
  open: ImageOpener = repairer(graph),
): Promise<{ format: string; result: RepairResult }> {
  const node = await open(image, options);
  try {
    const check = ability(node, 'check');
    const repair = ability(node, 'repair');
    const format = node.driver;
    const result = await repair(kind, (finding) => report(finding, format));
    repaired(result);
    const { checkErrors, corruptions, leaks } = result.after;
    const isNew = result.after !== result.before;
    if (isNew && checkErrors + corruptions + leaks > 0) await check((finding) => report(finding, format));
    return { format, result };
  } finally {
    await releaseImage(graph, node);
  }
}

/** What a repair has mended. */
export function fixedBy({ before, after }: RepairResult): { leaksFixed: number; corruptionsFixed: number } {
  return {
    leaksFixed: Math.max(0, before.leaks - after.leaks),
    corruptionsFixed: Math.max(0, before.corruptions - after.corruptions),
  };
}

/** Throws `unsupported` where the format has no such checks, or no repair. */
function ability<K extends 'check' | 'checkData' | 'repair'>(node: BlockNode, name: K): NonNullable<Abilities[K]> {
  const found = node.abilities[name];
  if (found !== undefined) return found;
  const reason =
    name === 'checkData'
      ? 'This image format has no checksums of its data'
      : 'This image format does not support checks';
  throw BlockError.at(node.filename, 'unsupported', reason, { operation: 'check' });
}
