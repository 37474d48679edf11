// Opens an image for the commands: what `open` and the command line say of it.

import type { BlockNode } from '../../block/node/node.js';
import { openNode, optionsOfName } from '../../block/open.js';
import type { Host } from '../../host/host.js';
import type { BlockdevDiscardOptions } from '../../schema/generated/types.js';
import { flatten, type Scalar, unflatten } from '../../schema/keyval.js';
import { LooseOptions, missingImage } from '../../schema/loose-options.js';
import { parseImageOptions } from '../../schema/options.js';
import { bestEffort } from '../../util/best-effort.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { systemWordsOf } from '../../util/system-words.js';
import { addCopyOnRead, ExercisedDisk } from '../../workspace/exercised-disk.js';
import { AIO_ENGINES, CACHE_MODES, type CacheMode, DISCARD_MODES, NATIVE_NEEDS_DIRECT } from '../arguments.js';
import { reportError, withPrintableNames } from '../output.js';
import { reasonOf, type Session } from '../session.js';
import { addOverlay } from '../temporary-overlay.js';

export interface OpenWish {
  path?: string;
  /** The path is a string of options. */
  imageOpts?: boolean;
  format?: string;
  /** Options of the driver, by their dotted names. */
  options: ReadonlyMap<string, string>;
  readOnly: boolean;
  /** Writes go to a temporary overlay. */
  forgets: boolean;
  copyOnRead: boolean;
  forceShare: boolean;
  cache: CacheMode;
  discard: BlockdevDiscardOptions;
  /** A mode of `-i`; null: any. */
  aio: string | null;
}

export const checkCache = (text: string): number | null => check('cache', CACHE_MODES, text);
export const checkDiscard = (text: string): number | null => check('discard', DISCARD_MODES, text);
export const checkAio = (text: string): number | null => check('aio', AIO_ENGINES, text);

/** Null after a word that is not `known` was reported. */
function check(what: string, known: object, text: string): number | null {
  if (Object.hasOwn(known, text)) return 0;
  reportError(`Invalid ${what} option: ${text}`);
  return null;
}

/** What the options say, by their letters; their arguments are checked. */
export function wishOf(
  options: Iterable<readonly [string, string]>,
  driverOptions: ReadonlyMap<string, string>,
): OpenWish {
  const wish: OpenWish = {
    options: driverOptions,
    readOnly: false,
    forgets: false,
    copyOnRead: false,
    forceShare: false,
    cache: CACHE_MODES['writeback'],
    discard: 'unmap',
    aio: null,
  };
  for (const [letter, argument] of options) {
    if (letter === 'r') wish.readOnly = true;
    else if (letter === 's') wish.forgets = true;
    else if (letter === 'C') wish.copyOnRead = true;
    else if (letter === 'U') wish.forceShare = true;
    else if (letter === 'n') wish.cache = CACHE_MODES['none'];
    else if (letter === 'k') wish.aio = 'native';
    else if (letter === 't') wish.cache = CACHE_MODES[argument];
    else if (letter === 'd') wish.discard = DISCARD_MODES[argument];
    else if (letter === 'i') wish.aio = argument;
  }
  return wish;
}

/** Opens it. Rejects in the words of qemu-io. */
export async function openDisk(session: Session, wish: OpenWish): Promise<ExercisedDisk> {
  const { path } = wish;
  try {
    checkTogether(session.host, wish);
    const image = await openImage(session, wish);
    return await asDisk(wish, image, wish.copyOnRead ? await addCopyOnRead(image) : image);
  } catch (error) {
    const failure = toBlockError(error);
    if (failure.code === 'internal') throw error;
    const what = path === undefined || wish.imageOpts ? "can't open" : `can't open device ${path}`;
    throw new BlockError(failure.code, `${what}: ${reasonFor(failure)}`, { path, operation: 'open', cause: error });
  }
}

function reasonFor(error: BlockError): string {
  const { path, operation } = error;
  const words = systemWordsOf(error);
  // A file that the system does not open.
  if (words !== undefined && path !== undefined && operation === 'open') {
    return withPrintableNames(`Could not open '${path}': ${words}`, error);
  }
  return reasonOf(error);
}

function checkTogether({ engine }: Host, { readOnly, copyOnRead, aio, cache }: OpenWish): void {
  if (copyOnRead && readOnly) {
    throw new BlockError('read-only', "Can't use copy-on-read on read-only device");
  }
  if (aio === 'native' && !cache.direct) {
    throw new BlockError('invalid-argument', NATIVE_NEEDS_DIRECT);
  }
  // The whole host runs on one engine.
  if (aio !== null && AIO_ENGINES[aio] !== engine) {
    throw new BlockError(
      'unsupported',
      `aio=${aio} for one image is not supported yet: -i of the command line chooses it for all`,
    );
  }
}

async function openImage(session: Session, wish: OpenWish): Promise<BlockNode> {
  const { graph } = session;
  const { path, format, readOnly, forgets, cache, discard, forceShare } = wish;
  const options =
    path !== undefined && wish.imageOpts
      ? parseImageOptions(path)
      : await optionsFor(session, path, format, wish.options);
  const image = await openNode(graph, options, {
    readOnly: readOnly || forgets,
    cache,
    forceShare,
    ...(readOnly || forgets ? {} : { discard }),
  });
  if (!forgets) {
    if (!image.readOnly || readOnly) return image;
    await graph.release(image).catch(bestEffort('closing after a failure'));
    throw new BlockError('read-only', 'Block node is read-only');
  }
  try {
    return await addOverlay(session, image, { discard, cache, readOnly });
  } catch (error) {
    await graph.release(image).catch(bestEffort('closing after a failure'));
    throw error;
  }
}

async function optionsFor(
  { graph }: Session,
  path: string | undefined,
  format: string | undefined,
  given: ReadonlyMap<string, string>,
): Promise<LooseOptions> {
  const driver = format ?? given.get('driver');
  if (path === undefined) {
    if (given.size === 0) throw missingImage();
    return new LooseOptions(unflatten(given), { strings: true });
  }
  const named = await optionsOfName(graph, path, driver);
  if (given.size === 0) return named;
  const all = new Map<string, Scalar>([...flatten({ ...named.members }), ...given]);
  return new LooseOptions(unflatten(all), { strings: true });
}

async function asDisk(wish: OpenWish, image: BlockNode, root: BlockNode): Promise<ExercisedDisk> {
  try {
    return new ExercisedDisk(root, image, wish.cache.writethrough);
  } catch (error) {
    await root.graph.release(root).catch(bestEffort('closing after a failure'));
    throw error;
  }
}
