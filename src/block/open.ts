// Opening: from a file name or options to a node with all its children, in the graph.
//
//   'top.qcow2'  ->  { file: { driver: 'file', filename: 'top.qcow2' } }   parse
//                ->  file node  ->  probe  ->  format node                 openTree
//                ->  backing file that its header names, and so on down    attachBacking

import { type LooseChild, LooseOptions } from '../schema/loose-options.js';
import { type ImageOptions, isJsonFilename } from '../schema/options.js';
import { bestEffort, reportUnforeseen } from '../util/best-effort.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { fileOf, MAX_CHAIN_DEPTH } from './chain.js';
import { parseFilename, parseProtocolName, resolveBackingNameOf } from './filename.js';
import { checkReference, type Referrer, referrerOf } from './foreign-name.js';
import { BACKING_PERM, BACKING_SHARED, type Graph } from './graph.js';
import { fileId, refuseFileOf } from './identity.js';
import type { BlockNode } from './node/node.js';
import { probeFormat, readHead } from './probe.js';
import { findDriver } from './registry.js';
import { PERM_ALL } from './types.js';

export interface OpenOptions {
  /** Name of the driver; left out: found out. Only with a file name. */
  format?: string;
  /** What follows holds where the options themselves do not say otherwise. */
  nodeName?: string;
  readOnly?: boolean;
  autoReadOnly?: boolean;
  forceShare?: boolean;
  cache?: { direct?: boolean; noFlush?: boolean };
  discard?: 'ignore' | 'unmap';
  detectZeroes?: 'off' | 'on' | 'unmap';
  /** Open what the header names as backing file (default). `false` looks at this image alone. */
  backing?: boolean;
}

/** What only the callers within the house say. */
export interface InnerOpenOptions {
  /** Images that are read meanwhile: the image's own file must be none of theirs, or it is refused before it is looked into. */
  apartFrom?: readonly BlockNode[];
  /** The name is not the user's: it stands in this image. */
  referrer?: Referrer;
  /** Somebody looks at the image and copies nothing: others may write to the backing files, as far as their formats allow. */
  onlyLooks?: boolean;
}

/** What a node has from its parent, unless its own options say otherwise. */
interface Inherited {
  apartFrom: readonly BlockNode[];
  onlyLooks: boolean;
  /** The image whose header says what is opened; null where the user does. */
  referrer: Referrer | null;
  readOnly: boolean;
  autoReadOnly: boolean;
  forceShare: boolean;
  direct: boolean;
  noFlush: boolean;
  discard: 'ignore' | 'unmap';
  detectZeroes: 'off' | 'on' | 'unmap';
  nodeName?: string;
  backing: boolean;
  /** Files (device and inode) of the overlays above. */
  above: readonly string[];
}

/**
 * Opens an image by file name (`disk.img`, `file:disk.img`, `json:{...}`) or by options and adds its nodes to the graph. Nobody uses the
 * node yet: attach a device or a job, or give it back with `graph.release`. Where it rejects, nothing stays open. Rejects with
 * `not-found`, `permission`, `locked`, `read-only`, `invalid-argument`, `unknown-option`, `unsupported`, `invalid-image`, `loop`, `limit`,
 * `exists` (node name).
 */
export async function openNode(
  graph: Graph,
  image: string | ImageOptions | LooseOptions,
  options: OpenOptions & InnerOpenOptions = {},
): Promise<BlockNode> {
  let parsed: LooseOptions;
  if (typeof image === 'string') parsed = await withFormat(graph, image, options.format);
  else parsed = image instanceof LooseOptions ? image : new LooseOptions({ ...image }, {});
  if (options.referrer !== undefined) parsed = await checkReference(graph, parsed, options.referrer);
  return openTree(graph, parsed, {
    readOnly: options.readOnly ?? false,
    autoReadOnly: options.autoReadOnly ?? false,
    forceShare: options.forceShare ?? false,
    direct: options.cache?.direct ?? false,
    noFlush: options.cache?.noFlush ?? false,
    discard: options.discard ?? 'ignore',
    detectZeroes: options.detectZeroes ?? 'off',
    nodeName: options.nodeName,
    backing: options.backing ?? true,
    above: [],
    apartFrom: options.apartFrom ?? [],
    onlyLooks: options.onlyLooks ?? false,
    referrer: options.referrer ?? null,
  });
}

/** Options of a file name; `format` counts more than what options in JSON say. A plain path to a device is driven by `host_device`. */
async function withFormat(graph: Graph, filename: string, format: string | undefined): Promise<LooseOptions> {
  const definition = format === undefined ? undefined : findDriver(format);
  if (isJsonFilename(filename)) {
    const parsed = parseFilename(filename);
    return definition === undefined ? parsed : parsed.as(definition.name);
  }
  const file = parseProtocolName(filename);
  if (definition?.kind === 'protocol') return new LooseOptions({ ...file, driver: definition.name }, {});
  if ('filename' in file) file.driver = await protocolFor(graph, file.filename);
  return new LooseOptions({ ...(definition !== undefined && { driver: definition.name }), file }, {});
}

async function protocolFor(graph: Graph, path: string): Promise<'file' | 'host_device'> {
  try {
    const { kind } = await graph.host.stat(path);
    return kind === 'block' || kind === 'character' ? 'host_device' : 'file';
  } catch (error) {
    reportUnforeseen('open', error);
    // Opening it says what is wrong.
    return 'file';
  }
}

async function openTree(graph: Graph, options: LooseOptions, inherited: Inherited): Promise<BlockNode> {
  const settings = settle(graph, options.general(), inherited);
  let file: BlockNode | null = null;
  let node: BlockNode | null = null;
  try {
    file = await openFile(graph, options, settings);
    if (file !== null && fileOf(file) === null) await refuseFileOf(settings.apartFrom, file);
    const definition = findDriver(options.driver ?? (await probe(needFile(file))));
    const own = options.asOptionsOf(definition);
    if (definition.kind === 'protocol' && file !== null) throw noImageFormat(definition.name);
    node = await definition.open({
      graph,
      node: {
        nodeName: settings.nodeName ?? graph.makeName(),
        readOnly: settings.readOnly,
        detectZeroes: settings.detectZeroes,
        discard: settings.discard,
      },
      options: own,
      file,
      probed: options.driver === undefined,
      withBacking: settings.backing,
      cache: { direct: settings.direct, noFlush: settings.noFlush },
      forceShare: settings.forceShare,
      autoReadOnly: settings.autoReadOnly,
      referrer: settings.referrer,
    });
    graph.add(node);
    if (definition.hasBacking) await attachBacking(graph, node, options.backing, settings);
    return node;
  } catch (error) {
    // Best effort: what the caller must learn is why it could not be opened.
    if (node !== null) await graph.release(node).catch(bestEffort('closing after a failed open'));
    if (file !== null) await graph.release(file).catch(bestEffort('closing after a failed open'));
    throw toBlockError(error, { operation: 'open' });
  }
}

/** The `file` child; where nothing says what drives it, its name does, which must be a path then. */
async function openFile(graph: Graph, options: LooseOptions, settings: Inherited): Promise<BlockNode | null> {
  const { driver, file } = options;
  if (file === undefined || file === null) return null;
  // A driver that is not known is said before its file is looked at.
  if (driver !== undefined) findDriver(driver);
  if (typeof file === 'string') return findRef(graph, file);
  if (file.driver !== undefined) return openTree(graph, file, fileOptions(settings));
  if (file.filename === null) throw noImage();
  return openTree(graph, file.as(await protocolFor(graph, file.filename)), fileOptions(settings));
}

function noImage(): BlockError {
  return new BlockError('invalid-argument', 'Must specify either driver or file');
}

function needFile(file: BlockNode | null): BlockNode {
  if (file === null) throw noImage();
  return file;
}

/** A node that is there. */
function findRef(graph: Graph, name: string): BlockNode {
  const node = graph.nodes.get(name);
  if (node !== undefined) return node;
  throw new BlockError('not-found', `Cannot find device='${name}' nor node-name='${name}'`);
}

/** A node's own options over what it inherits. Throws `invalid-argument`, `exists`. */
function settle(graph: Graph, options: ReturnType<LooseOptions['general']>, inherited: Inherited): Inherited {
  const settings: Inherited = {
    ...inherited,
    nodeName: options['node-name'] ?? inherited.nodeName,
    readOnly: options['read-only'] ?? inherited.readOnly,
    autoReadOnly: options['auto-read-only'] ?? inherited.autoReadOnly,
    forceShare: options['force-share'] ?? inherited.forceShare,
    direct: options.cache?.direct ?? inherited.direct,
    noFlush: options.cache?.['no-flush'] ?? inherited.noFlush,
    discard: options.discard ?? inherited.discard,
    detectZeroes: options['detect-zeroes'] ?? inherited.detectZeroes,
  };
  if (settings.forceShare && !settings.readOnly) {
    throw new BlockError('invalid-argument', 'force-share=on can only be used with read-only images');
  }
  if (settings.detectZeroes === 'unmap' && settings.discard !== 'unmap') {
    throw new BlockError(
      'invalid-argument',
      'setting detect-zeroes to unmap is not allowed without setting discard operation to unmap',
    );
  }
  const name = settings.nodeName;
  if (name === undefined) return settings;
  checkNodeName(name);
  if (graph.nodes.has(name)) throw new BlockError('exists', `Duplicate nodes with node-name='${name}'`);
  return settings;
}

/** Refuses with `invalid-argument` what cannot be the name of a node. */
export function checkNodeName(name: string): void {
  if (/^[A-Za-z][A-Za-z0-9._-]{0,30}$/.test(name)) return;
  throw new BlockError('invalid-argument', `Invalid node-name: '${name}'`);
}

/** What the `file` of a format inherits. A format passes on only the discards and zeroes that it means, so these are let through. */
function fileOptions(settings: Inherited): Inherited {
  return { ...settings, nodeName: undefined, discard: 'unmap', detectZeroes: 'off' };
}

/** What a backing node inherits: it is read-only until a job needs to write it. The zeroes of a commit may then be holes there. */
function backingOptions(settings: Inherited, above: readonly string[]): Inherited {
  return {
    ...settings,
    nodeName: undefined,
    readOnly: true,
    autoReadOnly: false,
    discard: 'unmap',
    detectZeroes: 'off',
    above,
    apartFrom: [],
  };
}

async function probe(file: BlockNode): Promise<string> {
  const format = probeFormat(await readHead(file), file.filename);
  try {
    return findDriver(format).name;
  } catch (cause) {
    throw BlockError.at(file.filename, 'unsupported', `image format '${format}' is not supported`, {
      operation: 'open',
      cause,
    });
  }
}

function noImageFormat(name: string): BlockError {
  return new BlockError('invalid-argument', `'${name}' is a protocol and cannot have a file below it`);
}

/** Opens and links the backing node of a fresh `node`: what its options say, otherwise what its header says. */
async function attachBacking(graph: Graph, node: BlockNode, given: LooseChild, settings: Inherited): Promise<void> {
  if (!settings.backing) {
    if (given instanceof LooseOptions && given.isText) throw given.unexpected(node.driver, 'backing');
    return;
  }
  if (given === '') graph.warn('warning: Use of "backing": "" is deprecated; use "backing": null instead');
  if (given === null || given === '' || (given === undefined && node.backingFile === null)) return;
  const own = await fileId(node);
  if (own !== null && settings.above.includes(own)) {
    throw new BlockError('loop', `Backing file '${node.filename}' creates an infinite loop.`, { path: node.filename });
  }
  const above = own === null ? settings.above : [...settings.above, own];
  const inherited = backingOptions(settings, above);
  let backing: BlockNode;
  try {
    if (above.length >= MAX_CHAIN_DEPTH) {
      throw new BlockError('limit', `Backing chain of more than ${MAX_CHAIN_DEPTH} images`, { path: node.filename });
    }
    backing = typeof given === 'string' ? findRef(graph, given) : await openBacking(graph, node, given, inherited);
  } catch (error) {
    const { code, message, path } = toBlockError(error);
    throw new BlockError(code, `Could not open backing file: ${message}`, {
      path: path ?? node.backingFile ?? node.filename,
      operation: 'open',
      cause: error,
    });
  }
  try {
    node.setChild(
      'backing',
      backing,
      'cow',
      BACKING_PERM,
      settings.forceShare || settings.onlyLooks ? PERM_ALL : BACKING_SHARED,
    );
  } catch (error) {
    await graph.release(backing).catch(bestEffort('closing after a failed open'));
    throw error;
  }
}

/**
 * Opens what `given` says; what it leaves out is as the header of `node` has it. What the header names is opened if it is something that
 * images may name and the graph's gate lets it.
 */
async function openBacking(
  graph: Graph,
  node: BlockNode,
  given: LooseOptions | undefined,
  inherited: Inherited,
): Promise<BlockNode> {
  const { backingFile, backingFormat } = node;
  if (given?.file !== undefined || (given !== undefined && given.filename !== null) || backingFile === null) {
    if (given === undefined) throw noImage();
    return openTree(graph, backingFormat === null ? given : given.over({ driver: backingFormat }), inherited);
  }
  const name = resolveBackingNameOf(node, backingFile);
  const referrer = await referrerOf(node);
  const format = given?.driver ?? backingFormat ?? undefined;
  const named = await checkReference(graph, await withFormat(graph, name, format), referrer);
  return openTree(graph, given === undefined ? named : given.over(named.members), { ...inherited, referrer });
}
