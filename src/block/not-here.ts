// What QEMU has and Diskwright has not yet: a person who names it is told so.

import { meantLine } from '../util/nearest.js';

const PROTOCOLS: ReadonlySet<string> = new Set([
  'ftp',
  'ftps',
  'gluster',
  'http',
  'https',
  'iscsi',
  'iser',
  'nfs',
  'nvme',
  'rbd',
  'ssh',
]);

/**
 * The line that follows the message about the unknown driver or format `name`, where there is something to say; `known` are those that are here. `isFormat`: it is
 * a format that is recognised.
 */
export function hintOnDriver(name: string, known: Iterable<string>, isFormat: boolean): string | undefined {
  const meant = meantLine(name, known);
  if (!isFormat) return hintOnProtocol(name) ?? meant;
  const why = hintOnFormat(name);
  return meant === undefined ? why : `${why} ${meant}`;
}

/** The same for a format that an image was recognised as: nobody has typed it. */
export function hintOnFormat(name: string): string {
  return `Diskwright does not have the format '${name}' yet; qemu-img converts it to qcow2 or raw, and back where it can write it.`;
}

/** The same for the protocol that a file name begins with. */
export function hintOnProtocol(name: string): string | undefined {
  if (!PROTOCOLS.has(name)) return undefined;
  return `Diskwright does not have the protocol '${name}' yet; nbdkit and qemu-nbd serve it as an NBD export.`;
}
