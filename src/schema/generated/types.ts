// Generated from src/schema/*.qapi by `npm run schema`. Do not edit.

/** What a client may ask for when it begins. */
export type QMPCapability =
  /** commands that overtake others, by exec-oob */
  | 'oob';

/** Ends the negotiation: from now on all other commands are taken. */
export interface QmpCapabilitiesArguments {
  /** what the client wants to use */
  enable?: QMPCapability[];
}

/** A version. */
export interface VersionTriple {
  /** first number */
  major: number;
  /** second number */
  minor: number;
  /** third number */
  micro: number;
}

/** Which version of the reference's monitor this one follows, and whose it is. */
export interface VersionInfo {
  /** the version of QEMU whose commands these are */
  qemu: VersionTriple;
  /** name and version of this program */
  package: string;
}


/** A command. */
export interface CommandInfo {
  /** its name */
  name: string;
}



/** What is spoken at a monitor. */
export type MonitorMode =
  /** commands for people; not here */
  | 'readline'
  /** QMP */
  | 'control';

/** A monitor. */
export interface MonitorOptions {
  /** its name */
  id?: string;
  /** what is spoken there (default: control) */
  mode?: MonitorMode;
  /** JSON in many lines, for people (default: false) */
  pretty?: boolean;
  /** the character device that clients come in by */
  chardev: string;
}

/** What a character device leads to. */
export type ChardevBackend =
  /** a socket */
  | 'socket'
  /** standard input and output */
  | 'stdio';

/** What all of {@link ChardevOptions} have. */
export interface ChardevOptionsBase {
  /** what it leads to */
  backend: ChardevBackend;
  /** its name */
  id: string;
}

/** A character device, as the command line describes it. */
export type ChardevOptions =
  | (ChardevOptionsBase & { backend: 'socket' } & ChardevSocketOptions)
  | (ChardevOptionsBase & { backend: 'stdio' });

/** A socket. Exactly one of `path`, `port` and `fd` says which. */
export interface ChardevSocketOptions {
  /** a UNIX socket */
  path?: string;
  /** its name is in Linux's abstract name space (default: false) */
  abstract?: boolean;
  /** host of a TCP socket (default: the local host) */
  host?: string;
  /** port of a TCP socket */
  port?: string;
  /** use IPv4 */
  ipv4?: boolean;
  /** use IPv6 */
  ipv6?: boolean;
  /** a descriptor that the program was started with */
  fd?: string;
  /** clients connect to it (default: false: it connects to somebody) */
  server?: boolean;
  /** the program goes on when the first client is there (default: true for a server) */
  wait?: boolean;
}

/** What a `SchemaInfo` is about. */
export type SchemaMetaType =
  /** a type of the language */
  | 'builtin'
  /** a type of some words */
  | 'enum'
  /** a list */
  | 'array'
  /** a struct or a union */
  | 'object'
  /** one of some types, told apart by the kind of JSON value */
  | 'alternate'
  /** a command */
  | 'command'
  /** an event */
  | 'event';

/** A kind of JSON value. */
export type JSONType =
  /** text */
  | 'string'
  /** any number */
  | 'number'
  /** a whole number */
  | 'int'
  /** true or false */
  | 'boolean'
  /** null */
  | 'null'
  /** an object */
  | 'object'
  /** an array */
  | 'array'
  /** any of them */
  | 'value';

/** What all of {@link SchemaInfo} have. */
export interface SchemaInfoBase {
  /** its name; that of a type is of no meaning */
  name: string;
  /** what it is */
  'meta-type': SchemaMetaType;
  /** words that say what is special about it */
  features?: string[];
}

/** One entity of the schema. */
export type SchemaInfo =
  | (SchemaInfoBase & { 'meta-type': 'builtin' } & SchemaInfoBuiltin)
  | (SchemaInfoBase & { 'meta-type': 'enum' } & SchemaInfoEnum)
  | (SchemaInfoBase & { 'meta-type': 'array' } & SchemaInfoArray)
  | (SchemaInfoBase & { 'meta-type': 'object' } & SchemaInfoObject)
  | (SchemaInfoBase & { 'meta-type': 'alternate' } & SchemaInfoAlternate)
  | (SchemaInfoBase & { 'meta-type': 'command' } & SchemaInfoCommand)
  | (SchemaInfoBase & { 'meta-type': 'event' } & SchemaInfoEvent);

/** A type of the language. */
export interface SchemaInfoBuiltin {
  /** what it is in JSON */
  'json-type': JSONType;
}

/** A type of some words. */
export interface SchemaInfoEnum {
  /** the words, with what is special about each */
  members: SchemaInfoEnumMember[];
  /**
   * the words
   * @deprecated
   */
  values: string[];
}

/** A word of an enum. */
export interface SchemaInfoEnumMember {
  /** the word */
  name: string;
  /** words that say what is special about it */
  features?: string[];
}

/** A list. */
export interface SchemaInfoArray {
  /** type of its elements */
  'element-type': string;
}

/** A struct or a union. */
export interface SchemaInfoObject {
  /** what it always has */
  members: SchemaInfoObjectMember[];
  /** the member that says which variant it is */
  tag?: string;
  /** the variants of a union */
  variants?: SchemaInfoObjectVariant[];
}

/** A member of an object. */
export interface SchemaInfoObjectMember {
  /** its name */
  name: string;
  /** its type */
  type: string;
  /** null where it may be left out; absent where it may not */
  default?: unknown;
  /** words that say what is special about it */
  features?: string[];
}

/** What an object has more, by its tag. */
export interface SchemaInfoObjectVariant {
  /** value of the tag */
  case: string;
  /** type whose members are added */
  type: string;
}

/** One of some types. */
export interface SchemaInfoAlternate {
  /** the types */
  members: SchemaInfoAlternateMember[];
}

/** A type of an alternate. */
export interface SchemaInfoAlternateMember {
  /** its name */
  type: string;
}

/** A command. */
export interface SchemaInfoCommand {
  /** type of its arguments */
  'arg-type': string;
  /** type of what it returns */
  'ret-type': string;
  /** it may be sent as exec-oob (default: false) */
  'allow-oob'?: boolean;
}

/** An event. */
export interface SchemaInfoEvent {
  /** type of its data */
  'arg-type': string;
}


/** A three-way switch. */
export type OnOffAuto =
  /** decide by what the surroundings offer */
  | 'auto'
  /** always; an error where it is not possible */
  | 'on'
  /** never */
  | 'off';

/** How much of a new image, or of the new part of a grown one, is allocated at once. */
export type PreallocMode =
  /** nothing */
  | 'off'
  /** the tables of the format, no data */
  | 'metadata'
  /** space is reserved in the file system, and not written */
  | 'falloc'
  /** space is written with zeroes */
  | 'full';

/** Direction of a request. */
export type IoOperationType =
  /** from the node */
  | 'read'
  /** to the node */
  | 'write';

/** What was done about a failed request. */
export type BlockErrorAction =
  /** the error was passed over and the work goes on */
  | 'ignore'
  /** the error was handed to whoever asked */
  | 'report'
  /** the work was paused */
  | 'stop';

/** Kinds of address. */
export type SocketAddressType =
  /** TCP, over IPv4 or IPv6 */
  | 'inet'
  /** UNIX domain socket */
  | 'unix'
  /** a socket that this process was started with */
  | 'fd';

/** TCP. */
export interface InetSocketAddress {
  /** name or address of the host; empty to listen on all addresses */
  host: string;
  /** port, in digits */
  port: string;
  /** `host` is an address; a name is an error (default: false) */
  numeric?: boolean;
  /** use IPv4 (default: both kinds, or only the other one where that was asked for) */
  ipv4?: boolean;
  /** use IPv6 (default: as `ipv4`) */
  ipv6?: boolean;
  /** let the system find out whether a silent peer is still there (default: false) */
  'keep-alive'?: boolean;
}

/** UNIX domain socket. */
export interface UnixSocketAddress {
  /** its file */
  path: string;
  /** `path` is a name in the abstract name space of Linux, not a file (default: false) */
  abstract?: boolean;
}

/** A socket that is there. */
export interface FdSocketAddress {
  /** number of its descriptor, in digits */
  str: string;
}

/** What all of {@link SocketAddress} have. */
export interface SocketAddressBase {
  /** kind of address */
  type: SocketAddressType;
}

/** Address of a socket. */
export type SocketAddress =
  | (SocketAddressBase & { type: 'inet' } & InetSocketAddress)
  | (SocketAddressBase & { type: 'unix' } & UnixSocketAddress)
  | (SocketAddressBase & { type: 'fd' } & FdSocketAddress);

/** Drivers that can be named. */
export type BlockdevDriver =
  /** protocol: a regular file */
  | 'file'
  /** protocol: a block device of the host */
  | 'host_device'
  /** protocol: an export of an NBD server */
  | 'nbd'
  /** protocol: swallows writes; reads are fast and worthless */
  | 'null-co'
  /** format: QEMU's copy-on-write image, versions 2 and 3 */
  | 'qcow2'
  /** format: the bytes as they are, or a window of them */
  | 'raw';

/** What a discard request does. */
export type BlockdevDiscardOptions =
  /** nothing */
  | 'ignore'
  /** frees the space where the storage can */
  | 'unmap';

/** Whether writes are searched for zeroes. */
export type BlockdevDetectZeroesOptions =
  /** no */
  | 'off'
  /** a write of zeroes becomes a request to write zeroes */
  | 'on'
  /** as `on`, and the range may be freed (needs discard=unmap) */
  | 'unmap';

/** The I/O engine that was asked for. */
export type BlockdevAioOptions =
  /** a pool of threads */
  | 'threads'
  /** Linux AIO; here it means io_uring, and needs cache.direct */
  | 'native'
  /** io_uring */
  | 'io_uring';

/** The host's page cache. */
export interface BlockdevCacheOptions {
  /** go around it, O_DIRECT (default: false) */
  direct?: boolean;
  /** answer flushes without doing them (default: false) */
  'no-flush'?: boolean;
}

/** Driver options of file and host_device. */
export interface BlockdevOptionsFile {
  /** path of the file */
  filename: string;
  /** whether the file is locked as QEMU locks images (default: auto: where the system can) */
  locking?: OnOffAuto;
  /** the engine (default: whichever the host runs) */
  aio?: BlockdevAioOptions;
}

/** Driver options of nbd. */
export interface BlockdevOptionsNbd {
  /** where the server listens */
  server: SocketAddress;
  /** name of the export (default: the empty name) */
  export?: string;
  /** client credentials; the server must speak TLS then */
  'tls-creds'?: string;
  /** name that the server's certificate must have (default: the host that was connected to) */
  'tls-hostname'?: string;
  /** a metadata context of the server, such as qemu:dirty-bitmap:NAME, that block status is taken from in place of base:allocation: what is set there counts as not allocated, the rest as data */
  'x-dirty-bitmap'?: string;
  /** seconds that requests wait for a lost connection to be made again; 0: they fail at once (default: 0) */
  'reconnect-delay'?: number;
  /** seconds in which connecting is tried again and again; 0: once (default: 0) */
  'open-timeout'?: number;
  /** connections at the same time, 1 to 16, where the server allows more than one (default: 1; only here) */
  'x-multi-conn'?: number;
}

/** Driver options of null-co. */
export interface BlockdevOptionsNull {
  /** bytes (default: 1 GiB) */
  size?: number;
  /** nanoseconds that every request takes (default: 0) */
  'latency-ns'?: number;
  /** reads give zeroes; otherwise the buffer is left as it is (default: false) */
  'read-zeroes'?: boolean;
}

/** Options of every format. */
export interface BlockdevOptionsGenericFormat {
  /** the node that holds the image */
  file: BlockdevRef;
}

/** Driver options of raw. */
export interface BlockdevOptionsRaw extends BlockdevOptionsGenericFormat {
  /** where the disk starts in the file, in bytes (default: 0) */
  offset?: number;
  /** bytes of the disk (default: from `offset` to the end of the file) */
  size?: number;
}

/** Options of a format with backing files. */
export interface BlockdevOptionsGenericCOWFormat extends BlockdevOptionsGenericFormat {
  /** the backing node; null for none (default: what the image's header says) */
  backing?: BlockdevRefOrNull;
}

/** Sets of metadata that writes are checked against. */
export type Qcow2OverlapCheckMode =
  /** nothing */
  | 'none'
  /** what costs nothing to check */
  | 'constant'
  /** `constant`, and what is in memory anyway */
  | 'cached'
  /** everything */
  | 'all';

/** Each kind of metadata for itself. */
export interface Qcow2OverlapCheckFlags {
  /** what holds for the members that are left out */
  template?: Qcow2OverlapCheckMode;
  /** the header */
  'main-header'?: boolean;
  /** the active L1 table */
  'active-l1'?: boolean;
  /** the active L2 tables */
  'active-l2'?: boolean;
  /** the refcount table */
  'refcount-table'?: boolean;
  /** the refcount blocks */
  'refcount-block'?: boolean;
  /** the table of internal snapshots */
  'snapshot-table'?: boolean;
  /** the L1 tables of internal snapshots */
  'inactive-l1'?: boolean;
  /** the L2 tables of internal snapshots */
  'inactive-l2'?: boolean;
  /** the directory of persistent bitmaps */
  'bitmap-directory'?: boolean;
}

/** Which metadata a write must not hit. */
export type Qcow2OverlapChecks =
  /** each kind for itself */
  | Qcow2OverlapCheckFlags
  /** a named set */
  | Qcow2OverlapCheckMode;

/** Driver options of qcow2. */
export interface BlockdevOptionsQcow2 extends BlockdevOptionsGenericCOWFormat {
  /** a guest's discard reaches the file (default: true if discard=unmap) */
  'pass-discard-request'?: boolean;
  /** clusters that a deleted snapshot frees are discarded (default: true) */
  'pass-discard-snapshot'?: boolean;
  /** clusters that are freed otherwise are discarded (default: false) */
  'pass-discard-other'?: boolean;
  /** which metadata a write must not hit (default: cached) */
  'overlap-check'?: Qcow2OverlapChecks;
  /** bytes of the L2 and the refcount cache together */
  'cache-size'?: number;
  /** bytes of the L2 cache */
  'l2-cache-size'?: number;
  /** bytes of one entry of the L2 cache, a power of two from 512 to the cluster size */
  'l2-cache-entry-size'?: number;
  /** bytes of the refcount cache */
  'refcount-cache-size'?: number;
  /** seconds after which unused cache entries are dropped, 0 for never (default: 600) */
  'cache-clean-interval'?: number;
}

/** What all of {@link BlockdevOptions} have. */
export interface BlockdevOptionsBase {
  /** the driver */
  driver: BlockdevDriver;
  /** name of the node (default: one is made up) */
  'node-name'?: string;
  /** what a discard request does (default: ignore) */
  discard?: BlockdevDiscardOptions;
  /** the host's page cache */
  cache?: BlockdevCacheOptions;
  /** the node cannot be written (default: false, true where `auto-read-only` decides so) */
  'read-only'?: boolean;
  /** fall back to read-only where the file cannot be written (default: false) */
  'auto-read-only'?: boolean;
  /** share everything with other users of the image; needs read-only (default: false) */
  'force-share'?: boolean;
  /** search writes for zeroes (default: off) */
  'detect-zeroes'?: BlockdevDetectZeroesOptions;
}

/** Describes a node, with all its children. */
export type BlockdevOptions =
  | (BlockdevOptionsBase & { driver: 'file' } & BlockdevOptionsFile)
  | (BlockdevOptionsBase & { driver: 'host_device' } & BlockdevOptionsFile)
  | (BlockdevOptionsBase & { driver: 'nbd' } & BlockdevOptionsNbd)
  | (BlockdevOptionsBase & { driver: 'null-co' } & BlockdevOptionsNull)
  | (BlockdevOptionsBase & { driver: 'qcow2' } & BlockdevOptionsQcow2)
  | (BlockdevOptionsBase & { driver: 'raw' } & BlockdevOptionsRaw);

/** A node. */
export type BlockdevRef =
  /** opens a new one */
  | BlockdevOptions
  /** names one that is there */
  | string;

/** A node, or none. */
export type BlockdevRefOrNull =
  /** opens a new one */
  | BlockdevOptions
  /** names one that is there */
  | string
  /** none */
  | null;

/** Creates a file. */
export interface BlockdevCreateOptionsFile {
  /** its path; a file that is there is cut to nothing first */
  filename: string;
  /** bytes */
  size: number;
  /** off, falloc or full (default: off) */
  preallocation?: PreallocMode;
  /** hint for the file system, bytes; 0 for none */
  'extent-size-hint'?: number;
}

/** Makes a raw image of a node: sets its size. */
export interface BlockdevCreateOptionsRaw {
  /** the node */
  file: BlockdevRef;
  /** bytes */
  size: number;
  /** off, falloc or full (default: off) */
  preallocation?: PreallocMode;
}

/** Version of the format. */
export type BlockdevQcow2Version =
  /** compat=0.10 */
  | 'v2'
  /** compat=1.1 */
  | 'v3';

/** How compressed clusters are packed. */
export type Qcow2CompressionType =
  /** raw deflate */
  | 'zlib'
  /** Zstandard; needs version 3 */
  | 'zstd';

/** Makes a qcow2 image of a node. */
export interface BlockdevCreateOptionsQcow2 {
  /** the node */
  file: BlockdevRef;
  /** bytes of the disk */
  size: number;
  /** version of the format (default: v3) */
  version?: BlockdevQcow2Version;
  /** name of the backing file, as it goes into the header */
  'backing-file'?: string;
  /** its format */
  'backing-fmt'?: BlockdevDriver;
  /** bytes, a power of two from 512 to 2 MiB (default: 65536) */
  'cluster-size'?: number;
  /** how much is allocated at once (default: off) */
  preallocation?: PreallocMode;
  /** 1, 2, 4, 8, 16, 32 or 64 (default: 16) */
  'refcount-bits'?: number;
  /** how compressed clusters are packed (default: zlib) */
  'compression-type'?: Qcow2CompressionType;
}

/** What all of {@link BlockdevCreateOptions} have. */
export interface BlockdevCreateOptionsBase {
  /** the driver */
  driver: BlockdevDriver;
}

/** Describes an image to be made. */
export type BlockdevCreateOptions =
  | (BlockdevCreateOptionsBase & { driver: 'file' } & BlockdevCreateOptionsFile)
  | (BlockdevCreateOptionsBase & { driver: 'host_device' })
  | (BlockdevCreateOptionsBase & { driver: 'nbd' })
  | (BlockdevCreateOptionsBase & { driver: 'null-co' })
  | (BlockdevCreateOptionsBase & { driver: 'qcow2' } & BlockdevCreateOptionsQcow2)
  | (BlockdevCreateOptionsBase & { driver: 'raw' } & BlockdevCreateOptionsRaw);

/** An internal snapshot. */
export interface SnapshotInfo {
  /** unique number, as text */
  id: string;
  /** the user's name for it */
  name: string;
  /** bytes of the saved machine state */
  'vm-state-size': number;
  /** UTC date, seconds */
  'date-sec': number;
  /** fraction of `date-sec`, nanoseconds */
  'date-nsec': number;
  /** the machine's clock since boot, seconds */
  'vm-clock-sec': number;
  /** fraction of `vm-clock-sec`, nanoseconds */
  'vm-clock-nsec': number;
  /** instructions executed, where that was recorded */
  icount?: number;
}

/** State of a stored bitmap. */
export type Qcow2BitmapInfoFlags =
  /** it was not saved properly and may be wrong */
  | 'in-use'
  /** it records by itself when the image is opened for writing */
  | 'auto';

/** A bitmap that is stored in the image. */
export interface Qcow2BitmapInfo {
  /** its name */
  name: string;
  /** bytes that one bit stands for */
  granularity: number;
  /** its state */
  flags: Qcow2BitmapInfoFlags[];
}

/** What only qcow2 has. */
export interface ImageInfoSpecificQCow2 {
  /** 0.10 or 1.1 */
  compat: string;
  /** name of the external data file */
  'data-file'?: string;
  /** the external data file is a valid raw image by itself */
  'data-file-raw'?: boolean;
  /** L2 entries have subclusters */
  'extended-l2'?: boolean;
  /** refcounts are brought up to date late */
  'lazy-refcounts'?: boolean;
  /** the image is marked corrupt */
  corrupt?: boolean;
  /** width of a refcount */
  'refcount-bits': number;
  /** stored bitmaps */
  bitmaps?: Qcow2BitmapInfo[];
  /** how compressed clusters are packed */
  'compression-type': Qcow2CompressionType;
}

/** The shape that the wire has. */
export interface ImageInfoSpecificQCow2Wrapper {
  /** the information */
  data: ImageInfoSpecificQCow2;
}

/** Formats that have something to say. */
export type ImageInfoSpecificKind =
  /** see `ImageInfoSpecificQCow2` */
  | 'qcow2';

/** What all of {@link ImageInfoSpecific} have. */
export interface ImageInfoSpecificBase {
  /** the format */
  type: ImageInfoSpecificKind;
}

/** What only one format has. */
export type ImageInfoSpecific =
  | (ImageInfoSpecificBase & { type: 'qcow2' } & ImageInfoSpecificQCow2Wrapper);

/** What there is to know of an image without reading its data. */
export interface ImageInfo {
  /** name of the file */
  filename: string;
  /** name of the format */
  format: string;
  /** it was not closed properly */
  'dirty-flag'?: boolean;
  /** bytes on the host's disk */
  'actual-size'?: number;
  /** bytes of the guest's disk */
  'virtual-size': number;
  /** bytes of a cluster */
  'cluster-size'?: number;
  /** it is encrypted */
  encrypted?: boolean;
  /** it holds nothing but compressed clusters */
  compressed?: boolean;
  /** name of the backing file, as the header has it */
  'backing-filename'?: string;
  /** the same, as it is opened */
  'full-backing-filename'?: string;
  /** format of the backing file, as the header has it */
  'backing-filename-format'?: string;
  /** internal snapshots */
  snapshots?: SnapshotInfo[];
  /** the backing image */
  'backing-image'?: ImageInfo;
  /** what only this format has */
  'format-specific'?: ImageInfoSpecific;
}

/** The outcome of a check. */
export interface ImageCheck {
  /** name of the file */
  filename: string;
  /** name of the format */
  format: string;
  /** errors that kept the check from looking further */
  'check-errors': number;
  /** where the last used cluster ends, bytes */
  'image-end-offset'?: number;
  /** corruptions found */
  corruptions?: number;
  /** leaked clusters found */
  leaks?: number;
  /** corruptions repaired */
  'corruptions-fixed'?: number;
  /** leaked clusters freed */
  'leaks-fixed'?: number;
  /** clusters of the guest's disk */
  'total-clusters'?: number;
  /** those that are allocated */
  'allocated-clusters'?: number;
  /** those that do not follow the one before */
  'fragmented-clusters'?: number;
  /** those that are compressed */
  'compressed-clusters'?: number;
}

/** A run of bytes of the guest's disk that are alike. */
export interface MapEntry {
  /** first byte */
  start: number;
  /** bytes */
  length: number;
  /** it has data */
  data: boolean;
  /** it reads as zeroes */
  zero: boolean;
  /** it is compressed (QEMU 8.2) */
  compressed?: boolean;
  /** layers of the chain above the one that has it; 0 is the top */
  depth: number;
  /** some layer of the chain has it */
  present: boolean;
  /** where it lies in the file */
  offset?: number;
  /** the file */
  filename?: string;
}

/** How the last request ended. */
export type BlockDeviceIoStatus =
  /** well */
  | 'ok'
  /** with an error */
  | 'failed'
  /** for lack of space */
  | 'nospace';

/** A dirty bitmap. */
export interface BlockDirtyInfo {
  /** its name */
  name?: string;
  /** dirty bytes */
  count: number;
  /** bytes that one bit stands for */
  granularity: number;
  /** writes are recorded */
  recording: boolean;
  /** a job or an export uses it */
  busy: boolean;
  /** it is stored in the image */
  persistent: boolean;
  /** it was not saved properly; it can only be removed */
  inconsistent?: boolean;
}

/** Names a bitmap. */
export interface BlockDirtyBitmap {
  /** the node that it belongs to */
  node: string;
  /** its name */
  name: string;
}

/** A bitmap of the same node, or of another. */
export type BlockDirtyBitmapOrStr =
  /** name of a bitmap of the same node */
  | string
  /** a bitmap of another node */
  | BlockDirtyBitmap;

/** Makes a bitmap. */
export interface BlockDirtyBitmapAdd {
  /** the node */
  node: string;
  /** its name */
  name: string;
  /** bytes that one bit stands for, a power of two from 512 to 2 GiB (default: the cluster size, from 4096 to 65536) */
  granularity?: number;
  /** store it in the image when that is closed (default: false) */
  persistent?: boolean;
  /** do not record (default: false) */
  disabled?: boolean;
}

/** Adds bitmaps to one. */
export interface BlockDirtyBitmapMerge {
  /** node of the target */
  node: string;
  /** name of the bitmap that is added to */
  target: string;
  /** those that are added */
  bitmaps: BlockDirtyBitmapOrStr[];
}

/** Limits of a device. Bytes or requests a second, 0 for no limit; a maximum is the rate of a burst, which may last `*_length` seconds (default: 1). */
export interface BlockIOThrottle {
  /** the device */
  device?: string;
  /** the device, by another name */
  id?: string;
  /** bytes */
  bps: number;
  /** bytes read */
  bps_rd: number;
  /** bytes written */
  bps_wr: number;
  /** requests */
  iops: number;
  /** read requests */
  iops_rd: number;
  /** write requests */
  iops_wr: number;
  /** bytes in a burst */
  bps_max?: number;
  /** bytes read in a burst */
  bps_rd_max?: number;
  /** bytes written in a burst */
  bps_wr_max?: number;
  /** requests in a burst */
  iops_max?: number;
  /** read requests in a burst */
  iops_rd_max?: number;
  /** write requests in a burst */
  iops_wr_max?: number;
  /** seconds of a burst of `bps_max` */
  bps_max_length?: number;
  /** seconds of a burst of `bps_rd_max` */
  bps_rd_max_length?: number;
  /** seconds of a burst of `bps_wr_max` */
  bps_wr_max_length?: number;
  /** seconds of a burst of `iops_max` */
  iops_max_length?: number;
  /** seconds of a burst of `iops_rd_max` */
  iops_rd_max_length?: number;
  /** seconds of a burst of `iops_wr_max` */
  iops_wr_max_length?: number;
  /** bytes that count as one request (0: every request is one) */
  iops_size?: number;
  /** the group whose members share these limits */
  group?: string;
}

/** Limits of a throttle group. Units as in `BlockIOThrottle`. */
export interface ThrottleLimits {
  /** requests */
  'iops-total'?: number;
  /** requests in a burst */
  'iops-total-max'?: number;
  /** seconds of a burst of `iops-total-max` */
  'iops-total-max-length'?: number;
  /** read requests */
  'iops-read'?: number;
  /** read requests in a burst */
  'iops-read-max'?: number;
  /** seconds of a burst of `iops-read-max` */
  'iops-read-max-length'?: number;
  /** write requests */
  'iops-write'?: number;
  /** write requests in a burst */
  'iops-write-max'?: number;
  /** seconds of a burst of `iops-write-max` */
  'iops-write-max-length'?: number;
  /** bytes */
  'bps-total'?: number;
  /** bytes in a burst */
  'bps-total-max'?: number;
  /** seconds of a burst of `bps-total-max` */
  'bps-total-max-length'?: number;
  /** bytes read */
  'bps-read'?: number;
  /** bytes read in a burst */
  'bps-read-max'?: number;
  /** seconds of a burst of `bps-read-max` */
  'bps-read-max-length'?: number;
  /** bytes written */
  'bps-write'?: number;
  /** bytes written in a burst */
  'bps-write-max'?: number;
  /** seconds of a burst of `bps-write-max` */
  'bps-write-max-length'?: number;
  /** bytes that count as one request (0: every request is one) */
  'iops-size'?: number;
}

/** What a job does. */
export type JobType =
  /** pushes a layer down into the one below */
  | 'commit'
  /** pulls data from below into the top */
  | 'stream'
  /** copies a node to another and keeps them alike */
  | 'mirror'
  /** copies a node as it was at one moment */
  | 'backup'
  /** makes an image */
  | 'create'
  /** changes options of an image */
  | 'amend'
  /** loads an internal snapshot */
  | 'snapshot-load'
  /** makes an internal snapshot */
  | 'snapshot-save'
  /** deletes an internal snapshot */
  | 'snapshot-delete';

/** Where a job is in its life. */
export type JobStatus =
  /** nowhere; never seen */
  | 'undefined'
  /** made, not started */
  | 'created'
  /** at work */
  | 'running'
  /** at rest, no request under way */
  | 'paused'
  /** in step with its source, waits for complete */
  | 'ready'
  /** ready, and paused */
  | 'standby'
  /** done, waits for the others of its transaction */
  | 'waiting'
  /** all are done, waits for finalize */
  | 'pending'
  /** undoes its work */
  | 'aborting'
  /** over, waits for dismiss */
  | 'concluded'
  /** gone */
  | 'null';

/** What can be asked of a job. */
export type JobVerb =
  /** end without success */
  | 'cancel'
  /** rest */
  | 'pause'
  /** go on */
  | 'resume'
  /** another rate limit */
  | 'set-speed'
  /** end a job that is ready */
  | 'complete'
  /** forget a job that is concluded */
  | 'dismiss'
  /** make the outcome of a pending job final */
  | 'finalize'
  /** other options */
  | 'change';

/** A job, as all types have it. */
export interface JobInfo {
  /** its name */
  id: string;
  /** what it does */
  type: JobType;
  /** where it is in its life */
  status: JobStatus;
  /** work done; only its ratio to `total-progress` means something */
  'current-progress': number;
  /** work in all, as far as is known now */
  'total-progress': number;
  /** why it failed */
  error?: string;
}

/** A block job. */
export interface BlockJobInfo {
  /** what it does */
  type: JobType;
  /** its name */
  device: string;
  /** work in all, bytes */
  len: number;
  /** work done, bytes */
  offset: number;
  /** requests may be under way */
  busy: boolean;
  /** it rests, or will as soon as it is not busy */
  paused: boolean;
  /** rate limit, bytes a second, 0 for none */
  speed: number;
  /** how its last request ended */
  'io-status': BlockDeviceIoStatus;
  /** it can be completed */
  ready: boolean;
  /** where it is in its life */
  status: JobStatus;
  /** it finalizes by itself */
  'auto-finalize': boolean;
  /** it is dismissed by itself */
  'auto-dismiss': boolean;
  /** why it failed */
  error?: string;
}

/** What a failed request leads to. */
export type BlockdevOnError =
  /** the error ends the job, or goes to the guest */
  | 'report'
  /** it is passed over; a job tries the range again later */
  | 'ignore'
  /** `stop` if space ran out, `report` otherwise */
  | 'enospc'
  /** the job pauses */
  | 'stop'
  /** the device's policy for guests, `report` for jobs */
  | 'auto';

/** What is copied at the beginning. */
export type MirrorSyncMode =
  /** what the topmost image holds */
  | 'top'
  /** everything */
  | 'full'
  /** nothing; only what is written from now on */
  | 'none'
  /** what a bitmap says, with bitmap-mode on-success */
  | 'incremental'
  /** what a bitmap says */
  | 'bitmap';

/** What becomes of the bitmap at the end. */
export type BitmapSyncMode =
  /** what was copied is cleared if the job succeeds */
  | 'on-success'
  /** it stays as it was, and what was written meanwhile is added */
  | 'never'
  /** what was copied is cleared, whether the job succeeds or not */
  | 'always';

/** How a guest's writes reach the target. */
export type MirrorCopyMode =
  /** the job copies them later */
  | 'background'
  /** they are written to both before they are answered */
  | 'write-blocking';

/** Copies data from the backing chain into a node, which then needs that part of the chain no longer. */
export interface BlockStreamArguments {
  /** name of the job (default: the device) */
  'job-id'?: string;
  /** node that is copied into */
  device: string;
  /** file name of the backing image that stays */
  base?: string;
  /** node of the backing image that stays */
  'base-node'?: string;
  /** name that is written to the header as backing file (default: that of `base`) */
  'backing-file'?: string;
  /** last node that is copied and goes; excludes `base` and `base-node` */
  bottom?: string;
  /** rate limit, bytes a second */
  speed?: number;
  /** what a failed request leads to (default: report) */
  'on-error'?: BlockdevOnError;
  /** name of the filter that the job puts in */
  'filter-node-name'?: string;
  /** finalize without being asked (default: true) */
  'auto-finalize'?: boolean;
  /** dismiss without being asked (default: true) */
  'auto-dismiss'?: boolean;
}

/** Writes the data between top and base into base, and takes what lies above base out of the chain. */
export interface BlockCommitArguments {
  /** name of the job (default: the device) */
  'job-id'?: string;
  /** root of the chain */
  device: string;
  /** node that is written (default: the lowest) */
  'base-node'?: string;
  /**
   * the same, by file name
   * @deprecated
   */
  base?: string;
  /** topmost node whose data is committed (default: `device`; then the job becomes ready) */
  'top-node'?: string;
  /**
   * the same, by file name
   * @deprecated
   */
  top?: string;
  /** name that is written to the header of the image above top (default: that of the base) */
  'backing-file'?: string;
  /** rate limit, bytes a second */
  speed?: number;
  /** what a failed request leads to (default: report) */
  'on-error'?: BlockdevOnError;
  /** name of the filter that the job puts in */
  'filter-node-name'?: string;
  /** finalize without being asked (default: true) */
  'auto-finalize'?: boolean;
  /** dismiss without being asked (default: true) */
  'auto-dismiss'?: boolean;
}

/** Copies a node to another and keeps them alike until it is completed. */
export interface BlockdevMirror {
  /** name of the job (default: the device) */
  'job-id'?: string;
  /** node that is copied */
  device: string;
  /** node that is written */
  target: string;
  /** node that the target takes the place of (default: the source) */
  replaces?: string;
  /** what is copied at the beginning */
  sync: MirrorSyncMode;
  /** rate limit, bytes a second */
  speed?: number;
  /** bytes that are copied together, a power of two from 512 to 64 MiB (default: the target's cluster size, from 4096 to 65536) */
  granularity?: number;
  /** bytes in flight (default: 10 MiB) */
  'buf-size'?: number;
  /** what a failed read leads to (default: report) */
  'on-source-error'?: BlockdevOnError;
  /** what a failed write leads to (default: report) */
  'on-target-error'?: BlockdevOnError;
  /** name of the filter that the job puts in */
  'filter-node-name'?: string;
  /** how a guest's writes reach the target (default: background) */
  'copy-mode'?: MirrorCopyMode;
  /** finalize without being asked (default: true) */
  'auto-finalize'?: boolean;
  /** dismiss without being asked (default: true) */
  'auto-dismiss'?: boolean;
}


/** How a backup works. */
export interface BackupPerf {
  /** let the file system copy (default: false) */
  'use-copy-range'?: boolean;
  /** requests side by side (default: 64) */
  'max-workers'?: number;
  /** bytes of a request; 0 for no limit (default: 0) */
  'max-chunk'?: number;
}

/** What all backups have. */
export interface BackupCommon {
  /** name of the job (default: the device) */
  'job-id'?: string;
  /** node that is copied */
  device: string;
  /** what is copied */
  sync: MirrorSyncMode;
  /** rate limit, bytes a second */
  speed?: number;
  /** bitmap of `device` that says what is copied, for sync incremental and bitmap */
  bitmap?: string;
  /** what becomes of the bitmap at the end */
  'bitmap-mode'?: BitmapSyncMode;
  /** write compressed clusters (default: false) */
  compress?: boolean;
  /** what a failed read leads to (default: report) */
  'on-source-error'?: BlockdevOnError;
  /** what a failed write leads to (default: report) */
  'on-target-error'?: BlockdevOnError;
  /** finalize without being asked (default: true) */
  'auto-finalize'?: boolean;
  /** dismiss without being asked (default: true) */
  'auto-dismiss'?: boolean;
  /** name of the filter that the job puts in */
  'filter-node-name'?: string;
  /** how it works */
  'x-perf'?: BackupPerf;
}

/** Copies a node to another, as it is at the start. */
export interface BlockdevBackup extends BackupCommon {
  /** node that is written */
  target: string;
}


/** Asks a job to rest. */
export interface JobPauseArguments {
  /** the job */
  id: string;
}

/** Asks a job to go on. */
export interface JobResumeArguments {
  /** the job */
  id: string;
}

/** Asks a job to end without success. */
export interface JobCancelArguments {
  /** the job */
  id: string;
}

/** Ends a job that is ready. */
export interface JobCompleteArguments {
  /** the job */
  id: string;
}

/** Forgets a job that is concluded. */
export interface JobDismissArguments {
  /** the job */
  id: string;
}

/** Makes the outcome of a pending job, and of its transaction, final. */
export interface JobFinalizeArguments {
  /** the job */
  id: string;
}



/** Changes a job's rate limit. */
export interface BlockJobSetSpeedArguments {
  /** the job */
  device: string;
  /** bytes a second, 0 for no limit */
  speed: number;
}

/** Cancels a job. One that is ready ends with success instead, without pivot, unless it is forced. */
export interface BlockJobCancelArguments {
  /** the job */
  device: string;
  /** cancel one that is ready, too (default: false) */
  force?: boolean;
}

/** What of a mirror can be changed. */
export interface BlockJobChangeOptionsMirror {
  /** only from background to write-blocking */
  'copy-mode': MirrorCopyMode;
}

/** What all of {@link BlockJobChangeOptions} have. */
export interface BlockJobChangeOptionsBase {
  /** the job */
  id: string;
  /** its type */
  type: JobType;
}

/** Changes a job while it runs. */
export type BlockJobChangeOptions =
  | (BlockJobChangeOptionsBase & { type: 'commit' })
  | (BlockJobChangeOptionsBase & { type: 'stream' })
  | (BlockJobChangeOptionsBase & { type: 'mirror' } & BlockJobChangeOptionsMirror)
  | (BlockJobChangeOptionsBase & { type: 'backup' })
  | (BlockJobChangeOptionsBase & { type: 'create' })
  | (BlockJobChangeOptionsBase & { type: 'amend' })
  | (BlockJobChangeOptionsBase & { type: 'snapshot-load' })
  | (BlockJobChangeOptionsBase & { type: 'snapshot-save' })
  | (BlockJobChangeOptionsBase & { type: 'snapshot-delete' });


/** A job came into another state. */
export interface JobStatusChangeEvent {
  /** the job */
  id: string;
  /** the new state */
  status: JobStatus;
}

/** A block job ended by itself. */
export interface BlockJobCompletedEvent {
  /** what it does */
  type: JobType;
  /** the job */
  device: string;
  /** work in all, bytes */
  len: number;
  /** work done, bytes; equal to `len` on success */
  offset: number;
  /** rate limit, bytes a second */
  speed: number;
  /** why it failed */
  error?: string;
}

/** A block job was cancelled. */
export interface BlockJobCancelledEvent {
  /** what it does */
  type: JobType;
  /** the job */
  device: string;
  /** work in all, bytes */
  len: number;
  /** work done, bytes */
  offset: number;
  /** rate limit, bytes a second */
  speed: number;
}

/** A request of a block job failed. */
export interface BlockJobErrorEvent {
  /** the job */
  device: string;
  /** the direction */
  operation: IoOperationType;
  /** what was done about it */
  action: BlockErrorAction;
}

/** A block job can be completed. */
export interface BlockJobReadyEvent {
  /** what it does */
  type: JobType;
  /** the job */
  device: string;
  /** work in all, bytes */
  len: number;
  /** work done, bytes */
  offset: number;
  /** rate limit, bytes a second */
  speed: number;
}

/** A block job waits for finalize. */
export interface BlockJobPendingEvent {
  /** what it does */
  type: JobType;
  /** the job */
  id: string;
}

/** Lets a block job rest. */
export interface BlockJobPauseArguments {
  /** name of the job */
  device: string;
}

/** Lets a block job go on. */
export interface BlockJobResumeArguments {
  /** name of the job */
  device: string;
}

/** Ends a block job that is ready: a mirror, or an active commit, puts its target in the place of the source. */
export interface BlockJobCompleteArguments {
  /** name of the job */
  device: string;
}

/** Forgets a block job that is concluded. */
export interface BlockJobDismissArguments {
  /** name of the job */
  id: string;
}

/** Makes the outcome of a pending block job final, and of all others of its transaction. */
export interface BlockJobFinalizeArguments {
  /** name of the job */
  id: string;
}


/** Closes a node that was opened by blockdev-add and that nobody uses. */
export interface BlockdevDelArguments {
  /** the node */
  'node-name': string;
}

/** Changes the size of a node. Exactly one of `device` and `node-name` says of which. */
export interface BlockResizeArguments {
  /** name of a device */
  device?: string;
  /** name of a node */
  'node-name'?: string;
  /** new size, bytes */
  size: number;
}

/** An NBD server. */
export interface NbdServerOptions {
  /** where it listens */
  addr: SocketAddress;
  /** seconds after which a client that has not chosen an export is dropped, 0 for never (default: 10; QEMU 10.0) */
  'handshake-max-seconds'?: number;
  /** credentials; clients without TLS are turned away then */
  'tls-creds'?: string;
  /** object that says which clients may come in, by the distinguished name of their certificate */
  'tls-authz'?: string;
  /** clients at the same time, 0 for any number; 1 also says that there can be only one (default: 0) */
  'max-connections'?: number;
}

/** What NBD exports have however they are made. */
export interface BlockExportOptionsNbdBase {
  /** name of the export (default: name of the node) */
  name?: string;
  /** a text for people, at most 4096 bytes */
  description?: string;
}

/** An NBD export. */
export interface BlockExportOptionsNbd extends BlockExportOptionsNbdBase {
  /** bitmaps of the node, or of its backing chain, that clients may read as qemu:dirty-bitmap:NAME */
  bitmaps?: BlockDirtyBitmapOrStr[];
  /** clients may ask which layer of the chain data comes from, as qemu:allocation-depth (default: false) */
  'allocation-depth'?: boolean;
}

/** An NBD export, as it was described before there were other kinds. */
export interface NbdServerAddOptions extends BlockExportOptionsNbdBase {
  /** the device or node */
  device: string;
  /** clients may write (default: false) */
  writable?: boolean;
  /** a bitmap that clients may read as qemu:dirty-bitmap:NAME */
  bitmap?: string;
}

/** Kinds of export. */
export type BlockExportType =
  /** over the network block device protocol */
  | 'nbd';

/** What all of {@link BlockExportOptions} have. */
export interface BlockExportOptionsBase {
  /** its kind */
  type: BlockExportType;
  /** its name among all exports */
  id: string;
  /** the node */
  'node-name': string;
  /** clients may write (default: false) */
  writable?: boolean;
  /** each write is on the disk when it is answered (default: false) */
  writethrough?: boolean;
}

/** Describes an export. */
export type BlockExportOptions =
  | (BlockExportOptionsBase & { type: 'nbd' } & BlockExportOptionsNbd);

/** Kinds of `SocketAddressLegacy`. */
export type SocketAddressLegacyType =
  /** an address of the internet */
  | 'inet'
  /** a UNIX socket */
  | 'unix'
  /** a descriptor */
  | 'fd';

/** An address of the internet, a level deeper. */
export interface InetSocketAddressWrapper {
  /** the address */
  data: InetSocketAddress;
}

/** A UNIX socket, a level deeper. */
export interface UnixSocketAddressWrapper {
  /** the socket */
  data: UnixSocketAddress;
}

/** A descriptor, a level deeper. */
export interface FdSocketAddressWrapper {
  /** the descriptor */
  data: FdSocketAddress;
}

/** What all of {@link SocketAddressLegacy} have. */
export interface SocketAddressLegacyBase {
  /** its kind */
  type: SocketAddressLegacyType;
}

/** An address in the shape that commands took first. */
export type SocketAddressLegacy =
  | (SocketAddressLegacyBase & { type: 'inet' } & InetSocketAddressWrapper)
  | (SocketAddressLegacyBase & { type: 'unix' } & UnixSocketAddressWrapper)
  | (SocketAddressLegacyBase & { type: 'fd' } & FdSocketAddressWrapper);

/** Starts the NBD server. Exports are added to it, any number. */
export interface NbdServerStartArguments {
  /** where it listens */
  addr: SocketAddressLegacy;
  /** seconds after which a client that has not chosen an export is dropped, 0 for never (default: 10; QEMU 10.0) */
  'handshake-max-seconds'?: number;
  /** credentials; clients without TLS are turned away then */
  'tls-creds'?: string;
  /** object that says which clients may come in, by the distinguished name of their certificate */
  'tls-authz'?: string;
  /** clients at the same time, 0 for any number; 1 also says that there can be only one (default: 0) */
  'max-connections'?: number;
}


/** What becomes of the clients of an export that is removed. */
export type BlockExportRemoveMode =
  /** it is not removed while there are any */
  | 'safe'
  /** they are dropped */
  | 'hard';

/** Removes an export from the NBD server. */
export interface NbdServerRemoveArguments {
  /** its name */
  name: string;
  /** what becomes of its clients (default: safe) */
  mode?: BlockExportRemoveMode;
}



/** Removes an export. */
export interface BlockExportDelArguments {
  /** its name */
  id: string;
  /** what becomes of its clients (default: safe) */
  mode?: BlockExportRemoveMode;
}

/** An export is gone, and its id is free. */
export interface BlockExportDeletedEvent {
  /** its name */
  id: string;
}

/** An export. */
export interface BlockExportInfo {
  /** its name */
  id: string;
  /** its kind */
  type: BlockExportType;
  /** the node that is offered */
  'node-name': string;
  /** it is being removed */
  'shutting-down': boolean;
}


/** How a secret is written. */
export type QCryptoSecretFormat =
  /** as it is */
  | 'raw'
  /** in base64 */
  | 'base64';

/** A password. Either `data` or `file`. */
export interface SecretProperties {
  /** how it is written (default: raw) */
  format?: QCryptoSecretFormat;
  /** the password itself; others on the host may see the command line */
  data?: string;
  /** a file that holds it, to the last byte */
  file?: string;
}

/** Side of a connection. */
export type QCryptoTLSCredsEndpoint =
  /** the one that connects */
  | 'client'
  /** the one that listens */
  | 'server';

/** What all credentials have. */
export interface TlsCredsProperties {
  /** a server demands a certificate of its clients; a client checks the server's (default: true) */
  'verify-peer'?: boolean;
  /** folder of the files with keys and certificates */
  dir?: string;
  /** the side that they are for (default: client) */
  endpoint?: QCryptoTLSCredsEndpoint;
}

/** Keys that both sides know beforehand: the file keys.psk of `dir`. */
export interface TlsCredsPskProperties extends TlsCredsProperties {
  /** the client's name (default: qemu) */
  username?: string;
}

/** Certificates: ca-cert.pem, ca-crl.pem, server-cert.pem, server-key.pem, client-cert.pem and client-key.pem of `dir`. */
export interface TlsCredsX509Properties extends TlsCredsProperties {
  /** secret that opens the private key */
  passwordid?: string;
}

/** Lets one user in. */
export interface AuthZSimpleProperties {
  /** the user: of a TLS client with a certificate, its distinguished name */
  identity: string;
}

/** A decision. */
export type QAuthZListPolicy =
  /** stays out */
  | 'deny'
  /** may come in */
  | 'allow';

/** How a rule is compared. */
export type QAuthZListFormat =
  /** letter by letter */
  | 'exact'
  /** with the wildcards of a shell */
  | 'glob';

/** One rule of a list. */
export interface QAuthZListRule {
  /** the user, or a pattern */
  match: string;
  /** the decision */
  policy: QAuthZListPolicy;
  /** how it is compared (default: exact) */
  format?: QAuthZListFormat;
}

/** Lets users in by a list; the first rule that fits decides. */
export interface AuthZListProperties {
  /** the decision where no rule fits (default: deny) */
  policy?: QAuthZListPolicy;
  /** the rules */
  rules?: QAuthZListRule[];
}

/** The same with the list in a file, as JSON. */
export interface AuthZListFileProperties {
  /** the file */
  filename: string;
  /** look at the file for each user anew (default: true); while it is broken nobody is let in */
  refresh?: boolean;
}

/** Kinds of object. */
export type ObjectType =
  /** see `AuthZListProperties` */
  | 'authz-list'
  /** see `AuthZListFileProperties` */
  | 'authz-list-file'
  /** the same, by the name that it has in QEMU's schema */
  | 'authz-listfile'
  /** see `AuthZSimpleProperties` */
  | 'authz-simple'
  /** see `SecretProperties` */
  | 'secret'
  /** see `TlsCredsPskProperties` */
  | 'tls-creds-psk'
  /** see `TlsCredsX509Properties` */
  | 'tls-creds-x509';

/** What all of {@link ObjectOptions} have. */
export interface ObjectOptionsBase {
  /** its kind */
  'qom-type': ObjectType;
  /** its name */
  id: string;
}

/** Describes an object. */
export type ObjectOptions =
  | (ObjectOptionsBase & { 'qom-type': 'authz-list' } & AuthZListProperties)
  | (ObjectOptionsBase & { 'qom-type': 'authz-list-file' } & AuthZListFileProperties)
  | (ObjectOptionsBase & { 'qom-type': 'authz-listfile' } & AuthZListFileProperties)
  | (ObjectOptionsBase & { 'qom-type': 'authz-simple' } & AuthZSimpleProperties)
  | (ObjectOptionsBase & { 'qom-type': 'secret' } & SecretProperties)
  | (ObjectOptionsBase & { 'qom-type': 'tls-creds-psk' } & TlsCredsPskProperties)
  | (ObjectOptionsBase & { 'qom-type': 'tls-creds-x509' } & TlsCredsX509Properties);


/** Removes an object. */
export interface ObjectDelArguments {
  /** its name */
  id: string;
}

/** Where an image for an operation comes from. */
export type NewImageMode =
  /** it is there already */
  | 'existing'
  /** it is made, and names its backing file by a path that does not depend on where it is looked at from; a file that is there is replaced */
  | 'absolute-paths';

/** An overlay in a file. Exactly one of `device` and `node-name` says of what. */
export interface BlockdevSnapshotSync {
  /** name of a device */
  device?: string;
  /** name of a node */
  'node-name'?: string;
  /** name of the overlay's file */
  'snapshot-file': string;
  /** name for the overlay's node */
  'snapshot-node-name'?: string;
  /** format of the overlay (default: qcow2) */
  format?: string;
  /** whether it is made (default: absolute-paths) */
  mode?: NewImageMode;
}

/** A node as the overlay of another. */
export interface BlockdevSnapshot {
  /** the node that becomes the backing node */
  node: string;
  /** the node that takes its place; it has no backing node, and nobody uses it */
  overlay: string;
}

/** Every type by its name. */
export interface QapiTypes {
  QMPCapability: QMPCapability;
  QmpCapabilitiesArguments: QmpCapabilitiesArguments;
  VersionTriple: VersionTriple;
  VersionInfo: VersionInfo;
  CommandInfo: CommandInfo;
  MonitorMode: MonitorMode;
  MonitorOptions: MonitorOptions;
  ChardevBackend: ChardevBackend;
  ChardevOptions: ChardevOptions;
  ChardevSocketOptions: ChardevSocketOptions;
  SchemaMetaType: SchemaMetaType;
  JSONType: JSONType;
  SchemaInfo: SchemaInfo;
  SchemaInfoBuiltin: SchemaInfoBuiltin;
  SchemaInfoEnum: SchemaInfoEnum;
  SchemaInfoEnumMember: SchemaInfoEnumMember;
  SchemaInfoArray: SchemaInfoArray;
  SchemaInfoObject: SchemaInfoObject;
  SchemaInfoObjectMember: SchemaInfoObjectMember;
  SchemaInfoObjectVariant: SchemaInfoObjectVariant;
  SchemaInfoAlternate: SchemaInfoAlternate;
  SchemaInfoAlternateMember: SchemaInfoAlternateMember;
  SchemaInfoCommand: SchemaInfoCommand;
  SchemaInfoEvent: SchemaInfoEvent;
  OnOffAuto: OnOffAuto;
  PreallocMode: PreallocMode;
  IoOperationType: IoOperationType;
  BlockErrorAction: BlockErrorAction;
  SocketAddressType: SocketAddressType;
  InetSocketAddress: InetSocketAddress;
  UnixSocketAddress: UnixSocketAddress;
  FdSocketAddress: FdSocketAddress;
  SocketAddress: SocketAddress;
  BlockdevDriver: BlockdevDriver;
  BlockdevDiscardOptions: BlockdevDiscardOptions;
  BlockdevDetectZeroesOptions: BlockdevDetectZeroesOptions;
  BlockdevAioOptions: BlockdevAioOptions;
  BlockdevCacheOptions: BlockdevCacheOptions;
  BlockdevOptionsFile: BlockdevOptionsFile;
  BlockdevOptionsNbd: BlockdevOptionsNbd;
  BlockdevOptionsNull: BlockdevOptionsNull;
  BlockdevOptionsGenericFormat: BlockdevOptionsGenericFormat;
  BlockdevOptionsRaw: BlockdevOptionsRaw;
  BlockdevOptionsGenericCOWFormat: BlockdevOptionsGenericCOWFormat;
  Qcow2OverlapCheckMode: Qcow2OverlapCheckMode;
  Qcow2OverlapCheckFlags: Qcow2OverlapCheckFlags;
  Qcow2OverlapChecks: Qcow2OverlapChecks;
  BlockdevOptionsQcow2: BlockdevOptionsQcow2;
  BlockdevOptions: BlockdevOptions;
  BlockdevRef: BlockdevRef;
  BlockdevRefOrNull: BlockdevRefOrNull;
  BlockdevCreateOptionsFile: BlockdevCreateOptionsFile;
  BlockdevCreateOptionsRaw: BlockdevCreateOptionsRaw;
  BlockdevQcow2Version: BlockdevQcow2Version;
  Qcow2CompressionType: Qcow2CompressionType;
  BlockdevCreateOptionsQcow2: BlockdevCreateOptionsQcow2;
  BlockdevCreateOptions: BlockdevCreateOptions;
  SnapshotInfo: SnapshotInfo;
  Qcow2BitmapInfoFlags: Qcow2BitmapInfoFlags;
  Qcow2BitmapInfo: Qcow2BitmapInfo;
  ImageInfoSpecificQCow2: ImageInfoSpecificQCow2;
  ImageInfoSpecificQCow2Wrapper: ImageInfoSpecificQCow2Wrapper;
  ImageInfoSpecificKind: ImageInfoSpecificKind;
  ImageInfoSpecific: ImageInfoSpecific;
  ImageInfo: ImageInfo;
  ImageCheck: ImageCheck;
  MapEntry: MapEntry;
  BlockDeviceIoStatus: BlockDeviceIoStatus;
  BlockDirtyInfo: BlockDirtyInfo;
  BlockDirtyBitmap: BlockDirtyBitmap;
  BlockDirtyBitmapOrStr: BlockDirtyBitmapOrStr;
  BlockDirtyBitmapAdd: BlockDirtyBitmapAdd;
  BlockDirtyBitmapMerge: BlockDirtyBitmapMerge;
  BlockIOThrottle: BlockIOThrottle;
  ThrottleLimits: ThrottleLimits;
  JobType: JobType;
  JobStatus: JobStatus;
  JobVerb: JobVerb;
  JobInfo: JobInfo;
  BlockJobInfo: BlockJobInfo;
  BlockdevOnError: BlockdevOnError;
  MirrorSyncMode: MirrorSyncMode;
  BitmapSyncMode: BitmapSyncMode;
  MirrorCopyMode: MirrorCopyMode;
  BlockStreamArguments: BlockStreamArguments;
  BlockCommitArguments: BlockCommitArguments;
  BlockdevMirror: BlockdevMirror;
  BackupPerf: BackupPerf;
  BackupCommon: BackupCommon;
  BlockdevBackup: BlockdevBackup;
  JobPauseArguments: JobPauseArguments;
  JobResumeArguments: JobResumeArguments;
  JobCancelArguments: JobCancelArguments;
  JobCompleteArguments: JobCompleteArguments;
  JobDismissArguments: JobDismissArguments;
  JobFinalizeArguments: JobFinalizeArguments;
  BlockJobSetSpeedArguments: BlockJobSetSpeedArguments;
  BlockJobCancelArguments: BlockJobCancelArguments;
  BlockJobChangeOptionsMirror: BlockJobChangeOptionsMirror;
  BlockJobChangeOptions: BlockJobChangeOptions;
  JobStatusChangeEvent: JobStatusChangeEvent;
  BlockJobCompletedEvent: BlockJobCompletedEvent;
  BlockJobCancelledEvent: BlockJobCancelledEvent;
  BlockJobErrorEvent: BlockJobErrorEvent;
  BlockJobReadyEvent: BlockJobReadyEvent;
  BlockJobPendingEvent: BlockJobPendingEvent;
  BlockJobPauseArguments: BlockJobPauseArguments;
  BlockJobResumeArguments: BlockJobResumeArguments;
  BlockJobCompleteArguments: BlockJobCompleteArguments;
  BlockJobDismissArguments: BlockJobDismissArguments;
  BlockJobFinalizeArguments: BlockJobFinalizeArguments;
  BlockdevDelArguments: BlockdevDelArguments;
  BlockResizeArguments: BlockResizeArguments;
  NbdServerOptions: NbdServerOptions;
  BlockExportOptionsNbdBase: BlockExportOptionsNbdBase;
  BlockExportOptionsNbd: BlockExportOptionsNbd;
  NbdServerAddOptions: NbdServerAddOptions;
  BlockExportType: BlockExportType;
  BlockExportOptions: BlockExportOptions;
  SocketAddressLegacyType: SocketAddressLegacyType;
  InetSocketAddressWrapper: InetSocketAddressWrapper;
  UnixSocketAddressWrapper: UnixSocketAddressWrapper;
  FdSocketAddressWrapper: FdSocketAddressWrapper;
  SocketAddressLegacy: SocketAddressLegacy;
  NbdServerStartArguments: NbdServerStartArguments;
  BlockExportRemoveMode: BlockExportRemoveMode;
  NbdServerRemoveArguments: NbdServerRemoveArguments;
  BlockExportDelArguments: BlockExportDelArguments;
  BlockExportDeletedEvent: BlockExportDeletedEvent;
  BlockExportInfo: BlockExportInfo;
  QCryptoSecretFormat: QCryptoSecretFormat;
  SecretProperties: SecretProperties;
  QCryptoTLSCredsEndpoint: QCryptoTLSCredsEndpoint;
  TlsCredsProperties: TlsCredsProperties;
  TlsCredsPskProperties: TlsCredsPskProperties;
  TlsCredsX509Properties: TlsCredsX509Properties;
  AuthZSimpleProperties: AuthZSimpleProperties;
  QAuthZListPolicy: QAuthZListPolicy;
  QAuthZListFormat: QAuthZListFormat;
  QAuthZListRule: QAuthZListRule;
  AuthZListProperties: AuthZListProperties;
  AuthZListFileProperties: AuthZListFileProperties;
  ObjectType: ObjectType;
  ObjectOptions: ObjectOptions;
  ObjectDelArguments: ObjectDelArguments;
  NewImageMode: NewImageMode;
  BlockdevSnapshotSync: BlockdevSnapshotSync;
  BlockdevSnapshot: BlockdevSnapshot;
}

/** Arguments and answer of each command. */
export interface QapiCommands {
  qmp_capabilities: { arguments: QmpCapabilitiesArguments; returns: Record<string, never> };
  'query-version': { arguments: Record<string, never>; returns: VersionInfo };
  'query-commands': { arguments: Record<string, never>; returns: CommandInfo[] };
  quit: { arguments: Record<string, never>; returns: Record<string, never> };
  'query-qmp-schema': { arguments: Record<string, never>; returns: SchemaInfo[] };
  'block-stream': { arguments: BlockStreamArguments; returns: Record<string, never> };
  'block-commit': { arguments: BlockCommitArguments; returns: Record<string, never> };
  'blockdev-mirror': { arguments: BlockdevMirror; returns: Record<string, never> };
  'blockdev-backup': { arguments: BlockdevBackup; returns: Record<string, never> };
  'job-pause': { arguments: JobPauseArguments; returns: Record<string, never> };
  'job-resume': { arguments: JobResumeArguments; returns: Record<string, never> };
  'job-cancel': { arguments: JobCancelArguments; returns: Record<string, never> };
  'job-complete': { arguments: JobCompleteArguments; returns: Record<string, never> };
  'job-dismiss': { arguments: JobDismissArguments; returns: Record<string, never> };
  'job-finalize': { arguments: JobFinalizeArguments; returns: Record<string, never> };
  'query-jobs': { arguments: Record<string, never>; returns: JobInfo[] };
  'query-block-jobs': { arguments: Record<string, never>; returns: BlockJobInfo[] };
  'block-job-set-speed': { arguments: BlockJobSetSpeedArguments; returns: Record<string, never> };
  'block-job-cancel': { arguments: BlockJobCancelArguments; returns: Record<string, never> };
  'block-job-change': { arguments: BlockJobChangeOptions; returns: Record<string, never> };
  'block-job-pause': { arguments: BlockJobPauseArguments; returns: Record<string, never> };
  'block-job-resume': { arguments: BlockJobResumeArguments; returns: Record<string, never> };
  'block-job-complete': { arguments: BlockJobCompleteArguments; returns: Record<string, never> };
  'block-job-dismiss': { arguments: BlockJobDismissArguments; returns: Record<string, never> };
  'block-job-finalize': { arguments: BlockJobFinalizeArguments; returns: Record<string, never> };
  'blockdev-add': { arguments: BlockdevOptions; returns: Record<string, never> };
  'blockdev-del': { arguments: BlockdevDelArguments; returns: Record<string, never> };
  block_resize: { arguments: BlockResizeArguments; returns: Record<string, never> };
  'nbd-server-start': { arguments: NbdServerStartArguments; returns: Record<string, never> };
  'nbd-server-add': { arguments: NbdServerAddOptions; returns: Record<string, never> };
  'nbd-server-remove': { arguments: NbdServerRemoveArguments; returns: Record<string, never> };
  'nbd-server-stop': { arguments: Record<string, never>; returns: Record<string, never> };
  'block-export-add': { arguments: BlockExportOptions; returns: Record<string, never> };
  'block-export-del': { arguments: BlockExportDelArguments; returns: Record<string, never> };
  'query-block-exports': { arguments: Record<string, never>; returns: BlockExportInfo[] };
  'object-add': { arguments: ObjectOptions; returns: Record<string, never> };
  'object-del': { arguments: ObjectDelArguments; returns: Record<string, never> };
}

/** Data of each event. */
export interface QapiEvents {
  JOB_STATUS_CHANGE: JobStatusChangeEvent;
  BLOCK_JOB_COMPLETED: BlockJobCompletedEvent;
  BLOCK_JOB_CANCELLED: BlockJobCancelledEvent;
  BLOCK_JOB_ERROR: BlockJobErrorEvent;
  BLOCK_JOB_READY: BlockJobReadyEvent;
  BLOCK_JOB_PENDING: BlockJobPendingEvent;
  BLOCK_EXPORT_DELETED: BlockExportDeletedEvent;
}
