// Names of images: a protocol in front (`file:disk.img`), options in JSON, and names relative to another image.

import type { BlockdevOptions } from '../schema/generated/types.js';
import { LooseOptions } from '../schema/loose-options.js';
import { formatJsonFilename, isJsonFilename, parseJsonFilename } from '../schema/options.js';
import { BlockError } from '../util/errors.js';
import { fileOf } from './chain.js';
import type { BlockNode } from './node/node.js';
import { hintOnProtocol } from './not-here.js';
import { type DriverNames, defaultDriver, findDriver, namesWithPrefix } from './registry.js';

/** What comes before the first colon, if that comes before any slash; null for a plain path. */
export function protocolOf(filename: string): string | null {
  return /^([^/:]*):/.exec(filename)?.[1] ?? null;
}

/** It names a file: no export, no options in JSON. */
export function isPath(filename: string): boolean {
  return protocolOf(filename) === null;
}

/**
 * Options of the node that a file name means, its format left to be found out. A path counts from the current directory. Throws
 * `invalid-argument`, with QEMU's words, where the name has a protocol that is not known.
 */
export function parseFilename(filename: string): LooseOptions {
  if (isJsonFilename(filename)) return parseJsonFilename(filename);
  return new LooseOptions({ file: parseProtocolName(filename) }, {});
}

/** The path that a name of a file leads to; a name of another protocol is returned as it is. */
export function pathOfName(filename: string): string {
  const target = parseProtocolName(filename);
  return 'filename' in target ? target.filename : filename;
}

/** Options of the protocol node alone that a plain file name means; the driver is that of files also where it is a device. */
export function parseProtocolName(filename: string): BlockdevOptions {
  return namesOf(filename).parse(filename);
}

function namesOf(filename: string): DriverNames {
  const protocol = protocolOf(filename);
  const names = protocol === null ? defaultDriver('path').names : namesWithPrefix(protocol);
  if (names !== undefined) return names;
  throw new BlockError('invalid-argument', `Unknown protocol '${protocol}'`, {
    path: filename,
    hint: hintOnProtocol(protocol!),
  });
}

/**
 * The name by which the backing file of an image called `filename` is opened: a relative one counts from the image's folder.
 * Throws `invalid-argument` where the image has no folder.
 */
export function resolveBackingName(filename: string, backingFile: string): string {
  if (backingFile.startsWith('/') || protocolOf(backingFile) !== null) return backingFile;
  if (isJsonFilename(filename)) {
    throw new BlockError('invalid-argument', `Cannot use relative backing file names for '${filename}'`, {
      path: filename,
    });
  }
  const path = filename.startsWith('file:') ? filename.slice('file:'.length) : filename;
  const full = path.slice(0, path.lastIndexOf('/') + 1) + backingFile;
  // A folder's name may look like a protocol.
  return protocolOf(full) === null ? full : `./${full}`;
}

/** The same for an image that is open: it has the folder of the file that it lies in, however it was opened. */
export function resolveBackingNameOf(image: BlockNode, backingFile: string): string {
  let node = image;
  for (let file = fileOf(node); isJsonFilename(node.filename) && file !== null; file = fileOf(node)) node = file;
  return resolveBackingName(node.filename, backingFile);
}

/** A node of a protocol that options name. */
export interface Leaf {
  driver: string;
  /** Where that is a file. */
  filename: string | null;
  /** What messages and gates call it: a path, a URI, or the driver where it reaches nothing outside. */
  name: string;
}

/** The nodes of protocols that options name, from left to right; those that are named by a reference are not among them. */
export function leafOptions(options: LooseOptions): Leaf[] {
  const { driver, filename } = options;
  const definition = driver === undefined ? undefined : findDriver(driver);
  if (definition?.kind === 'protocol') {
    const name = definition.names?.format?.(options.asOptionsOf(definition)) ?? definition.name;
    return [{ driver: definition.name, filename, name }];
  }
  const leaves: Leaf[] = filename === null ? [] : [{ driver: defaultDriver('path').name, filename, name: filename }];
  for (const child of options.children()) if (child instanceof LooseOptions) leaves.push(...leafOptions(child));
  return leaves;
}

/**
 * Name of a format node: its file's name, where opening that by `format` without options gives this node again, otherwise options in
 * JSON with `own`, the options that change the content.
 */
export function formatNodeName(driver: string, own: Record<string, unknown>, file: BlockNode): string {
  const options = Object.entries(own).filter(([, value]) => value !== undefined);
  if (options.length === 0 && file.kind !== 'format' && !isJsonFilename(file.filename)) return file.filename;
  return formatJsonFilename({ driver, ...Object.fromEntries(options), file: nameAsOptions(file) });
}

/** The name by which `node` is opened again from the current folder: what it is called, unless that would be read as something else. */
export function openingName(node: BlockNode): string {
  const file = fileOf(node);
  if (file !== null && node.filename === file.filename) return openingName(file);
  const isPath = node.kind === 'protocol' && node.hostFile() !== null;
  return isPath && protocolOf(node.filename) !== null ? `file:${node.filename}` : node.filename;
}

/** Options that open `node` again, but for what changes nothing of its content. */
export function nameAsOptions(node: BlockNode): object {
  // A path is no name: it may look like a protocol or like JSON.
  if (node.kind === 'protocol' && node.hostFile() !== null) return { driver: node.driver, filename: node.filename };
  if (isJsonFilename(node.filename)) return parseJsonFilename(node.filename).members;
  const file = fileOf(node);
  if (node.kind === 'filter' && file !== null) {
    return file.filename === node.filename ? nameAsOptions(file) : parseProtocolName(node.filename);
  }
  if (node.kind === 'protocol') return { ...parseProtocolName(node.filename), driver: node.driver };
  return { driver: node.driver, ...fileAsOptions(node) };
}

/** The member `file` of such options; none of a protocol. */
export function fileAsOptions(node: BlockNode): { file?: object } {
  const file = fileOf(node);
  return file === null ? {} : { file: nameAsOptions(file) };
}
