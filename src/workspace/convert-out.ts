// Writes an image as a stream of bytes: standard output, a pipe, a stream of a program. All that can be refused is refused before the first byte.

import { checkCreateOptions, type ImageCreateOptions } from '../block/create.js';
import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node/node.js';
import { findDriver, type StreamedImage } from '../block/registry.js';
import type { ByteSink } from '../host/byte-stream.js';
import { type ConvertOutOptions, checkOutSize, convertOut } from '../jobs/convert-out.js';
import type { BlockdevCreateOptions } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import { type ImageOpener, openToRead, releaseImage } from './open.js';

export interface ConvertOutPlan extends Omit<ConvertOutOptions, 'image' | 'backing'> {
  /** What the image is made with. */
  options: ImageCreateOptions;
  /** Opens the backing file that the options name. Default: `openToRead`. A relative name counts from the current folder. */
  open?: ImageOpener;
  /** Store as compressed clusters: those of a format that is a stream of them are so anyway. */
  compress?: boolean;
  /** Called before the first byte is written. */
  onBegin?: () => void;
}

/**
 * Writes the content of an image into the sink. Rejects with `unsupported` for a format, or options, that cannot be written in order, with `invalid-argument`, as `openNode` for
 * the backing file, and as `convertOut`.
 */
export async function streamImage(graph: Graph, plan: ConvertOutPlan): Promise<void> {
  const { options, open, compress, onBegin, ...copy } = plan;
  const image = streamedImage(graph, options, plan.sink);
  if (compress && image.layout.kind !== 'packed') {
    throw new BlockError(
      'unsupported',
      `Compressed clusters of the format '${options.driver}' cannot be written as a stream: the tables come first, and how large clusters become is not known before`,
      { path: plan.sink.name, operation: 'create' },
    );
  }
  checkOutSize(plan.source, image);
  const backing = await openBacking(graph, options, open);
  try {
    onBegin?.();
    await convertOut({ ...copy, image, backing });
  } finally {
    if (backing !== null) await releaseImage(graph, backing);
  }
}

function streamedImage(graph: Graph, wanted: ImageCreateOptions, { name }: ByteSink): StreamedImage {
  const options = checkCreateOptions(wanted, name, graph);
  const { streamed, name: driver } = findDriver(options.driver);
  if (streamed !== undefined) return streamed({ ...options, file: '' } as BlockdevCreateOptions, name);
  throw new BlockError('unsupported', `Images of the format '${driver}' cannot be written as a stream`, {
    path: name,
    operation: 'create',
  });
}

async function openBacking(
  graph: Graph,
  options: ImageCreateOptions,
  open: ImageOpener = (image, how) => openToRead(graph, image, how, 'copy'),
): Promise<BlockNode | null> {
  const { 'backing-file': name, 'backing-fmt': format } = options as {
    'backing-file'?: string;
    'backing-fmt'?: string;
  };
  return name === undefined ? null : open(name, { format });
}
