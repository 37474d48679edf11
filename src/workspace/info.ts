// Information about an image, or about each image of its chain. No file is opened but those that are named.

import { referrerOf } from '../block/foreign-name.js';
import type { Graph } from '../block/graph.js';
import { imageInfo } from '../block/info.js';
import type { InnerOpenOptions, OpenOptions } from '../block/open.js';
import type { ImageInfo } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import { type ImageOpener, type ImageSource, reader, releaseImage } from './open.js';

/**
 * Returns QAPI's `ImageInfo` of an image, or with `chain` of all images of its backing chain, top first. Each image is opened alone, by the name in
 * the header above it. Rejects with `loop` where a backing file leads back to an image above it, and as `open`.
 */
export async function imageInfos(
  graph: Graph,
  image: ImageSource,
  options: OpenOptions,
  chain: boolean,
  open: ImageOpener = reader(graph),
): Promise<ImageInfo[]> {
  const infos: ImageInfo[] = [];
  const seen = new Set<ImageSource>();
  let name: ImageSource | undefined = image;
  let how: OpenOptions & InnerOpenOptions = { ...options, backing: false };
  while (name !== undefined) {
    if (seen.has(name)) {
      throw new BlockError('loop', `Backing file '${name}' creates an infinite loop.`, { path: String(name) });
    }
    seen.add(name);
    const node = await open(name, how);
    let info: ImageInfo;
    let referrer: InnerOpenOptions['referrer'];
    try {
      info = await imageInfo(node);
      referrer = chain ? await referrerOf(node, 'backing') : undefined;
    } finally {
      await releaseImage(graph, node);
    }
    infos.push(info);
    name = chain ? info['full-backing-filename'] : undefined;
    how = { ...options, backing: false, format: info['backing-filename-format'], referrer };
  }
  return infos;
}
