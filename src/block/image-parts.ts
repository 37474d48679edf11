// An image that lies in more than its file: its content, its header, or extents are parts of their own. What these are called is the driver's to say.

import type { Host } from '../host/host.js';
import type { BlockdevRef } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import { idOfFile } from './backing-name.js';
import type { Child } from './child.js';
import { fileId, statOrNull } from './identity.js';
import { findDriver } from './registry.js';

/** A node that an image is made of, beside its file. */
export interface ImagePart {
  /** That of the member that names it, `extents.0` in a list. */
  name: string;
  /** What messages call it. */
  what: string;
  ref: BlockdevRef;
}

/** The parts that the options of an image name. */
export function partsOf(options: { driver: string }): readonly ImagePart[] {
  return Object.entries(findDriver(options.driver).parts ?? {}).flatMap(([member, what]) => {
    const given = (options as unknown as Record<string, BlockdevRef | readonly BlockdevRef[] | undefined>)[member];
    if (given === undefined) return [];
    if (!Array.isArray(given)) return [{ name: member, what, ref: given as BlockdevRef }];
    return given.map((ref: BlockdevRef, index) => ({ name: `${member}.${index}`, what, ref }));
  });
}

/** A part of an image that is being made. */
export interface NewPart extends ImagePart {
  link: Child;
}

/** Each part needs a file of its own. Rejects with `invalid-argument`. */
export async function refuseSameFiles(image: Child | null, parts: readonly NewPart[]): Promise<void> {
  const ids = new Map<string, string>();
  const own = image === null ? null : await fileId(image.node);
  if (own !== null) ids.set(own, 'the image itself');
  for (const { what, link } of parts) {
    const id = await fileId(link.node);
    if (id === null) continue;
    const other = ids.get(id);
    if (other !== undefined) throw cannotBe(what, other, (image ?? link).filename);
    ids.set(id, 'another part of it');
  }
}

/** Refuses a part that is the image, its backing file, or another part, with `invalid-argument`. */
export async function refusePartsIn(
  host: Host,
  parts: readonly { what: string; path: string }[],
  path: string,
  backing: string | undefined,
): Promise<void> {
  const known = new Map<string, string>();
  const learn = (names: readonly string[], called: string): void => {
    for (const name of names) known.set(name, called);
  };
  // A path from the root, or device and inode: neither is ever taken for the other.
  const namesOf = (at: string, id: string | undefined) => [host.absolute(at), ...(id === undefined ? [] : [id])];
  learn(namesOf(path, (await statOrNull(host, path))?.id), 'the image itself');
  const below = backing === undefined || parts.length === 0 ? null : await idOfFile(host, backing);
  for (const { what, path: at } of parts) {
    const id = (await statOrNull(host, at))?.id;
    const names = namesOf(at, id);
    const same = names.map((name) => known.get(name)).find((called) => called !== undefined);
    if (same !== undefined) throw cannotBe(what, same, path);
    if (below !== null && id === below) throw cannotBe(what, 'its backing file', path);
    learn(names, 'another part of it');
  }
}

function cannotBe(what: string, other: string, path: string): BlockError {
  return BlockError.at(path, 'invalid-argument', `The ${what} of an image cannot be ${other}`, { operation: 'create' });
}
