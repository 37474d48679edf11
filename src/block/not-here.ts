// What QEMU has and Diskwright has not yet: a person who names it is told so.

import { meantLine } from '../util/nearest.js';

const PROTOCOLS: ReadonlySet<string> = new Set(['ftp', 'ftps', 'gluster', 'iscsi', 'iser', 'nfs', 'nvme', 'rbd']);

/** The line that follows the message about the unknown driver `name`, where there is something to say; `known` are those that are here. */
export function hintOnDriver(name: string, known: Iterable<string>): string | undefined {
  return hintOnProtocol(name) ?? meantLine(name, known);
}

/** The same for the protocol that a file name begins with. */
export function hintOnProtocol(name: string): string | undefined {
  if (!PROTOCOLS.has(name)) return undefined;
  return `Diskwright does not have the protocol '${name}' yet; nbdkit and qemu-nbd serve it as an NBD export.`;
}
