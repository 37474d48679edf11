// Opening: from a file name or options to a node with all its children, in the graph.
//
//   'top.qcow2'  ->  { file: { driver: 'file', filename: 'top.qcow2' } }   parse
//                ->  file node  ->  probe  ->  the driver's `open`         openLevel
//                ->  the driver opens the children that it has: what the options say, or the header names      Children

import type { BlockdevDetectZeroesOptions, BlockdevDiscardOptions, BlockdevDriver } from '../schema/generated/types.js';
import { type LooseChild, LooseOptions, missingChild, missingImage } from '../schema/loose-options.js';
import { type ImageOptions, isJsonFilename } from '../schema/options.js';
import { bestEffort, reportUnforeseen } from '../util/best-effort.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { messageInWords } from '../util/system-words.js';
import { fileOf, MAX_CHAIN_DEPTH } from './chain.js';
import { leafOptions, parseFilename, parseProtocolName, pathOfName, resolveBackingNameOf } from './filename.js';
import { imageOptions, openForeign, referrerOf } from './foreign-name.js';
import { type Referrer, refusal } from './gate.js';
import type { Graph } from './graph.js';
import { fileId, refuseFileOf, statOrNull } from './identity.js';
import type { SnapshotKey } from './internal-snapshots.js';
import type { NodeLinks } from './node/links.js';
import type { BlockNode } from './node/node.js';
import { type NodeSettings, settle } from './node-settings.js';
import { probeFormat, readFirstSector } from './probe.js';
import {
  allDrivers,
  type DriverDefinition,
  defaultDriver,
  findDriver,
  type HeaderReference,
  knownDriver,
  type OpenRequest,
  type SalvageOrder,
} from './registry.js';
import { type NodeRole, ROLES } from './roles.js';
import { showSnapshot } from './snapshots-of.js';
import { openUnchanged } from './stale.js';

export interface OpenOptions {
  /** Name of the driver; left out: found out. Only with a file name. */
  format?: string;
  /** What follows holds where the options themselves do not say otherwise. */
  nodeName?: string;
  readOnly?: boolean;
  autoReadOnly?: boolean;
  forceShare?: boolean;
  cache?: { direct?: boolean; noFlush?: boolean };
  discard?: BlockdevDiscardOptions;
  detectZeroes?: BlockdevDetectZeroesOptions;
  /** Shows an internal snapshot of the image, with its own size, in place of the disk. The image must be opened read-only. */
  snapshot?: SnapshotKey;
  /** Open what the header names as backing file (default). `false` looks at this image alone. */
  backing?: boolean;
}

/** What only the callers within the house say. */
export interface InnerOpenOptions {
  /** Images that are read meanwhile: the image's own file must be none of theirs, or it is refused before it is looked into. */
  apartFrom?: readonly BlockNode[];
  /** Members of the options that hold where these do not say otherwise: see `DriverDefinition.openWith`. */
  defaults?: Readonly<Record<string, unknown>>;
  /** The name is not the user's: it is from this image. */
  referrer?: Referrer;
  /** Nothing is read of the disk, in any image of the chain: see `OpenRequest.onlyHeader`. What is opened is read-only. */
  onlyHeader?: boolean;
  /** To be repaired: see `OpenRequest.forRepair`. */
  forRepair?: boolean;
  /** To be salvaged: see `OpenRequest.salvage`. What is opened is read-only. */
  salvage?: SalvageOrder;
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
  if (typeof image === 'string') parsed = await optionsOfName(graph, image, options.format);
  else parsed = image instanceof LooseOptions ? image : new LooseOptions({ ...image }, {});
  if (options.referrer !== undefined) parsed = imageOptions(parsed, options.referrer.path);
  if (options.defaults !== undefined) parsed = parsed.over(options.defaults);
  const node = await openTree(graph, parsed, {
    readOnly: options.readOnly ?? false,
    autoReadOnly: options.autoReadOnly ?? false,
    forceShare: options.forceShare ?? false,
    direct: options.cache?.direct ?? false,
    noFlush: options.cache?.noFlush ?? false,
    discard: options.discard ?? 'ignore',
    detectZeroes: options.detectZeroes ?? 'off',
    nodeName: options.nodeName,
    backing: options.backing ?? true,
    onlyHeader: options.onlyHeader ?? false,
    forRepair: options.forRepair ?? false,
    salvage: options.salvage ?? null,
    above: [],
    apartFrom: options.apartFrom ?? [],
    referrer: options.referrer ?? null,
  });
  if (options.snapshot === undefined) return node;
  try {
    await showSnapshot(node, options.snapshot);
    return node;
  } catch (error) {
    await graph.release(node).catch(bestEffort('closing after a failed open'));
    throw error;
  }
}

/** Options of a file name; `format` counts more than what options in JSON say. A plain path to a device has a driver of its own. */
export async function optionsOfName(graph: Graph, filename: string, format: string | undefined): Promise<LooseOptions> {
  const definition = format === undefined ? undefined : findDriver(format);
  if (isJsonFilename(filename)) {
    const parsed = parseFilename(filename);
    return definition === undefined ? parsed : parsed.as(definition.name);
  }
  if (definition?.kind === 'protocol') {
    const named = definition.names?.parse(filename) ?? parseProtocolName(filename);
    return new LooseOptions({ ...named, driver: definition.name }, {});
  }
  const file = parseProtocolName(filename);
  if ('filename' in file) Object.assign(file, { driver: await protocolFor(graph, file.filename) });
  return new LooseOptions({ ...(definition !== undefined && { driver: definition.name }), file }, {});
}

async function protocolFor(graph: Graph, path: string): Promise<BlockdevDriver> {
  try {
    const { kind } = await graph.host.stat(path);
    return defaultDriver(kind === 'block' || kind === 'character' ? 'device' : 'path').name;
  } catch (error) {
    reportUnforeseen('open', error);
    // Opening it says what is wrong.
    return defaultDriver('path').name;
  }
}

function openTree(graph: Graph, options: LooseOptions, inherited: NodeSettings): Promise<BlockNode> {
  return openUnchanged(() => openTreeOnce(graph, options, inherited));
}

async function openTreeOnce(graph: Graph, options: LooseOptions, inherited: NodeSettings): Promise<BlockNode> {
  const settings = settle(options.general(), inherited);
  const { nodeName } = settings;
  if (nodeName !== undefined) graph.reserveName(nodeName);
  const children = new Children(graph, options, settings);
  let unfinished: NodeLinks | null = null;
  const made = (node: NodeLinks): void => {
    unfinished = node;
  };
  try {
    const node = await openLevel(graph, options, settings, children, made);
    graph.add(node);
    node.opening = { options, settings, heirOf: null };
    children.becomeHeirsOf(node);
    return node;
  } catch (error) {
    (unfinished as NodeLinks | null)?.abandon();
    await children.release();
    throw toBlockError(error, { operation: 'open' });
  } finally {
    if (nodeName !== undefined) graph.freeName(nodeName);
  }
}

/** One node. Its file is opened before its options are looked at: where these name no driver, the file's content does. */
async function openLevel(
  graph: Graph,
  options: LooseOptions,
  settings: NodeSettings,
  children: Children,
  made: (node: NodeLinks) => void,
): Promise<BlockNode> {
  const file = await children.openFile();
  const { definition, hasHeader } =
    settings.salvage === null
      ? { definition: findDriver(options.driver ?? (await probe(needFile(file)))), hasHeader: true }
      : await salvager(options.driver, needFile(file));
  const complete = file === null || !hasHeader ? undefined : definition.complete;
  const own = (complete === undefined ? options : await complete(options, file!)).asOptionsOf(definition);
  const { referrer } = settings;
  if (definition.kind === 'protocol' && file !== null) throw noImageFormat(definition.name);
  const request: OpenRequest = {
    graph,
    node: {
      nodeName: settings.nodeName ?? graph.makeName(),
      readOnly: settings.readOnly,
      detectZeroes: settings.detectZeroes,
      discard: settings.discard,
      cache: { direct: settings.direct, noFlush: settings.noFlush },
      made,
      forceShare: settings.forceShare,
    },
    options: own,
    openChild: children.open.bind(children),
    probed: options.driver === undefined,
    onlyHeader: settings.readOnly && (settings.onlyHeader || !settings.backing),
    forRepair: settings.forRepair,
    salvage: settings.salvage,
    use: { readOnly: settings.readOnly, forceShare: settings.forceShare },
    autoReadOnly: settings.autoReadOnly,
    referrer,
  };
  if (definition.kind !== 'protocol' || referrer === null) return definition.open(request);
  const [leaf] = leafOptions(options);
  return openForeign(graph, leaf, { referrer, readOnly: settings.readOnly }, (descriptor) => {
    if (descriptor === undefined || definition.takesDescriptors) return definition.open({ ...request, descriptor });
    throw new BlockError('invalid-argument', `'${definition.name}' cannot be opened from a file descriptor`);
  });
}

/** The children of a node that is being opened. Where that fails, they are closed. */
class Children {
  readonly #graph: Graph;
  readonly #options: LooseOptions;
  readonly #settings: NodeSettings;
  readonly #opened = new Map<string, BlockNode>();
  /** Of `#opened`, those that were not there before. */
  readonly #heirs = new Set<BlockNode>();

  constructor(graph: Graph, options: LooseOptions, settings: NodeSettings) {
    this.#graph = graph;
    this.#options = options;
    this.#settings = settings;
  }

  /** `file`, the child that everything but a protocol has; null where the options have none. */
  async openFile(): Promise<BlockNode | null> {
    const { driver } = this.#options;
    const given = this.#options.child('file');
    if (given === undefined || given === null) return null;
    // A driver that is not known is said before its file is looked at.
    const kind = driver === undefined ? 'format' : findDriver(driver).kind;
    const file = await this.#openGiven('file', given, kind === 'filter' ? 'filtered' : 'image');
    if (fileOf(file) === null) await refuseFileOf(this.#settings.apartFrom, file);
    return file;
  }

  /** `OpenRequest.openChild`. */
  open(name: string, header: null, role: NodeRole): Promise<BlockNode>;
  open(name: string, header: HeaderReference, role: NodeRole): Promise<BlockNode | null>;
  async open(name: string, header: HeaderReference | null, role: NodeRole): Promise<BlockNode | null> {
    const opened = this.#opened.get(name);
    if (opened !== undefined) return opened;
    const given = this.#options.child(name);
    if (header !== null) return this.#openReferred(name, header, given, role);
    if (given !== undefined && given !== null) return this.#openGiven(name, given, role);
    throw missingChild(name);
  }

  /** Where nothing says what drives it, its name does, which must be a path then. */
  async #openGiven(name: string, given: string | LooseOptions, role: NodeRole): Promise<BlockNode> {
    const inherited = this.#inherited(role);
    let node: BlockNode;
    if (typeof given === 'string') node = findRef(this.#graph, given);
    else if (given.driver !== undefined) node = await openTree(this.#graph, given, inherited);
    else if (given.filename === null) throw missingImage();
    else node = await openTree(this.#graph, given.as(await protocolFor(this.#graph, given.filename)), inherited);
    this.#keep(name, node, given);
    return node;
  }

  #keep(name: string, node: BlockNode, given: LooseChild): void {
    this.#opened.set(name, node);
    if (typeof given !== 'string') this.#heirs.add(node);
  }

  /** What the header names, or the options say in its place. */
  async #openReferred(
    name: string,
    header: HeaderReference,
    given: LooseChild,
    role: NodeRole,
  ): Promise<BlockNode | null> {
    const { image, filename } = header;
    const settings = this.#settings;
    if (role !== 'cow') return this.#openPart(name, header, given, role);
    if (!settings.backing) {
      if (given instanceof LooseOptions && given.isText) throw given.unexpected(image.driver, name);
      return null;
    }
    if (given === '') {
      this.#graph.warn(`warning: Use of "${name}": "" is deprecated; use "${name}": null instead`);
    }
    if (given === null || given === '' || (given === undefined && filename === null)) return null;
    const own = await fileId(image);
    if (own !== null && settings.above.includes(own)) {
      throw new BlockError('loop', `Backing file '${image.filename}' creates an infinite loop.`, {
        path: image.filename,
      });
    }
    const above = own === null ? settings.above : [...settings.above, own];
    const inherited = { ...this.#inherited(role), above, apartFrom: [] };
    try {
      if (above.length >= MAX_CHAIN_DEPTH) {
        throw new BlockError('limit', `Backing chain of more than ${MAX_CHAIN_DEPTH} images`, { path: image.filename });
      }
      const node =
        typeof given === 'string'
          ? findRef(this.#graph, given)
          : await openReference(this.#graph, name, header, given, inherited);
      this.#keep(name, node, given);
      return node;
    } catch (error) {
      const failure = toBlockError(error);
      throw new BlockError(failure.code, `Could not open backing file: ${messageInWords(failure)}`, {
        path: failure.path ?? filename ?? image.filename,
        operation: 'open',
        cause: error,
      });
    }
  }

  /** A file that the image itself is stored in, beside `file`; null where neither the options nor the header have one. */
  async #openPart(name: string, header: HeaderReference, given: LooseChild, role: NodeRole): Promise<BlockNode | null> {
    if (given !== undefined && given !== null) return this.#openGiven(name, given, role);
    if (given === null || header.filename === null) return null;
    try {
      const node = await openNamedPart(this.#graph, name, header, this.#inherited(role));
      this.#keep(name, node, undefined);
      return node;
    } catch (error) {
      const failure = toBlockError(error);
      throw new BlockError(failure.code, `Could not open ${name}: ${messageInWords(failure)}`, {
        path: failure.path ?? header.filename,
        operation: 'open',
        cause: error,
      });
    }
  }

  #inherited(role: NodeRole): NodeSettings {
    const own = { nodeName: undefined, forRepair: false, salvage: null };
    return { ...this.#settings, ...ROLES[role].inherit(this.#settings), ...own };
  }

  /** Those that were opened here, within the options of `node`, inherit options from it. */
  becomeHeirsOf(node: BlockNode): void {
    for (const { opening } of this.#heirs) if (opening !== null) opening.heirOf = node;
  }

  /** Closes what nobody uses. Best effort: what the caller must learn is why it could not be opened. */
  async release(): Promise<void> {
    for (const node of this.#opened.values()) {
      await this.#graph.release(node).catch(bestEffort('closing after a failed open'));
    }
  }
}

function needFile(file: BlockNode | null): BlockNode {
  if (file === null) throw missingImage();
  return file;
}

/** An existing node. */
function findRef(graph: Graph, name: string): BlockNode {
  const node = graph.lookUp(name);
  if (node !== undefined) return node;
  throw new BlockError('not-found', `Cannot find device='${name}' nor node-name='${name}'`);
}

async function probe(file: BlockNode): Promise<string> {
  return probeFormat(await readFirstSector(file), file.filename);
}

/**
 * The driver that salvages the image in `file`: the one that is named, or that its first sector says; where that says nothing, or cannot be read, the one that
 * salvages images. `hasHeader`: the first sector says so, too. Throws `unsupported`.
 */
async function salvager(
  named: string | undefined,
  file: BlockNode,
): Promise<{ definition: DriverDefinition; hasHeader: boolean }> {
  const anything = defaultDriver('window').name;
  let found: string = anything;
  try {
    found = probeFormat(await readFirstSector(file), file.filename);
  } catch (error) {
    bestEffort('probing a damaged image')(error);
  }
  const name = named ?? found;
  const definition =
    named === undefined && found === anything
      ? [...allDrivers()].find(({ salvages }) => salvages)
      : (knownDriver(name) ?? undefined);
  if (definition?.salvages) return { definition, hasHeader: found === definition.name };
  throw BlockError.at(file.filename, 'unsupported', `Images of the format '${name}' cannot be salvaged`, {
    operation: 'salvage',
  });
}

function noImageFormat(name: string): BlockError {
  return new BlockError('invalid-argument', `'${name}' is a protocol and cannot have a file below it`);
}

/**
 * Opens a file that the header names and that is a part of the image. It is never looked into to find a format: its bytes are the content. A name that is
 * options in JSON is refused with `permission`, as of a stranger: none is ever written. A relative name counts from the folder of the image; where nothing
 * is there, from the current one, as QEMU writes such names.
 */
async function openNamedPart(
  graph: Graph,
  child: string,
  { image, filename }: HeaderReference,
  inherited: NodeSettings,
): Promise<BlockNode> {
  const referrer = await referrerOf(image, child);
  if (isJsonFilename(filename!)) throw refusal(filename!, referrer.path, `options cannot name a ${child}`);
  const besides = resolveBackingNameOf(image, filename!);
  const isThere = (await statOrNull(graph.host, pathOfName(besides))) !== null;
  const file = parseProtocolName(isThere ? besides : filename!);
  if ('filename' in file) Object.assign(file, { driver: await protocolFor(graph, file.filename) });
  return openTree(graph, imageOptions(new LooseOptions({ ...file }, {}), referrer.path), { ...inherited, referrer });
}

/**
 * Opens what `given` says; what it leaves out is as the header has it. What the header names is opened if it is something
 * that images may name, and by the graph's gate.
 */
async function openReference(
  graph: Graph,
  child: string,
  { image, filename, format }: HeaderReference,
  given: LooseOptions | undefined,
  inherited: NodeSettings,
): Promise<BlockNode> {
  if (given?.file !== undefined || (given !== undefined && given.filename !== null) || filename === null) {
    if (given === undefined) throw missingImage();
    return openTree(graph, format === null ? given : given.over({ driver: format }), inherited);
  }
  const name = resolveBackingNameOf(image, filename);
  const referrer = await referrerOf(image, child);
  const options = await optionsOfName(graph, name, given?.driver ?? format ?? undefined);
  const checked = imageOptions(options, referrer.path);
  return openTree(graph, given === undefined ? checked : given.over(checked.members), { ...inherited, referrer });
}
