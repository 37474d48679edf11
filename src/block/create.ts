// Making images: the file first, then the format in it.

import { dirname } from 'node:path';
import type { BlockdevCreateOptions, BlockdevOptions, BlockdevRef } from '../schema/generated/types.js';
import { LooseOptions } from '../schema/loose-options.js';
import { validate } from '../schema/validate.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { nearestWord } from '../util/nearest.js';
import { roundUp, SECTOR_BYTES } from '../util/numbers.js';
import { messageInWords } from '../util/system-words.js';
import { referrerToBe, refuseItself } from './backing-name.js';
import { backingOf, fileOf } from './chain.js';
import { type Child, type OutsideUse, withLink } from './child.js';
import { parseProtocolName, resolveBackingName } from './filename.js';
import type { Graph } from './graph.js';
import { refuseUsed, refuseUsedNode, statOrNull } from './identity.js';
import { type ImagePart, type NewPart, partsOf, refusePartsIn, refuseSameFiles } from './image-parts.js';
import { type NewFile, undoCreation } from './new-file.js';
import type { BlockNode } from './node/node.js';
import { openNode } from './open.js';
import { defaultDriver, findDriver, knownDriver, unknownFormat } from './registry.js';
import { PERM_ALL, Perm, type TruncateOptions } from './types.js';

/** Distributes over the drivers, so that each keeps its own members. */
type WithoutFile<T> = T extends unknown ? ('file' extends keyof T ? Omit<T, 'file'> : never) : never;

/** What a format needs to be told, apart from the file. */
export type ImageCreateOptions = WithoutFile<BlockdevCreateOptions>;

type SizeOfBacking<T> = T extends { 'backing-file'?: string } ? Omit<T, 'size'> & { size?: number } : T;

/** As `ImageCreateOptions`; an overlay that leaves its `size` out is as large as its backing file. */
export type NewImageOptions = SizeOfBacking<ImageCreateOptions>;

/** How the files of an image are made, beside what the format is told. */
export type NewFileOptions = Pick<BlockdevCreateOptions & { driver: 'file' }, 'nocow' | 'extent-size-hint'>;

/**
 * Makes an image as `blockdev-create` does: `file` makes a file, a format turns the node `file` into an image. Rejects with
 * `invalid-argument`, `unsupported`, `locked`, `no-space`, `permission`, ...
 */
export async function createNode(graph: Graph, options: BlockdevCreateOptions): Promise<void> {
  const definition = findDriver(options.driver);
  if (definition.create === undefined) {
    throw new BlockError('unsupported', `Driver '${definition.name}' does not support creating images`);
  }
  const file = 'file' in options ? options.file : undefined;
  await withNewNode(graph, file, (image) =>
    withNewParts(graph, partsOf(options), async (parts) => {
      await refuseSameFiles(image, parts);
      const links = new Map(parts.map(({ name, link }) => [name, link]));
      await definition.create!({ graph, options, file: image, parts: links });
    }),
  );
}

/** Runs `action` with a link for writing to each of these. */
async function withNewParts<T>(
  graph: Graph,
  [part, ...others]: readonly ImagePart[],
  action: (parts: readonly NewPart[]) => Promise<T>,
): Promise<T> {
  if (part === undefined) return action([]);
  return withNewNode(graph, part.ref, (link) =>
    withNewParts(graph, others, (rest) => action([{ ...part, link: link! }, ...rest])),
  );
}

/** Runs `action` with a link for writing to the node that `ref` names or opens; with null where there is none. */
async function withNewNode<T>(
  graph: Graph,
  ref: BlockdevRef | undefined,
  action: (link: Child | null) => Promise<T>,
): Promise<T> {
  if (ref === undefined) return action(null);
  const node = typeof ref === 'string' ? graph.find(ref) : await openNode(graph, ref);
  try {
    if (typeof ref !== 'string') await refuseUsedNode(graph, node);
    return await withLink(node, CREATION, action);
  } finally {
    await graph.release(node);
  }
}

/**
 * What an image is to be made like, checked as far as it can be before anything is touched: types, names of members, and what the format says
 * of their values, and, where `graph` is given, whether its host and its objects have what they want. `filename` is for messages. Throws `invalid-argument`, `not-found`,
 * `unknown-option`, `unsupported`, `limit`.
 */
export function checkCreateOptions(options: object, filename = '', graph?: Graph): ImageCreateOptions {
  const { driver } = options as { driver?: unknown };
  if (typeof driver === 'string') checkCreatable(driver);
  else if (driver === undefined) refuseFormat(options);
  if (Object.hasOwn(options, 'file')) throw new BlockError('unknown-option', "Parameter 'file' is unexpected");
  const { file: _, ...checked } = validate('BlockdevCreateOptions', { ...options, file: '' }, { suggest: true }) as {
    file: string;
  } & ImageCreateOptions;
  const made = checked as ImageCreateOptions;
  findDriver(made.driver).checkCreate?.({ ...made, file: '' } as BlockdevCreateOptions, filename, graph);
  return made;
}

/** Throws `unknown-option` for options that leave out the driver, and call it the format, as other calls do, however that is spelled. */
export function refuseFormat(options: object): void {
  const given = Object.keys(options).find((name) => nearestWord(name, ['format', 'driver']) === 'format');
  if (given === undefined) return;
  throw new BlockError('unknown-option', `Parameter '${given}' is unexpected (did you mean 'driver'?)`);
}

/** Cluster size that the options ask for, bytes; 0: it is left to the driver. */
export function clusterBytesWanted(options: ImageCreateOptions): number {
  const { clusterMember } = findDriver(options.driver);
  if (clusterMember === undefined) return 0;
  return Number((options as Readonly<Record<string, unknown>>)[clusterMember] ?? 0);
}

/** Throws `invalid-argument` for a name that no driver has, `unsupported` for that of one that makes no images. */
export function checkCreatable(format: string): void {
  const definition = knownDriver(format);
  if (definition === null) throw unknownFormat(format);
  if (definition.create === undefined || definition.kind === 'protocol') {
    throw new BlockError('unsupported', `Format driver '${format}' does not support image creation`);
  }
}

/**
 * Opens the backing file that the options name for an image at `filename`, and closes it: what cannot be opened is refused before another image is
 * replaced by one that needs it. Resolves with its size in bytes, null where there is none. Rejects as `openNode`.
 */
export async function checkBackingFile(
  graph: Graph,
  filename: string,
  options: ImageCreateOptions,
): Promise<number | null> {
  const { 'backing-file': name, 'backing-fmt': format } = options as {
    'backing-file'?: string;
    'backing-fmt'?: string;
  };
  if (name === undefined) return null;
  try {
    // As whoever opens the image will: what it may not name is not written into it.
    const referrer = await referrerToBe(graph.host, filename);
    // As qemu-img, which needs no password to make an overlay.
    const how = { format, readOnly: true, forceShare: true, referrer, onlyHeader: true };
    const node = await openNode(graph, resolveBackingName(filename, name), how);
    const { length } = node;
    await graph.release(node);
    return length;
  } catch (cause) {
    const error = toBlockError(cause);
    throw new BlockError(error.code, `Could not open backing file: ${messageInWords(error)}`, {
      path: error.path,
      operation: 'open',
      cause,
    });
  }
}

/** The file of an image that was made. */
export interface MadeImage {
  /** The file where there was none before; null where there was, and for a device or an export. */
  newFile: NewFile | null;
  /** Options that it needs to be opened: see `InnerOpenOptions.defaults`. */
  openWith: Readonly<Record<string, unknown>>;
}

/**
 * The protocol node that an image is made at. Nothing is looked at but the name. Throws `invalid-argument` for one of a protocol that is not known, and `unsupported` where no image
 * can be made.
 */
export function imageTarget(filename: string): BlockdevOptions {
  const target = parseProtocolName(filename);
  const { takesImages, fileAt } = findDriver(target.driver);
  if ('filename' in target || takesImages || fileAt !== undefined) return target;
  const why = `Protocol driver '${target.driver}' does not support image creation`;
  throw new BlockError('unsupported', why, { path: filename });
}

/**
 * Makes the image file `filename`, as `qemu-img create` does; an existing file is replaced, a device or export is written to, whatever `fileOptions` say. Options that
 * cannot be are refused before that. The nodes that this takes are gone afterwards; where it fails, so is the file, if there was none before.
 * Rejects as `createNode`.
 */
export async function createImage(
  graph: Graph,
  filename: string,
  wanted: ImageCreateOptions,
  fileOptions: NewFileOptions = {},
): Promise<MadeImage> {
  if (filename === '') {
    throw new BlockError('not-found', "Could not create '': No such file or directory", { path: filename });
  }
  const target = imageTarget(filename);
  const path = 'filename' in target ? target.filename : filename;
  const options = withParts(checkCreateOptions(wanted, path, graph), path);
  const backing = 'backing-file' in options ? options['backing-file'] : undefined;
  if (backing !== undefined) await refuseItself(graph.host, filename, backing);
  if (!('filename' in target)) {
    const file = findDriver(target.driver).fileAt?.(target);
    if (file !== undefined) {
      refuseBeyondFile(options, filename);
      await createNode(graph, file);
    }
    const whole = validate('BlockdevCreateOptions', { ...options, file: { ...target, discard: 'unmap' } });
    await createNode(graph, whole);
    return { newFile: null, openWith: openWithOf(whole) };
  }
  const found = await graph.host.stat(path).then(
    ({ kind }) => kind,
    (error: unknown) => (toBlockError(error).code === 'not-found' ? null : 'unknown'),
  );
  const partFiles = partsOf(options).flatMap(({ what, ref }) =>
    typeof ref === 'object' && 'filename' in ref ? [{ what, path: ref.filename }] : [],
  );
  await refusePartsIn(graph.host, partFiles, path, backing && resolveBackingName(path, backing));
  for (const part of partFiles) await checkReplaceable(graph, part.path);
  const { name: driver, create: makeFile } = defaultDriver(found === 'block' ? 'device' : 'path');
  if (makeFile !== undefined) {
    await createNode(graph, validate('BlockdevCreateOptions', { ...fileOptions, driver, filename: path, size: 0 }));
  }
  let newFile: NewFile | null = found === null ? { path, id: (await graph.host.stat(path)).id } : null;
  try {
    for (const part of partFiles) {
      const made = await makePartFile(graph, part.path, fileOptions);
      if (made !== null) newFile = newFile === null ? made : { ...newFile, parts: [...(newFile.parts ?? []), made] };
    }
    const file = { ...target, driver, discard: 'unmap' };
    const whole = validate('BlockdevCreateOptions', { ...options, file });
    await createNode(graph, whole);
    return { newFile, openWith: openWithOf(whole) };
  } catch (error) {
    await undoCreation(graph.host, newFile, error);
    throw error;
  }
}

/** Refuses what needs more than one file that is as long as it is said to be: another machine has no space to give in advance. Throws `unsupported`. */
function refuseBeyondFile(options: ImageCreateOptions, path: string): void {
  const { preallocation } = options as { preallocation?: string };
  const fail = (why: string): never => {
    throw new BlockError('unsupported', why, { path, operation: 'create' });
  };
  if (preallocation === 'falloc' || preallocation === 'full') fail(`Unsupported preallocation mode '${preallocation}'`);
  if (partsOf(options as BlockdevCreateOptions).length > 0)
    fail('an image there is one file: this one would have several');
}

function openWithOf(options: BlockdevCreateOptions): Readonly<Record<string, unknown>> {
  return findDriver(options.driver).openWith?.(options) ?? {};
}

/** With the parts that an image at `path` has, and the options leave out. */
function withParts(options: ImageCreateOptions, path: string): ImageCreateOptions {
  return { ...options, ...findDriver(options.driver).partsAt?.(options as BlockdevCreateOptions, path) };
}

/** Makes the file for a part of an image; an existing one is replaced, but for a device. Resolves to the file where there was none before. */
async function makePartFile(graph: Graph, path: string, options: NewFileOptions): Promise<NewFile | null> {
  const before = await statOrNull(graph.host, path);
  const { name: driver, create } = defaultDriver(before?.kind === 'block' ? 'device' : 'path');
  if (create === undefined) return null;
  await createNode(graph, validate('BlockdevCreateOptions', { ...options, driver, filename: path, size: 0 }));
  return before === null ? { path, id: (await graph.host.stat(path)).id } : null;
}

/**
 * Refuses what `createImage` would refuse of a file: that the caller may not write to it, that a node is stored in it or another process uses it, or that there
 * is no folder for it. For several images that are made together: no file of theirs is touched before all can be made. Rejects with `locked`, `permission`,
 * `not-found`, ...
 */
export async function checkReplaceable(graph: Graph, filename: string): Promise<void> {
  const target = parseProtocolName(filename);
  if (!('filename' in target)) return;
  const there = await statOrNull(graph.host, target.filename);
  if (there === null) {
    // Where there is no folder, opening the file says it in the words that making it would.
    if ((await statOrNull(graph.host, dirname(target.filename))) === null) {
      try {
        await (await graph.host.open(target.filename, { writable: true })).close();
      } catch (error) {
        const reason = toBlockError(error);
        throw reason.as(reason.code, { operation: 'create' });
      }
    }
    return;
  }
  await refuseUsed(graph, { ...there, path: target.filename });
  const driver = there.kind === 'block' ? defaultDriver('device').name : target.driver;
  const file = await openNode(graph, new LooseOptions({ driver, filename: target.filename }, {}));
  try {
    // The link takes the locks that say so to other processes.
    await withLink(file, CREATION, async () => undefined);
  } finally {
    await graph.release(file);
  }
}

/**
 * Removes what an earlier image left in `file`, so that it reads as zeroes when it grows again. What keeps its size (a device, an export, a window of a file) keeps its content, too: `makeRoom`
 * zeroes there what must be zero. Rejects as `BlockNode.truncate`.
 */
export async function removeContent(file: Child): Promise<void> {
  if (!file.node.fixedSize) await file.truncate(0);
}

/**
 * Gives `file`, whose content was removed, the size of an image that is made in it, so that [0, zeroed) reads as zeroes. A device or an export keeps its size, which must
 * be enough. Rejects with `no-space`, and as `BlockNode.truncate`.
 */
export async function makeRoom(
  file: Child,
  size: number,
  zeroed: number,
  options: TruncateOptions = {},
): Promise<void> {
  // A file may end anywhere; what lies in a format is made of sectors.
  const room = fileOf(file.node) === null ? size : roundUp(size, SECTOR_BYTES);
  if (!file.node.fixedSize) return file.truncate(room, options);
  const { preallocation = 'off' } = options;
  if (preallocation !== 'off') {
    throw new BlockError('invalid-argument', `Unsupported preallocation mode '${preallocation}'`, {
      path: file.filename,
      operation: 'create',
    });
  }
  if (size > file.length) {
    // Whatever keeps its size says itself that it cannot grow.
    await file.truncate(room).catch((error: unknown) => {
      const reason = toBlockError(error);
      const isFixed = reason.code === 'unsupported' || reason.code === 'invalid-argument';
      throw isFixed ? reason.as('no-space', { operation: 'create' }) : reason;
    });
  }
  if (zeroed > 0) await file.writeZeroes(0, Math.min(zeroed, file.length));
}

/** Whether an image that was just made reads as zeroes. A raw one in a device or an export still has what was there. */
export function readsAsZeroes(made: BlockNode): boolean {
  return backingOf(made) === null && made.zeroWhenNew;
}

/** Writes and resizes while others may only read. */
const CREATION: OutsideUse = {
  user: { userName: 'image creation' },
  role: 'target',
  perm: Perm.CONSISTENT_READ | Perm.WRITE | Perm.RESIZE,
  shared: PERM_ALL & ~(Perm.WRITE | Perm.RESIZE),
};
