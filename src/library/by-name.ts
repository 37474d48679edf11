// What the library does with images by their names: each call checks its arguments, opens what it needs, and closes it again. No image stays open, and
// nothing runs on. What each one promises stands at the method of `Workspace` that calls it.

import type { CompareResult } from '../block/compare.js';
import type { ImageCreateOptions } from '../block/create.js';
import type { CheckFinding } from '../block/finding.js';
import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node/node.js';
import type { SalvageReport } from '../block/salvage.js';
import { checkConvertSizes, refuseCopyRange } from '../jobs/convert.js';
import type { BlockMeasureInfo, ImageInfo, MapEntry } from '../schema/generated/types.js';
import { fileName, takeSettings } from '../schema/shape.js';
import { refuseAborted } from '../util/abort.js';
import { BlockError } from '../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../util/numbers.js';
import { bitmapsToCopy, storedBitmaps } from '../workspace/bitmap-copy.js';
import { checkImage, fixedBy, repairImage } from '../workspace/check.js';
import { compareImages } from '../workspace/compare.js';
import { convertImage } from '../workspace/convert.js';
import { streamIntoImage as fillImage } from '../workspace/convert-in.js';
import { streamImage as writeImageOut } from '../workspace/convert-out.js';
import { makeImage } from '../workspace/create.js';
import { copyBlocks } from '../workspace/dd.js';
import { imageInfos } from '../workspace/info.js';
import { mapImage } from '../workspace/map.js';
import { copiedBitmaps, measureImage } from '../workspace/measure.js';
import { withImage } from '../workspace/open.js';
import { rebaseByName, renameByName } from '../workspace/rebase.js';
import { salvageImage } from '../workspace/salvage.js';
import { IterableSource, WritableSink } from './byte-streams.js';
import type { ImageCheckResult } from './options.js';
import * as shapes from './settings.js';

export async function create(graph: Graph, filename: unknown, options: unknown): Promise<void> {
  const name = fileName(filename, 'filename');
  const { options: checked, sized } = shapes.createOptions(name, options);
  await makeImage(graph, name, checked, sized);
}

export async function info(graph: Graph, image: unknown, settings: unknown): Promise<ImageInfo | ImageInfo[]> {
  const { backingChain = false, ...open } = takeSettings(shapes.INFO, settings, 'settings');
  const [name, how] = shapes.imageAndOptions(image, open);
  const infos = await imageInfos(graph, name, how, backingChain);
  return backingChain ? infos : infos[0];
}

export function map(graph: Graph, image: unknown, settings: unknown): AsyncGenerator<MapEntry> {
  const { from = 0, to, ...open } = takeSettings(shapes.MAP, settings, 'settings');
  if (to !== undefined && to < from) {
    throw new BlockError('invalid-argument', `Parameter 'settings.to' is ${to}, which lies before 'settings.from'`);
  }
  const [name, how] = shapes.imageAndOptions(image, open);
  return mapImage(graph, name, how, { start: from, length: to === undefined ? undefined : to - from });
}

export async function check(graph: Graph, image: unknown, settings: unknown): Promise<ImageCheckResult> {
  const { repair, data, ...open } = takeSettings(shapes.CHECK, settings, 'settings');
  if (data && repair !== undefined) {
    throw new BlockError('invalid-argument', "Parameters 'settings.data' and 'settings.repair' exclude each other");
  }
  const [name, how] = shapes.imageAndOptions(image, open);
  const findings: CheckFinding[] = [];
  const found = (finding: CheckFinding): number => findings.push(finding);
  if (repair === undefined) {
    const { result } = await checkImage(graph, name, how, found, undefined, data ? 'checkData' : 'check');
    return { ...result, findings };
  }
  const { result } = await repairImage(graph, name, repair, how, found);
  return { ...result.after, ...fixedBy(result), findings };
}

export async function compare(graph: Graph, a: unknown, b: unknown, settings: unknown): Promise<CompareResult> {
  const { forceShare, ...how } = takeSettings(shapes.COMPARE, settings, 'settings');
  const [first, second] = [shapes.imageName(a, 'a'), shapes.imageName(b, 'b')];
  // Before the files are looked at.
  refuseAborted(how.signal);
  const options = { forceShare };
  return compareImages(graph, { image: first, options }, { image: second, options }, how);
}

export async function convert(graph: Graph, source: unknown, target: unknown, settings: unknown): Promise<void> {
  const name = fileName(target, 'target');
  const { source: open = {}, create, bitmaps = 'none', ...options } = shapes.convertSettings(name, settings);
  refuseCopyRange(options);
  checkConvertSizes({ ...options, sourceLength: 0, targetLength: 0, target: name });
  const copy = async (from: BlockNode): Promise<void> =>
    convertImage(graph, {
      ...options,
      source: from,
      bitmaps:
        bitmaps === 'none'
          ? undefined
          : bitmapsToCopy(from, storedBitmaps(from), bitmaps === 'all' ? undefined : () => undefined),
      target: name,
      format: create.driver,
      create: (size) => ({ size, ...create }) as ImageCreateOptions,
      warn: graph.warn,
    });
  const [image, how] = shapes.imageAndOptions(shapes.imageName(source, 'source'), open, 'source');
  refuseAborted(options.signal);
  await withImage(graph, image, how, copy, 'copy');
}

export async function streamImage(graph: Graph, image: unknown, stream: unknown, settings: unknown): Promise<void> {
  const sink = new WritableSink(shapes.writable(stream, 'target'));
  let done = false;
  try {
    const { source = {}, create, ...options } = shapes.streamImageSettings(settings);
    const [name, how] = shapes.imageAndOptions(shapes.imageName(image, 'image'), source, 'image');
    refuseAborted(options.signal);
    const write = (from: BlockNode): Promise<void> =>
      writeImageOut(graph, {
        ...options,
        source: from,
        sink,
        options: { size: from.length, ...create } as ImageCreateOptions,
      });
    await withImage(graph, name, how, write, 'copy');
    done = true;
  } finally {
    sink.leave(!done);
  }
}

export async function streamIntoImage(graph: Graph, from: unknown, image: unknown, settings: unknown): Promise<void> {
  const source = new IterableSource(shapes.chunksOf(from, 'source'));
  try {
    const target = fileName(image, 'target');
    const { create, format, ...options } = shapes.streamIntoSettings(target, settings);
    refuseAborted(options.signal);
    await fillImage(graph, {
      ...options,
      source,
      isRaw: format !== undefined,
      target,
      size: create.size,
      format: create.driver,
      create: (size) => ({ size, ...create }) as ImageCreateOptions,
    });
  } finally {
    source.leave();
  }
}

export async function salvage(
  graph: Graph,
  image: unknown,
  target: unknown,
  settings: unknown,
): Promise<SalvageReport> {
  const name = fileName(target, 'target');
  const {
    source = {},
    create,
    clusterSize,
    size,
    l1Offset,
    tables,
    snapshot,
    ...options
  } = shapes.salvageSettings(name, settings);
  const [damaged, how] = shapes.imageAndOptions(shapes.imageName(image, 'image'), source, 'image');
  refuseAborted(options.signal);
  return salvageImage(graph, {
    ...options,
    image: damaged,
    how,
    hints: { clusterSize, size, l1Offset, tables, snapshot },
    target: name,
    format: create.driver,
    create: (length) => ({ size: length, ...create }) as ImageCreateOptions,
    warn: graph.warn,
  });
}

export async function measure(graph: Graph, options: unknown, settings: unknown): Promise<BlockMeasureInfo> {
  const { create, image, source, signal, onProgress } = shapes.measureSettings(options, settings);
  refuseAborted(signal);
  const { size } = create;
  if (image === undefined) return measureImage(graph, create as ImageCreateOptions, null);
  const [name, how] = shapes.imageAndOptions(image, source);
  const measureOf = async (node: BlockNode): Promise<BlockMeasureInfo> => {
    const { length, filename } = node;
    checkConvertSizes({ sourceLength: length, targetLength: size ?? length, target: filename });
    const bitmaps = copiedBitmaps(node);
    return measureImage(
      graph,
      { ...create, size: size ?? length } as ImageCreateOptions,
      { node, bitmaps },
      {
        signal,
        onProgress,
      },
    );
  };
  return withImage(graph, name, how, measureOf);
}

export async function rebase(graph: Graph, image: unknown, backing: unknown, settings: unknown): Promise<void> {
  const { unsafe = false, ...request } = shapes.rebaseSettings(image, backing, settings);
  refuseAborted(request.signal);
  await (unsafe ? renameByName(graph, request) : rebaseByName(graph, request));
}

export async function dd(graph: Graph, source: unknown, target: unknown, settings: unknown): Promise<void> {
  const name = fileName(target, 'target');
  const { source: open = {}, create, from = 0, to, ...options } = shapes.ddSettings(name, settings);
  const [image, how] = shapes.imageAndOptions(shapes.imageName(source, 'source'), open, 'source');
  refuseAborted(options.signal);
  const copy = async (node: BlockNode): Promise<void> => {
    const end = to ?? node.length;
    if (from > end || end > node.length) {
      throw BlockError.at(node.filename, 'out-of-bounds', `[${from}, ${end}) is not within ${node.length} bytes`, {
        operation: 'read',
      });
    }
    const length = end - from;
    const made = { ...create, size: roundUp(length, SECTOR_BYTES) } as ImageCreateOptions;
    await copyBlocks(graph, { ...options, source: node, offset: from, length, target: name, options: made });
  };
  await withImage(graph, image, how, copy, 'copy');
}
