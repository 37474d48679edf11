// The name of a backing file for an overlay's header. A name is written only after it was read back: parsed as whoever opens the overlay
// parses it, it must lead to the very file (device and inode) or export that it stands for. The first spelling that does is taken:
//
//   as asked for, or as another header has it     base.qcow2
//   as the base was opened                        /disks/base.qcow2   nbd://host/disk   json:{...}
//   from the overlay's folder                     base.qcow2          ../base.qcow2
//   the same, where it looks like a protocol      ./b:1
//   absolute, links resolved                      /disks/b:1
//   as options, their paths absolute              json:{"driver": "qcow2", "file": {...}}

import { basename, dirname, join, relative } from 'node:path';
import type { Host } from '../host/host.js';
import { formatJsonFilename, isJsonFilename, parseJsonFilename } from '../schema/options.js';
import { orElse } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import { printable } from '../util/foreign-text.js';
import { nameLength } from '../util/name-bytes.js';
import { fileOf, skipFilters, storageOf } from './chain.js';
import { fileAsOptions, leafOptions, openingName, parseFilename, protocolOf, resolveBackingName } from './filename.js';
import { imageOptions } from './foreign-name.js';
import type { Referrer } from './gate.js';
import { fileId } from './identity.js';
import type { BlockNode } from './node/node.js';

/** What fits into any header of the formats that have one. */
export const MAX_BACKING_NAME_BYTES = 1023;

const WHERE = 'name of a backing file';

/** Spellings that are tried first. */
export interface NameWishes {
  /** What somebody asked for: this name, or none. */
  asked?: string;
  /** What another header has; another spelling is as good. */
  recorded?: string | null;
}

/** The format that a header has beside the name of `base`. */
export function backingFormatFor(base: BlockNode): string {
  return skipFilters(base).driver;
}

/**
 * The name for the header of the image `overlay` (its file name, also where it is still to be made) by which `over` is found again: of a filter, the
 * image below it, since a header names images. Rejects with `invalid-argument` where there is none, all are too long, or the one that was asked for
 * leads elsewhere.
 */
export async function backingNameFor(overlay: string, over: BlockNode, wishes: NameWishes = {}): Promise<string> {
  const base = skipFilters(over);
  const wanted = await fileId(base);
  if (wanted === null) return nameOfNowhere(overlay, base, wishes.asked);
  const leads = (name: string): Promise<boolean> => leadsTo(base, overlay, name, wanted);
  const { asked } = wishes;
  if (asked !== undefined) {
    if (await leads(asked)) return checkedLength(asked, overlay);
    throw refused(
      overlay,
      `The backing file name '${printable(asked)}' would not lead to '${printable(base.filename)}'`,
    );
  }
  let tooLong = false;
  for await (const name of spellings(overlay, base, wishes.recorded ?? null)) {
    if (!(await leads(name))) continue;
    if (nameLength(name) <= MAX_BACKING_NAME_BYTES) return name;
    tooLong = true;
  }
  if (tooLong) throw refused(overlay, 'Backing file name too long');
  throw refused(overlay, `No backing file name leads to '${printable(base.filename)}' from there`);
}

/**
 * Nothing outside of this process: there is nothing to be found. Its own name is written as it is, also where an image that has it would not be
 * opened by that; another one must at least be an image's to say.
 */
function nameOfNowhere(overlay: string, base: BlockNode, asked: string | undefined): string {
  const name = asked ?? base.filename;
  const full = resolved(overlay, name);
  if (name === base.filename || (full !== null && opensFrom(overlay, full))) return checkedLength(name, overlay);
  throw refused(overlay, `An image cannot have '${printable(name)}' as its backing file`);
}

/** The file that a name in the header of `filename`, which may still have to be made, is relative to. Its folder's links are resolved. */
export async function referrerToBe(host: Host, filename: string): Promise<Referrer> {
  const path = host.absolute(pathOf(filename) ?? filename);
  const file = await real(host, path);
  if (file !== null) return { path: file, child: 'backing' };
  const folder = await real(host, dirname(path));
  return { path: folder === null ? path : join(folder, basename(path)), child: 'backing' };
}

/**
 * Refuses with `invalid-argument` an overlay `filename` that would be its own backing file: by `name` it reaches itself. What `name` does not
 * reach yet is for whoever opens it.
 */
export async function refuseItself(host: Host, filename: string, name: string): Promise<void> {
  const own = await idOfFile(host, filename);
  if (own === null || (await idOfFile(host, resolved(filename, name) ?? '')) !== own) return;
  throw new BlockError(
    'invalid-argument',
    'Error: Trying to create an image with the same filename as the backing file',
    { path: filename, operation: 'create' },
  );
}

function checkedLength(name: string, overlay: string): string {
  if (nameLength(name) <= MAX_BACKING_NAME_BYTES) return name;
  throw refused(overlay, 'Backing file name too long');
}

function refused(overlay: string, message: string): BlockError {
  return BlockError.at(overlay, 'invalid-argument', message, { operation: 'name backing file' });
}

/** Each is made when the ones before it do not do: most of them ask the host. */
async function* spellings(overlay: string, base: BlockNode, recorded: string | null): AsyncGenerator<string> {
  if (recorded !== null) yield recorded;
  const { host } = base;
  const filename = openingName(base);
  if (!isJsonFilename(filename)) {
    const path = pathOf(filename);
    if (path === null || path.startsWith('/')) yield path ?? filename;
    if (path !== null) {
      const own = pathOf(overlay);
      if (own !== null) yield* fromFolder(dirname(own), path);
      const [folder, file] = [await realFolder(host, own), await real(host, path)];
      if (file !== null) {
        if (folder !== null) yield* fromFolder(folder, file);
        yield file;
      }
    }
  }
  const options = isJsonFilename(filename)
    ? parseJsonFilename(filename).members
    : { driver: base.driver, ...fileAsOptions(base) };
  yield formatJsonFilename(await absolute(host, options));
}

/** The path behind `file:`, or the name itself; null for another protocol. */
function pathOf(filename: string): string | null {
  if (filename.startsWith('file:')) return filename.slice('file:'.length);
  return protocolOf(filename) === null ? filename : null;
}

function fromFolder(folder: string, path: string): string[] {
  // One of them from the root, one from here: there is no way that holds.
  if (folder.startsWith('/') !== path.startsWith('/')) return [];
  const name = relative(folder, path);
  return [name, `./${name}`];
}

/** Null where it is not there: the other spellings do. */
function real(host: Host, path: string): Promise<string | null> {
  return host.realPath(path).catch(orElse(WHERE, null));
}

async function realFolder(host: Host, overlay: string | null): Promise<string | null> {
  if (overlay === null) return null;
  const file = await real(host, overlay);
  return file === null ? real(host, dirname(overlay)) : dirname(file);
}

/** `options` with all paths absolute: in JSON a relative one counts from the current folder, whatever that is then. */
async function absolute(host: Host, options: object): Promise<object> {
  const members: [string, unknown][] = [];
  for (const [key, value] of Object.entries(options)) {
    if (typeof value === 'object' && value !== null) members.push([key, await absolute(host, value)]);
    else if (key === 'filename' && typeof value === 'string') members.push([key, (await real(host, value)) ?? value]);
    else members.push([key, value]);
  }
  return Object.fromEntries(members);
}

/** Does `name` in the header of `overlay` lead to `base`, also where the overlay is reached by its real path? */
async function leadsTo(base: BlockNode, overlay: string, name: string, wanted: string): Promise<boolean> {
  const { host } = base;
  const places = [overlay];
  const own = pathOf(overlay);
  // What counts from no folder is the same from everywhere.
  if (own !== null && !name.startsWith('/') && protocolOf(name) === null) {
    const file = await real(host, own);
    const folder = file === null ? await real(host, dirname(own)) : null;
    const place = file ?? (folder === null ? null : `${folder}/${own.slice(own.lastIndexOf('/') + 1)}`);
    if (place !== null) places.push(place);
  }
  for (const place of places) {
    const full = resolved(place, name);
    if (full === null || !fitsDriver(full, base) || !opensFrom(place, full)) return false;
    if ((await idOfName(base, full)) !== wanted) return false;
  }
  return true;
}

/** Null where it cannot be read. */
function resolved(overlay: string, name: string): string | null {
  try {
    const full = resolveBackingName(overlay, name);
    parseFilename(full);
    return full;
  } catch (error) {
    if (error instanceof BlockError && error.code !== 'internal') return null;
    throw error;
  }
}

/** An image may say this. */
function opensFrom(overlay: string, full: string): boolean {
  try {
    imageOptions(parseFilename(full), overlay);
    return true;
  } catch (error) {
    if (error instanceof BlockError && error.code !== 'internal') return false;
    throw error;
  }
}

/** A header has the format beside the name: a name that has one, too, must agree. One that has none says nothing of options, or of a format within the format. */
function fitsDriver(full: string, base: BlockNode): boolean {
  const { driver } = parseFilename(full);
  if (driver !== undefined) return driver === base.driver;
  const file = fileOf(base);
  if (file === null) return true;
  const hasOptions = isJsonFilename(base.filename) && !isJsonFilename(file.filename);
  return !hasOptions && skipFilters(file).kind !== 'format';
}

/** What `fileId` says of a node that is opened by this name. */
async function idOfName(base: BlockNode, full: string): Promise<string | null> {
  const leaves = leafOptions(parseFilename(full));
  if (leaves.length !== 1) return null;
  const [leaf] = leaves;
  if (leaf.filename !== null) return idOfPath(base.host, leaf.filename);
  const bottom = storageOf(base);
  // An export is the same one where it has the same name.
  const same = leaf.driver === bottom.driver && leaf.name === bottom.filename;
  return same ? fileId(base) : null;
}

/** Device and inode of the file that an image of this name lies in; null where it lies in none, or in none that exists. */
export async function idOfFile(host: Host, name: string): Promise<string | null> {
  if (name === '') return null;
  const leaves = leafOptions(parseFilename(name));
  const [leaf] = leaves;
  if (leaves.length !== 1 || leaf.filename === null) return null;
  return idOfPath(host, leaf.filename);
}

function idOfPath(host: Host, path: string): Promise<string | null> {
  return host.stat(path).then(({ id }) => id, orElse(WHERE, null));
}
