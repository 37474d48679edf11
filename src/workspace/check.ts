// Checks an image by its name: opens it, checks its metadata, closes it.

import type { CheckResult } from '../block/abilities.js';
import type { CheckFinding } from '../block/finding.js';
import type { Graph } from '../block/graph.js';
import type { OpenOptions } from '../block/open.js';
import { BlockError } from '../util/errors.js';
import { type ImageOpener, type ImageSource, reader, releaseImage } from './open.js';

/**
 * Checks whether the metadata of an image is consistent, without changing it. Calls `report` once for each finding, with the image's format.
 * Rejects as `openToRead`, with `unsupported` where the format has no checks, and with `io`, `limit`.
 */
export async function checkImage(
  graph: Graph,
  image: ImageSource,
  options: OpenOptions,
  report: (finding: CheckFinding, format: string) => void,
  open: ImageOpener = reader(graph),
): Promise<{ format: string; result: CheckResult }> {
  const node = await open(image, options);
  try {
    const { driver: format, abilities } = node;
    if (abilities.check === undefined) {
      throw BlockError.at(node.filename, 'unsupported', 'This image format does not support checks', {
        operation: 'check',
      });
    }
    return { format, result: await abilities.check((finding) => report(finding, format)) };
  } finally {
    await releaseImage(graph, node);
  }
}
