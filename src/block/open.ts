// Opening: from a file name or options to a node with all its children, in the graph.
//
//   'top.qcow2'  ->  { file: { driver: 'file', filename: 'top.qcow2' } }   parse
//                ->  file node  ->  probe  ->  format node                 openTree
//                ->  backing file that its header names, and so on down    attachBacking

import type { BlockdevOptions, BlockdevRefOrNull } from '../schema/generated/types.js';
import { type ImageOptions, isJsonFilename } from '../schema/options.js';
import { validate } from '../schema/validate.js';
import { bestEffort, orElse, reportUnforeseen } from '../util/best-effort.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { MAX_CHAIN_DEPTH } from './chain.js';
import { parseFilename, parseProtocolName, protocolOf, resolveBackingNameOf } from './filename.js';
import { BACKING_PERM, BACKING_SHARED, type Graph } from './graph.js';
import { fileId, refuseFileOf } from './identity.js';
import type { BlockNode } from './node.js';
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
  /** Somebody looks at the image and copies nothing: others may write to the backing files, as far as their formats allow. */
  onlyLooks?: boolean;
}

/** What a node has from its parent, unless its own options say otherwise. */
interface Inherited {
  apartFrom: readonly BlockNode[];
  onlyLooks: boolean;
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
  image: string | ImageOptions,
  options: OpenOptions & InnerOpenOptions = {},
): Promise<BlockNode> {
  const parsed = typeof image === 'string' ? await withFormat(graph, image, options.format) : image;
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
  });
}

/** Options of a file name. A plain path to a device is driven by `host_device`. */
async function withFormat(graph: Graph, filename: string, format: string | undefined): Promise<ImageOptions> {
  const definition = format === undefined ? undefined : findDriver(format);
  if (definition?.kind === 'protocol') {
    return validate('BlockdevOptions', { ...parseProtocolName(filename), driver: definition.name });
  }
  const parsed = parseFilename(filename);
  if (!isJsonFilename(filename) && 'file' in parsed && typeof parsed.file === 'object' && 'filename' in parsed.file) {
    parsed.file = { ...parsed.file, driver: await protocolFor(graph, parsed.file.filename) };
  }
  if (definition === undefined) return parsed;
  if (parsed.driver === undefined) return validate('BlockdevOptions', { ...parsed, driver: definition.name });
  if (parsed.driver === definition.name) return parsed;
  throw new BlockError('invalid-argument', `Driver specified twice: '${definition.name}' and '${parsed.driver}'`, {
    path: filename,
  });
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

async function openTree(graph: Graph, options: ImageOptions, inherited: Inherited): Promise<BlockNode> {
  const settings = settle(graph, options, inherited);
  let file: BlockNode | null = null;
  let node: BlockNode | null = null;
  try {
    if ('file' in options) file = await openRef(graph, options.file, fileOptions(settings));
    if (file !== null && file.file === null) await refuseFileOf(settings.apartFrom, file);
    const definition = findDriver(options.driver ?? (await probe(file!)));
    if (definition.kind === 'protocol' && file !== null) throw noImageFormat(definition.name);
    node = await definition.open({
      graph,
      node: {
        nodeName: settings.nodeName ?? graph.makeName(),
        readOnly: settings.readOnly,
        detectZeroes: settings.detectZeroes,
        discard: settings.discard,
      },
      options: { ...options, driver: definition.name } as BlockdevOptions,
      file,
      probed: options.driver === undefined,
      withBacking: settings.backing,
      cache: { direct: settings.direct, noFlush: settings.noFlush },
      forceShare: settings.forceShare,
      autoReadOnly: settings.autoReadOnly,
    });
    graph.add(node);
    if (definition.hasBacking) await attachBacking(graph, node, options, settings);
    return node;
  } catch (error) {
    // Best effort: what the caller must learn is why it could not be opened.
    if (node !== null) await graph.release(node).catch(bestEffort('closing after a failed open'));
    if (file !== null) await graph.release(file).catch(bestEffort('closing after a failed open'));
    throw toBlockError(error, { operation: 'open' });
  }
}

/** A child: a node that is there, or a new one. */
async function openRef(graph: Graph, ref: string | ImageOptions, inherited: Inherited): Promise<BlockNode> {
  if (typeof ref === 'string') {
    const node = graph.nodes.get(ref);
    if (node !== undefined) return node;
    throw new BlockError('not-found', `Cannot find device='${ref}' nor node-name='${ref}'`);
  }
  return openTree(graph, ref, inherited);
}

/** A node's own options over what it inherits. Throws `invalid-argument`, `exists`. */
function settle(graph: Graph, options: ImageOptions, inherited: Inherited): Inherited {
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
    throw new BlockError('unsupported', `${file.filename}: image format '${format}' is not supported`, {
      path: file.filename,
      operation: 'open',
      cause,
    });
  }
}

function noImageFormat(name: string): BlockError {
  return new BlockError('invalid-argument', `'${name}' is a protocol and cannot have a file below it`);
}

/** Opens and links the backing node of a fresh `node`: what its options say, otherwise what its header says. */
async function attachBacking(graph: Graph, node: BlockNode, options: ImageOptions, settings: Inherited): Promise<void> {
  if (!settings.backing) return;
  const given: BlockdevRefOrNull | undefined = 'backing' in options ? options.backing : undefined;
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
    backing =
      given === undefined
        ? await openReferenced(graph, node, node.backingFile!, inherited)
        : await openRef(graph, given, inherited);
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
      BACKING_PERM,
      settings.forceShare || settings.onlyLooks ? PERM_ALL : BACKING_SHARED,
    );
  } catch (error) {
    await graph.release(backing).catch(bestEffort('closing after a failed open'));
    throw error;
  }
}

/** Opens the image that the header of `node` names, if the graph's gate lets it. */
async function openReferenced(
  graph: Graph,
  node: BlockNode,
  reference: string,
  inherited: Inherited,
): Promise<BlockNode> {
  const name = resolveBackingNameOf(node, reference);
  const image = await withFormat(graph, name, node.backingFormat ?? undefined);
  if (graph.gate !== null) {
    const referrer = await realPath(graph, leafNames(parseFilename(node.filename))[0] ?? node.filename);
    for (const target of leafNames(image)) graph.gate.check(await realPath(graph, target), referrer);
  }
  return openTree(graph, image, inherited);
}

/** Everything outside that options name: files by their path, exports by their URI, nodes of the graph by their name. */
function leafNames(options: ImageOptions): string[] {
  if (options.driver !== undefined) {
    const name = findDriver(options.driver).names?.format?.(options);
    if (name !== undefined) return [name];
  }
  const names: string[] = [];
  for (const child of ['file' in options ? options.file : null, 'backing' in options ? options.backing : null]) {
    if (typeof child === 'string') names.push(child);
    else if (child !== null && child !== undefined) names.push(...leafNames(child));
  }
  return names;
}

/** As far as it exists: what does not is refused when it is opened. What is no path stays as it is. */
async function realPath(graph: Graph, path: string): Promise<string> {
  return protocolOf(path) !== null ? path : graph.host.realPath(path).catch(orElse('open', path));
}
