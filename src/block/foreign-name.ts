// Names that stand in images, of backing files. Whoever made the image chose them: they are followed to images only, and by the graph's gate.
//
//   before anything is opened        drivers and options                     imageOptions
//   each file or export of these     what the name leads to by now           openForeign
//     while it is opened             kind and file system of the open file   checkOpened
//     once it is open                whatever the gate looks at              gate.ts
//
// What is open is what counts: a name may have come to mean something else. The look before that keeps devices from being opened, which
// does something to some of them.

import type { HostFile } from '../host/host.js';
import { isSetName } from '../host/passed-descriptors.js';
import { type LooseChild, LooseOptions } from '../schema/loose-options.js';
import { integer, type Shape, takeSettings } from '../schema/shape.js';
import { bestEffort, reportUnforeseen } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import { storageOf } from './chain.js';
import { type Leaf, leafOptions } from './filename.js';
import { type ImageReference, type OpenedReference, type ReferenceSource, type Referrer, refusal } from './gate.js';
import type { Graph } from './graph.js';
import type { BlockNode } from './node/node.js';
import { allDrivers, knownDriver } from './registry.js';

/** `image` as what names its child `child`. */
export async function referrerOf(image: BlockNode, child: string): Promise<Referrer> {
  return { path: await placeOf(image), child };
}

/** Real path of the file that `image` is stored in, or what the lowest node is called. */
async function placeOf(image: BlockNode): Promise<string> {
  const bottom = storageOf(image);
  const file = bottom.hostFile();
  return file === null ? bottom.filename : (await file.origin()).path;
}

/**
 * Opens the node of a protocol that an image names, by the graph's gate where there is one; `open` opens it by its name, or from a descriptor that
 * the gate hands in. Rejects with `permission` where the name leads to no image, and as the gate and `open` do.
 */
export async function openForeign(
  graph: Graph,
  leaf: Leaf,
  use: { referrer: Referrer; readOnly: boolean },
  open: (descriptor?: number) => Promise<BlockNode>,
): Promise<BlockNode> {
  const { path, child } = use.referrer;
  if (leaf.filename !== null && isSetName(leaf.filename)) {
    throw refusal(leaf.name, path, 'descriptors of this program are not for images');
  }
  const kind = await kindOfTarget(graph, leaf, path);
  if (graph.gate === null) return open();
  const target = leaf.filename === null ? leaf.name : await realPathIfAny(graph, leaf.filename);
  const reference = { referrer: path, child, driver: leaf.driver, target, kind, readOnly: use.readOnly };
  const opened = new Map<OpenedReference, BlockNode>();
  let taken: BlockNode | undefined;
  let decided = false;
  try {
    const result = await graph.gate.open(reference, async (given = {}) => {
      if (decided) throw gateHasEnded();
      const { fd } = takeSettings(SOURCE, given, 'source');
      const node = await open(fd);
      try {
        const found = await foundAt(node, leaf);
        if (decided) throw gateHasEnded();
        opened.set(found, node);
        return found;
      } catch (error) {
        await node.close().catch(bestEffort('closing what a gate did not take'));
        throw error;
      }
    });
    taken = opened.get(result);
    if (taken !== undefined) return taken;
    throw new BlockError('invalid-argument', 'OpenGate.open must resolve to what the function open resolved to');
  } finally {
    decided = true;
    for (const node of opened.values()) {
      if (node !== taken) await node.close().catch(bestEffort('closing what a gate refused'));
    }
  }
}

async function foundAt(node: BlockNode, leaf: Leaf): Promise<OpenedReference> {
  const file = node.hostFile();
  if (file === null) return { target: leaf.name, kind: 'export' };
  return { target: (await file.origin()).path, kind: file.kind === 'block' ? 'device' : 'file' };
}

const SOURCE: Shape<ReferenceSource> = { fd: integer(0, 2 ** 31 - 1) };

function gateHasEnded(): BlockError {
  return new BlockError('bad-state', 'OpenGate.open has ended: what it was given opens nothing any more');
}

/** What the name leads to by now; what is not there is refused when it is opened. */
async function kindOfTarget(graph: Graph, { name, filename }: Leaf, referrer: string): Promise<ImageReference['kind']> {
  if (filename === null) return 'export';
  const { kind } = await graph.host.stat(filename).catch((error: unknown) => {
    reportUnforeseen('open', error);
    return { kind: 'file' } as const;
  });
  checkKind(kind, name, referrer);
  return kind === 'block' ? 'device' : 'file';
}

function realPathIfAny(graph: Graph, filename: string): Promise<string> {
  return graph.host.realPath(filename).catch((error: unknown) => {
    reportUnforeseen('open', error);
    return filename;
  });
}

/**
 * What is opened by options from an image: where they say that another image lies. How it is used is not the image's to say. Throws
 * `permission` where they name no image, or ask for what is this program's, `invalid-argument`, `unknown-option`.
 */
export function imageOptions(named: LooseOptions, referrer: string): LooseOptions {
  const options = named.without(withDrivers('use', USE));
  checkOptions(options, withDrivers('place', PLACE), referrer);
  for (const { driver, name } of leafOptions(options)) {
    if (!knownDriver(driver)?.followed) throw refusal(name, referrer, `an image cannot refer to '${driver}'`);
  }
  return options;
}

/** Refuses with `permission` a file that was opened because an image names it. */
export async function checkOpened(file: HostFile, { path }: Referrer): Promise<void> {
  checkKind(file.kind, file.path, path);
  const { ordinary } = await file.origin();
  if (!ordinary) throw refusal(file.path, path, 'it is no file of a disk');
}

function checkKind(kind: string, name: string, referrer: string): void {
  if (kind !== 'file' && kind !== 'block') throw refusal(name, referrer, 'it is neither a file nor a block device');
}

/** What an image may say of another, whatever drives that: where it lies. */
const PLACE = ['driver', 'file', 'backing'];

/**
 * How an image is used: caches, speed, safety. QEMU writes some of it into names, and does as they say; here the user's own settings hold for what an
 * image names, so that none of it can make a base unsafe, and none keeps it from being opened.
 */
const USE = ['read-only', 'auto-read-only', 'force-share', 'discard', 'detect-zeroes', 'cache'];

/** `general`, and the options of all drivers that are of this kind: where none is named, the driver is not known yet. */
function withDrivers(kind: 'place' | 'use', general: readonly string[]): ReadonlySet<string> {
  return new Set([...general, ...[...allDrivers()].flatMap(({ foreignOptions }) => foreignOptions?.[kind] ?? [])]);
}

/** Objects, nodes and descriptors of this program are its user's, as is what nobody knows. */
function checkOptions(options: LooseOptions, allowed: ReadonlySet<string>, referrer: string): void {
  const { members } = options;
  const refuse = (option: string): never => {
    throw refusal(calledAs(options), referrer, `an image cannot ask for ${option}`);
  };
  for (const [name, value] of Object.entries(members)) {
    if (allowed.has(name) || value === undefined) continue;
    refuse(typeof value === 'object' ? name : `${name}=${value}`);
  }
  const { server } = members;
  if (typeof server === 'object' && server !== null && 'type' in server && server.type === 'fd') {
    refuse('server.type=fd');
  }
  for (const child of options.children()) {
    if (child instanceof LooseOptions) checkOptions(child, allowed, referrer);
    else if (typeof child === 'string' && child !== '') {
      throw refusal(child, referrer, 'a node of this program is not for images');
    }
  }
}

/** What messages call it: its file, or what drives it where it is in none. */
function calledAs(options: LooseOptions): string {
  for (let at: LooseChild = options; at instanceof LooseOptions; at = at.file) {
    if (at.filename !== null) return at.filename;
  }
  return options.driver ?? 'json:';
}
