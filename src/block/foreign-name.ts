// Names that stand in images, of backing files. Whoever made the image chose them: they are followed to images only, and where the graph's
// gate lets them.
//
//   before anything is opened   drivers, options, what the name leads to by now    checkReference
//   on the open file            kind, file system, real path                       checkOpened
//
// The second is what counts: between the two a name may have come to mean something else. The first keeps devices from being opened, which
// does something to some of them.

import type { HostFile } from '../host/host.js';
import { type LooseChild, LooseOptions } from '../schema/loose-options.js';
import { reportUnforeseen } from '../util/best-effort.js';
import { storageOf } from './chain.js';
import { leafOptions } from './filename.js';
import { type Referrer, refusal } from './gate.js';
import type { Graph } from './graph.js';
import type { BlockNode } from './node/node.js';
import { knownDriver } from './registry.js';

export async function referrerOf(image: BlockNode): Promise<Referrer> {
  const bottom = storageOf(image);
  const file = bottom.hostFile();
  return { path: file === null ? bottom.filename : (await file.origin()).path };
}

/**
 * What is opened by options from an image: where they say that another image lies. How it is used is not the image's to say. Rejects with
 * `permission` where they lead to no image, or ask for what is this program's.
 */
export async function checkReference(graph: Graph, named: LooseOptions, { path }: Referrer): Promise<LooseOptions> {
  const options = imageOptions(named, path);
  for (const leaf of leafOptions(options)) {
    const { name, filename } = leaf;
    if (filename === null) {
      graph.gate?.check(name, path);
      continue;
    }
    const { kind } = await graph.host.stat(filename).catch((error: unknown) => {
      // What is not there is refused when it is opened.
      reportUnforeseen('open', error);
      return { kind: 'file' } as const;
    });
    checkKind(graph, kind, name, path);
    const target = await graph.host.realPath(filename).catch((error: unknown) => {
      reportUnforeseen('open', error);
      return filename;
    });
    graph.gate?.check(target, path);
  }
  return options;
}

/** The same of options alone: nothing is asked of the host. Throws `permission`, `invalid-argument`, `unknown-option`. */
export function imageOptions(named: LooseOptions, referrer: string): LooseOptions {
  const options = named.without(USE);
  checkOptions(options, referrer);
  for (const { driver, name } of leafOptions(options)) {
    if (!knownDriver(driver)?.followed) throw refusal(name, referrer, `an image cannot refer to '${driver}'`);
  }
  return options;
}

/** Refuses with `permission` a file that was opened because an image names it. */
export async function checkOpened(graph: Graph, file: HostFile, { path }: Referrer): Promise<void> {
  checkKind(graph, file.kind, file.path, path);
  const origin = await file.origin();
  if (!origin.ordinary) throw refusal(file.path, path, 'it is no file of a disk');
  graph.gate?.check(origin.path, path);
}

function checkKind(graph: Graph, kind: string, name: string, referrer: string): void {
  if (kind === 'block' && graph.gate?.plainFilesOnly === true) throw refusal(name, referrer, 'it is a device');
  if (kind !== 'file' && kind !== 'block') throw refusal(name, referrer, 'it is neither a file nor a block device');
}

/** What an image may say of another: where it lies, and which part of it counts. */
const ALLOWED: ReadonlySet<string> = new Set([
  'driver',
  'file',
  'backing',
  'filename',
  'offset',
  'size',
  'server',
  'host',
  'port',
  'path',
  'export',
]);

/**
 * How an image is used: caches, speed, safety. QEMU writes some of it into names, and does as they say; here the user's own settings hold for what an
 * image names, so that none of it can make a base unsafe, and none keeps it from being opened.
 */
const USE: ReadonlySet<string> = new Set([
  'read-only',
  'auto-read-only',
  'force-share',
  'discard',
  'detect-zeroes',
  'cache',
  'locking',
  'aio',
  'aio-max-batch',
  'drop-cache',
  'x-check-cache-dropped',
  'lazy-refcounts',
  'pass-discard-request',
  'pass-discard-snapshot',
  'pass-discard-other',
  'discard-no-unref',
  'overlap-check',
  'cache-size',
  'l2-cache-size',
  'l2-cache-entry-size',
  'refcount-cache-size',
  'cache-clean-interval',
  'reconnect-delay',
  'open-timeout',
  'latency-ns',
  'read-zeroes',
]);

/** Objects, nodes and descriptors of this program are its user's, as is what nobody knows. */
function checkOptions(options: LooseOptions, referrer: string): void {
  const { members } = options;
  const refuse = (option: string): never => {
    throw refusal(calledAs(options), referrer, `an image cannot ask for ${option}`);
  };
  for (const [name, value] of Object.entries(members)) {
    if (ALLOWED.has(name) || value === undefined) continue;
    refuse(typeof value === 'object' ? name : `${name}=${value}`);
  }
  const { server } = members;
  if (typeof server === 'object' && server !== null && 'type' in server && server.type === 'fd') {
    refuse('server.type=fd');
  }
  for (const child of [options.file, options.backing]) {
    if (child instanceof LooseOptions) checkOptions(child, referrer);
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
