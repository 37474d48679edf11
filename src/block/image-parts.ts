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
  const known = [{ called: 'the image itself', at: path, id: (await statOrNull(host, path))?.id }];
  for (const { what, path: at } of parts) {
    const id = (await statOrNull(host, at))?.id;
    const same = known.find(
      (one) => host.absolute(one.at) === host.absolute(at) || (id !== undefined && one.id === id),
    );
    if (same !== undefined) throw cannotBe(what, same.called, path);
    if (backing !== undefined && id !== undefined && (await idOfFile(host, backing)) === id) {
      throw cannotBe(what, 'its backing file', path);
    }
    known.push({ called: 'another part of it', at, id });
  }
}

function cannotBe(what: string, other: string, path: string): BlockError {
  return BlockError.at(path, 'invalid-argument', `The ${what} of an image cannot be ${other}`, { operation: 'create' });
}
