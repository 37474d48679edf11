// The drivers, by name. A driver is one folder (or file) and one line in drivers/index.ts.

import type { Host } from '../host/host.js';
import type {
  BlockdevAmendOptions,
  BlockdevCreateOptions,
  BlockdevDriver,
  BlockdevOptions,
  BlockMeasureInfo,
  QCryptoBlockAmendOptions,
  QCryptoBlockAmendOptionsLUKS,
} from '../schema/generated/types.js';
import type { LevelDriver, LooseOptions } from '../schema/loose-options.js';
import type { BitTree } from '../util/bit-tree.js';
import { BlockError } from '../util/errors.js';
import { suggestion } from '../util/nearest.js';
import type { Child } from './child.js';
import type { CreateOption, CreateOptions } from './create-option.js';
import type { FindingWords } from './finding-words.js';
import type { Referrer } from './gate.js';
import type { Graph } from './graph.js';
import type { MeasureRequest } from './measure.js';
import type { BlockNode, NodeOptions } from './node/node.js';
import { hintOnDriver } from './not-here.js';
import type { NodeRole, NodeUse } from './roles.js';
import type { SalvageHints, SalvageLog } from './salvage.js';

/** What `open` of a driver gets. */
export interface OpenRequest<D extends BlockdevDriver = BlockdevDriver> {
  graph: Graph;
  /** For the node's constructor: defaults and what is inherited from the parent are in it already. */
  node: NodeOptions;
  /** The driver's own options, validated; do not look at the general ones there but in `node` and below. */
  options: Extract<BlockdevOptions, { driver: D }>;
  /** Opens a child: see `OpenChild`. The driver links it: `node.setChild(name, child, role, permissions)`. */
  openChild: OpenChild;
  /** The format was found out, not named. */
  probed: boolean;
  /** Somebody looks at what the header says, and reads nothing of the disk: no password is needed. */
  onlyHeader: boolean;
  /** What the needs of its children follow from: `ROLES.image.permissions(use)`. */
  use: NodeUse;
  /** It is opened to be repaired: what forbids other users to write does not count, and nothing is mended at once. */
  forRepair: boolean;
  /** It is damaged, and opened to be read as far as it can be: see `DriverDefinition.salvages`. Null: it is not. */
  salvage: SalvageOrder | null;
  /** Fall back to read-only where it cannot be written. */
  autoReadOnly: boolean;
  /** To be opened in place of the name: a file descriptor that the graph's gate hands in. Only of drivers with `takesDescriptors`. */
  descriptor?: number;
  /** The image that names what is opened; null where the user does. A protocol that reaches files looks at what it opened: `checkOpened`. */
  referrer: Referrer | null;
}

/** How an image is salvaged. */
export interface SalvageOrder {
  hints: SalvageHints;
  /** What is found goes there. */
  log: SalvageLog;
  /** Called while the image is looked through, before its first read; what it throws ends that. */
  onSurvey: (done: number, total: number) => void;
}

/**
 * Opens the child `name` of the node that is being opened, for `role`, which says what it inherits (`roles.ts`). What the options say of it
 * counts; what they leave out is as the header has it, where a header speaks of this child at all. Where the driver's `open` rejects, the child
 * is closed. Rejects as `openNode`.
 */
export interface OpenChild {
  /** A child that must be there. Rejects with `invalid-argument` where the options do not have it. */
  (name: string, header: null, role: NodeRole): Promise<BlockNode>;
  /**
   * One that the header may name. Resolves to null where there is none, and where somebody looks at this image alone. Rejects also with a
   * `permission` of the graph's gate, `loop` and `limit`.
   */
  (name: string, header: HeaderReference, role: NodeRole): Promise<BlockNode | null>;
}

/** What a header says of another image. */
export interface HeaderReference {
  /** The image whose header it is; a relative name counts from its folder. */
  image: BlockNode;
  /** As it is written there; null: none. */
  filename: string | null;
  format: string | null;
}

/** What `create` of a driver gets. */
export interface CreateRequest<D extends BlockdevDriver = BlockdevDriver> {
  graph: Graph;
  options: Extract<BlockdevCreateOptions, { driver: D }>;
  /** The link to the node that the image goes to, for writing and resizing; null for protocols, and where the options leave it out. */
  file: Child | null;
  /** The same to the nodes of its other parts that the options name (`DriverDefinition.parts`): by the name of the member, `extents.0` in a list. */
  parts: ReadonlyMap<string, Child>;
}

/** How file names stand for a node of a protocol. */
export interface DriverNames<D extends BlockdevDriver = BlockdevDriver> {
  /** What such names begin with, up to the first colon. */
  readonly prefixes: readonly string[];
  /** Throws `invalid-argument`. */
  parse(filename: string): Extract<BlockdevOptions, { driver: D }>;
  /** The name of what options reach outside of this process; left out where that is nothing. */
  format?(options: Extract<BlockdevOptions, { driver: D }>): string;
}

/** What an image holds that is written as a stream, by its units. */
export interface StreamedContent {
  /** Units with data. */
  readonly data: BitTree;
  /** Units that are marked as zeroes. */
  readonly zero: BitTree;
}

/** The data lies where it lies on the disk, zeroes between it. */
export interface StreamedInPlace {
  readonly kind: 'in-place';
}

/** The tables, then all units with data, one behind the other. */
export interface StreamedBehindTables {
  readonly kind: 'behind-tables';
  /** A unit can be marked as zeroes, over a backing file. */
  readonly marksZeroes: boolean;
  /** What stands before the data. */
  head(content: StreamedContent): Iterable<Uint8Array>;
}

/** Units with data, compressed, in the order of the disk, and tables behind what they point to. */
export interface StreamedPacked {
  readonly kind: 'packed';
  begin(host: Host): PackedStream;
}

/** One such image that is being written. The parts are written in the order in which they are given. */
export interface PackedStream {
  readonly head: Iterable<Uint8Array>;
  /** The most that a unit is compressed to. */
  readonly mostBytes: number;
  /** Compresses the unit with this number into `packed`, which has `mostBytes`; resolves with its length. Several may be under way. Rejects as the host's codecs. */
  pack(index: number, unit: Uint8Array, packed: Uint8Array): Promise<number>;
  /** What is written before the unit; then its `bytes` are. Units come in the order of their numbers. Throws `limit`. */
  add(index: number, bytes: number): Iterable<Uint8Array>;
  /** What is written behind the last unit. Throws `limit`. */
  end(): Iterable<Uint8Array>;
}

/** An image that is written from its first byte to its last, without going back. */
export interface StreamedImage {
  /** Bytes that hold data, or not, as a whole: a power of two. */
  readonly unit: number;
  /** Bytes of the disk. */
  readonly size: number;
  readonly layout: StreamedInPlace | StreamedBehindTables | StreamedPacked;
}

/**
 * Where a driver is used that nobody named:
 *
 *   path      a plain path to a file
 *   device    a plain path to a device
 *   overlay   an image that is made to take what is written over another, and the target of a job whose name says no format
 *   window    a part of another node, byte for byte
 */
export type DefaultUse = 'path' | 'device' | 'overlay' | 'window';

/**
 * What comes from a module of its own is a getter or a method: all definitions are made when a command starts, and in the command line's bundle a module
 * runs when something of it is used.
 */
export interface DriverDefinition<D extends BlockdevDriver = BlockdevDriver> {
  readonly name: D;
  readonly kind: 'protocol' | 'format' | 'filter';
  readonly names?: DriverNames<D>;
  /** What the names of its files end with, behind a dot. Default: the driver's name. */
  readonly suffixes?: readonly string[];
  /** It is used there where nobody names a driver. */
  readonly defaultFor?: DefaultUse;
  /** Of a protocol: what an image names by it is opened, as QEMU does. */
  readonly followed?: boolean;
  /**
   * Of the driver's options, those that may come with the name of an image in another one (`json:{...}`). `place` says where the named image lies, and
   * holds. `use` says how it is used, and is left out: there the user's own settings hold. An image that names any other option is refused.
   */
  readonly foreignOptions?: { readonly place?: readonly string[]; readonly use?: readonly string[] };
  /** Replaces options that have older names, or another form in text, by those of the schema, before they are checked. Throws `invalid-argument`. */
  readonly withoutOldOptions?: LevelDriver['withoutOldOptions'];
  /** Of a protocol: it opens a file descriptor in place of the name. */
  readonly takesDescriptors?: boolean;
  /** Of a protocol without `create`: an image can be made in what exists there (an export). */
  readonly takesImages?: boolean;
  /** Of a protocol whose names are no paths: the options of `create` for an empty file in that place. Left out: no file is made by its names. */
  fileAt?(place: Extract<BlockdevOptions, { driver: D }>): BlockdevCreateOptions;
  /** The image can name a backing file: the node's `backingFile` and `backingFormat` are set when `open` resolves. */
  readonly hasBacking?: boolean;
  /** An image can name a backing file, which is opened, as where it has `hasBacking`; but none is made over another, and none gets another backing file. */
  readonly readsBacking?: boolean;
  /** Images are made by `create`: what they are made with at a shell. Left out: no image file is made. */
  readonly createOptions?: CreateOptions;
  /** Its images become longer and shorter: what comes in order, and is of unknown length, can be written into a new one. `longer`: they only become longer. Left out: they keep their size. */
  readonly resizes?: boolean | 'longer';
  /** An image of it can be written in order: how, with these options. Throws as `checkCreate`, and `unsupported` for options with which it cannot. */
  streamed?(options: Extract<BlockdevCreateOptions, { driver: D }>, filename: string): StreamedImage;
  /** What the storage of an image that is made is made with, beside the options of the format, at a shell: of a protocol. */
  readonly storageOptions?: readonly CreateOption[];
  /** What an image is amended with at a shell (`Abilities.amend`, `Abilities.keySlots`), in qemu-img's order. */
  readonly amendOptions?: readonly CreateOption[];
  /**
   * Of the options of `x-blockdev-amend`, those that change its key slots (`Abilities.keySlots`); undefined where they change nothing. Left out: its nodes take no
   * such options.
   */
  slotChange?(
    options: Extract<BlockdevAmendOptions, { driver: D }>,
  ): QCryptoBlockAmendOptions | QCryptoBlockAmendOptionsLUKS | undefined;
  /** Its images can hold compressed clusters, or take compressed writes. */
  readonly compresses?: boolean;
  /** Whether those that are made with these options do. Left out: all. */
  compressesWith?(options: Extract<BlockdevCreateOptions, { driver: D }>): boolean;
  /** An image that is made with these options can store dirty bitmaps. Left out: none can. */
  storesBitmaps?(options: Extract<BlockdevCreateOptions, { driver: D }>): boolean;
  /** It opens damaged images, too (`OpenRequest.salvage`): as a node that is only read, and whose reads never fail for what is lost. */
  readonly salvages?: boolean;
  /** The members of its part of `ImageInfo` (`format-specific`), in qemu-img's order; those that are not listed come last. */
  readonly detailOrder?: readonly string[];
  /** The text of what a check of its images finds, of the kinds that no other format has words for. */
  readonly findingWords?: FindingWords;
  /**
   * How sure it is (0 to 100) that an image that starts with `head` (up to 512 bytes, fewer where the file is shorter) is of this
   * format. Must not trust a byte. Left out: never probed.
   */
  probe?(head: Uint8Array, filename: string): number;
  /** Members of the options of `create` that name other nodes which an image is made of, beside `file`, or a list of such nodes; and what messages call one: `data file`. */
  readonly parts?: Readonly<Record<string, string>>;
  /** The members of `parts` that the options of an image at `path` leave out: files beside it, say. Default: none. */
  partsAt?(options: Extract<BlockdevCreateOptions, { driver: D }>, path: string): object;
  /** Those of its own options that a node takes while it is open: see `BlockNode.prepareReopen`. Default: none. */
  readonly changeable?: readonly string[];
  /** Completes options that were written in short, by what `file` says. Default: they are as they were given. Rejects as a read of it. */
  complete?(options: LooseOptions, file: BlockNode): Promise<LooseOptions>;
  /** Opens a node with its children, not yet in the graph. Where it rejects, it has closed what it opened itself, but the children. */
  open(request: OpenRequest<D>): Promise<BlockNode>;
  /**
   * Refuses options of `create` that no image can be made with, or, where `graph` is given, not on its host, or with its objects; `path` is for messages.
   * Throws `invalid-argument`, `not-found`, `unsupported`, `limit`.
   */
  checkCreate?(options: Extract<BlockdevCreateOptions, { driver: D }>, path: string, graph?: Graph): void;
  /**
   * How large an image becomes that is made with these options, and filled with what `source` holds. No file is touched. Left out: that cannot be said.
   * Rejects with `invalid-argument`, `not-found`, `limit`, and as the block status of the source.
   */
  measure?(request: MeasureRequest<D>): Promise<BlockMeasureInfo>;
  /** The options that an image which was made with these needs to be opened: where its password is. Default: none. */
  openWith?(options: Extract<BlockdevCreateOptions, { driver: D }>): Readonly<Record<string, unknown>>;
  /** An image is its file, and nothing else: `create` only gives the file its size, and `blockdev-create` has nothing to make. */
  readonly bare?: boolean;
  /** The member of the options of `create` that says the size of a cluster, in bytes, where one does. */
  readonly clusterMember?: string;
  /** Makes an image. Left out: cannot. */
  create?(request: CreateRequest<D>): Promise<void>;
}

/** How a format is recognised. */
export interface Recogniser {
  readonly name: string;
  /** See `DriverDefinition.probe`. */
  probe?(head: Uint8Array, filename: string): number;
}

/** A format whose driver is made when somebody asks for it: it is no default, and has no names of its own. */
interface LateFormat extends Recogniser {
  readonly definition: () => DriverDefinition;
}

/** In the order in which they were registered. Where two drivers have the same name, default or prefix, it is the later one's. */
const registered: (DriverDefinition | LateFormat)[] = [];

/** What follows from `registered`. */
interface Index {
  readonly drivers: ReadonlyMap<string, () => DriverDefinition>;
  readonly namesByPrefix: ReadonlyMap<string, DriverNames>;
  readonly defaults: ReadonlyMap<DefaultUse, DriverDefinition>;
  /** Those that say something of an image's first sector. */
  readonly recognisers: readonly Recogniser[];
}

/** Null: to be made, when somebody asks. */
let index: Index | null = null;

/**
 * Makes a driver known; a second registration of the same definition changes nothing. A name, a default or a prefix that another driver has
 * is this one's from now on. Returns what makes it unknown again: then they are again the other one's, and what a third driver has taken
 * since stays with that.
 */
export function registerDriver<D extends BlockdevDriver>(definition: DriverDefinition<D>): () => void {
  const known = definition as unknown as DriverDefinition;
  if (!registered.includes(known)) register(known);
  return () => {
    const at = registered.indexOf(known);
    if (at < 0) return;
    registered.splice(at, 1);
    index = null;
  };
}

/**
 * Makes known how a format is recognised, and its driver. A driver of its name that is registered later takes its place. More calls with the same name do nothing.
 */
export function registerFormat<D extends BlockdevDriver>(
  format: Required<Recogniser> & { definition: () => DriverDefinition<D> },
): void {
  if (registered.some((one) => !isDriver(one) && one.name === format.name)) return;
  register(format as unknown as LateFormat);
}

function register(one: DriverDefinition | LateFormat): void {
  registered.push(one);
  index = null;
}

function isDriver(one: DriverDefinition | LateFormat): one is DriverDefinition {
  return 'open' in one;
}

function indexed(): Index {
  index ??= makeIndex();
  return index;
}

function makeIndex(): Index {
  const drivers = new Map<string, () => DriverDefinition>();
  /** Whose the name is: what another definition has replaced has no say. */
  const owners = new Map<string, DriverDefinition | LateFormat>();
  for (const one of registered) {
    drivers.set(one.name, isDriver(one) ? () => one : one.definition);
    owners.set(one.name, one);
  }
  const namesByPrefix = new Map<string, DriverNames>();
  const defaults = new Map<DefaultUse, DriverDefinition>();
  const heard = registered.filter((one) => (owners.get(one.name) ?? one) === one);
  for (const one of heard.filter(isDriver)) {
    if (one.defaultFor !== undefined) defaults.set(one.defaultFor, one);
    for (const prefix of one.names?.prefixes ?? []) namesByPrefix.set(prefix, one.names!);
  }
  return { drivers, namesByPrefix, defaults, recognisers: heard.filter(({ probe }) => probe !== undefined) };
}

/** Those that say something of an image's first sector, in the order in which they were registered. */
export function recognisers(): readonly Recogniser[] {
  return indexed().recognisers;
}

/** Who reads file names with `prefix` before the first colon. */
export function namesWithPrefix(prefix: string): DriverNames | undefined {
  return indexed().namesByPrefix.get(prefix);
}

/** The driver that is used where nobody names one. Throws `unsupported` where no driver says so of itself. */
export function defaultDriver(use: DefaultUse): DriverDefinition {
  const definition = indexed().defaults.get(use);
  if (definition === undefined) throw new BlockError('unsupported', `There is no driver for: ${use}`);
  return definition;
}

/** The format whose images are their file, and nothing else. Throws `unsupported` where none is registered. */
export function bareFormat(): DriverDefinition {
  for (const definition of allDrivers()) if (definition.bare) return definition;
  throw new BlockError('unsupported', 'There is no format whose images are their file alone');
}

/** Each is made when it is come to: whoever has found what it looks for pays for no more of them. */
export function* allDrivers(): Iterable<DriverDefinition> {
  for (const definition of indexed().drivers.values()) yield definition();
}

/** Null where no driver has this name. */
export function knownDriver(name: string): DriverDefinition | null {
  return indexed().drivers.get(name)?.() ?? null;
}

/** For an image format that no driver has. */
export function unknownFormat(name: string): BlockError {
  return new BlockError('invalid-argument', `Unknown file format '${name}'`, { hint: hintOn(name) });
}

/** Whether images of a driver can name a backing file. A node of a driver that is not registered may. */
export function hasBackingFiles(driver: string): boolean {
  const definition = knownDriver(driver);
  return definition === null || definition.hasBacking === true;
}

/** Rejects a name that no driver has with `invalid-argument`. */
export function findDriver(name: string): DriverDefinition {
  const definition = knownDriver(name);
  if (definition !== null) return definition;
  throw new BlockError('invalid-argument', `Unknown driver '${name}'`, { hint: hintOn(name) });
}

/** A line about the driver `name`, for a person: what may have been meant (of `vhd`, the suffix of a file, `vpc`), or that QEMU has it and Diskwright not yet. Undefined: there is nothing to say, as of one that is known. */
export function hintOn(name: string): string | undefined {
  const { drivers } = indexed();
  if (drivers.has(name)) return undefined;
  const meant = formatOfSuffix(name);
  return meant === undefined ? hintOnDriver(name, drivers.keys()) : suggestion(meant.name);
}

/** Without the dot. */
export function suffixesOf({ name, suffixes = [name] }: DriverDefinition): readonly string[] {
  return suffixes;
}

/** The format whose images have names that end in `.suffix`, in any case; undefined: none. */
export function formatOfSuffix(suffix: string): DriverDefinition | undefined {
  const wanted = suffix.toLowerCase();
  for (const one of allDrivers()) if (one.kind === 'format' && suffixesOf(one).includes(wanted)) return one;
  return undefined;
}
