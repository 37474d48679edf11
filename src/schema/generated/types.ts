// Generated from src/schema/*.qapi by `npm run schema`. Do not edit.

/** Capabilities that a client may enable during negotiation. */
export type QMPCapability =
  /** out-of-band commands, by exec-oob */
  | 'oob';

/** Ends the capabilities negotiation: from now on, all other commands are accepted. */
export interface QmpCapabilitiesArguments {
  /** capabilities that the client enables */
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

/** Version of the monitor. */
export interface VersionInfo {
  /** the version of QEMU that the commands are taken from */
  qemu: VersionTriple;
  /** name and version of this program */
  package: string;
}


/** A command. */
export interface CommandInfo {
  /** its name */
  name: string;
}


/** What a parameter takes. */
export type CommandLineParameterType =
  /** text */
  | 'string'
  /** on or off */
  | 'boolean'
  /** a whole number */
  | 'number'
  /** a number of bytes, which may have a suffix */
  | 'size';

/** A parameter of an option. */
export interface CommandLineParameterInfo {
  /** its name; with dots where it is a member of another one, with 0 for the first item of a list */
  name: string;
  /** what it takes */
  type: CommandLineParameterType;
  /** what it is for; never there */
  help?: string;
  /** its default value; never there */
  default?: string;
}

/** An option of the program's command line. */
export interface CommandLineOptionInfo {
  /** its name, without dashes */
  option: string;
  /** its parameters; none where these depend on a driver or a type, of which query-qmp-schema tells */
  parameters: CommandLineParameterInfo[];
}

/** Lists the options of the program's command line that take parameters. Only a daemon has some. */
export interface QueryCommandLineOptionsArguments {
  /** the one that is asked for (default: all) */
  option?: string;
}


/** Mode of a monitor. */
export type MonitorMode =
  /** commands for people; not supported */
  | 'readline'
  /** QMP */
  | 'control';

/** A monitor. */
export interface MonitorOptions {
  /** its name */
  id?: string;
  /** mode of the monitor (default: control) */
  mode?: MonitorMode;
  /** pretty-printed JSON (default: false) */
  pretty?: boolean;
  /** id of the monitor's character device */
  chardev: string;
}

/** The kind of entity that a `SchemaInfo` describes. */
export type SchemaMetaType =
  /** a built-in type */
  | 'builtin'
  /** an enumeration type */
  | 'enum'
  /** a list */
  | 'array'
  /** a struct or a union */
  | 'object'
  /** one of several types, distinguished by the kind of JSON value */
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
  /** name of the entity; names of types have no meaning */
  name: string;
  /** kind of the entity */
  'meta-type': SchemaMetaType;
  /** names of the entity's features */
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

/** A built-in type. */
export interface SchemaInfoBuiltin {
  /** its type in JSON */
  'json-type': JSONType;
}

/** An enumeration type. */
export interface SchemaInfoEnum {
  /** the values, with their features */
  members: SchemaInfoEnumMember[];
  /**
   * the values
   * @deprecated
   */
  values: string[];
}

/** A value of an enumeration type. */
export interface SchemaInfoEnumMember {
  /** the value */
  name: string;
  /** names of its features */
  features?: string[];
}

/** A list. */
export interface SchemaInfoArray {
  /** type of its elements */
  'element-type': string;
}

/** A struct or a union. */
export interface SchemaInfoObject {
  /** members that all variants have */
  members: SchemaInfoObjectMember[];
  /** the member that selects the variant */
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
  /** names of its features */
  features?: string[];
}

/** A variant of a union. */
export interface SchemaInfoObjectVariant {
  /** value of the tag */
  case: string;
  /** type whose members are added */
  type: string;
}

/** One of several types. */
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
  /** type of its return value */
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
  /** chosen automatically */
  | 'auto'
  /** enabled; an error where that is not possible */
  | 'on'
  /** disabled */
  | 'off';

/** How much of a new image, or of the new part of an image that grows, is preallocated. */
export type PreallocMode =
  /** nothing */
  | 'off'
  /** the metadata of the format, but no space for data */
  | 'metadata'
  /** like `full`, but the space is allocated by fallocate(), and not written */
  | 'falloc'
  /** all space is allocated, and written with zeroes */
  | 'full';

/** Kind of an I/O operation. */
export type IoOperationType =
  /** read operation */
  | 'read'
  /** write operation */
  | 'write';

/** The action that was taken after a request failed. */
export type BlockErrorAction =
  /** the error was ignored */
  | 'ignore'
  /** the error was reported to the guest, or failed the job */
  | 'report'
  /** the job, or the guest, was stopped */
  | 'stop';

/** Digests. */
export type QCryptoHashAlgorithm =
  /** MD5; for what exists already */
  | 'md5'
  /** SHA-1; for what exists already */
  | 'sha1'
  /** SHA-224 */
  | 'sha224'
  /** SHA-256 */
  | 'sha256'
  /** SHA-384 */
  | 'sha384'
  /** SHA-512 */
  | 'sha512'
  /** RIPEMD-160 */
  | 'ripemd160';

/** Ciphers. Those other than AES are known, and refused: no library that Diskwright keeps has them. */
export type QCryptoCipherAlgorithm =
  /** AES with keys of 16 bytes */
  | 'aes-128'
  /** AES with keys of 24 bytes */
  | 'aes-192'
  /** AES with keys of 32 bytes */
  | 'aes-256'
  /** DES */
  | 'des'
  /** DES three times */
  | '3des'
  /** CAST5 with keys of 16 bytes */
  | 'cast5-128'
  /** Serpent with keys of 16 bytes */
  | 'serpent-128'
  /** Serpent with keys of 24 bytes */
  | 'serpent-192'
  /** Serpent with keys of 32 bytes */
  | 'serpent-256'
  /** Twofish with keys of 16 bytes */
  | 'twofish-128'
  /** Twofish with keys of 24 bytes */
  | 'twofish-192'
  /** Twofish with keys of 32 bytes */
  | 'twofish-256';

/** How a cipher is applied to the blocks of a sector. */
export type QCryptoCipherMode =
  /** each block by itself; equal blocks stay equal */
  | 'ecb'
  /** each block depends on the one before it */
  | 'cbc'
  /** each block depends on its place; takes two keys */
  | 'xts'
  /** a counter is encrypted, and mixed with the block; reveals much of a sector that is written twice */
  | 'ctr';

/** How the number of a sector becomes its initialization vector. */
export type QCryptoIVGenAlgorithm =
  /** its low 32 bits */
  | 'plain'
  /** all of it */
  | 'plain64'
  /** all of it, encrypted with a digest of the key */
  | 'essiv';

/** Formats of encrypted disks. */
export type QCryptoBlockFormat =
  /** AES in CBC mode, with the password as its key; only for what exists already */
  | 'qcow'
  /** LUKS, version 1 */
  | 'luks';

/** What all formats of encrypted disks have. */
export interface QCryptoBlockOptionsBase {
  /** the format */
  format: QCryptoBlockFormat;
}

/** Options of AES in CBC mode. */
export interface QCryptoBlockOptionsQCow {
  /** id of the secret object with the password; may be left out where only metadata is looked at */
  'key-secret'?: string;
}

/** Options of LUKS. */
export interface QCryptoBlockOptionsLUKS {
  /** id of the secret object with the password; may be left out where only metadata is looked at */
  'key-secret'?: string;
}

/** Options of a new disk that is encrypted with LUKS. */
export interface QCryptoBlockCreateOptionsLUKS extends QCryptoBlockOptionsLUKS {
  /** the cipher (default: aes-256) */
  'cipher-alg'?: QCryptoCipherAlgorithm;
  /** its mode (default: xts) */
  'cipher-mode'?: QCryptoCipherMode;
  /** how initialization vectors are made (default: plain64) */
  'ivgen-alg'?: QCryptoIVGenAlgorithm;
  /** the digest for essiv (default: sha256) */
  'ivgen-hash-alg'?: QCryptoHashAlgorithm;
  /** the digest of the key derivation (default: sha256) */
  'hash-alg'?: QCryptoHashAlgorithm;
  /** milliseconds that the key derivation of one password takes (default: 2000) */
  'iter-time'?: number;
}

/** Options of a new encrypted disk. */
export type QCryptoBlockCreateOptions =
  | (QCryptoBlockOptionsBase & { format: 'qcow' } & QCryptoBlockOptionsQCow)
  | (QCryptoBlockOptionsBase & { format: 'luks' } & QCryptoBlockCreateOptionsLUKS);

/** A key slot. */
export interface QCryptoBlockInfoLUKSSlot {
  /** a password opens it */
  active: boolean;
  /** iterations of its key derivation */
  iters?: number;
  /** stripes that its key material is split into */
  stripes?: number;
  /** where its key material is, in bytes */
  'key-offset': number;
}

/** Information about LUKS. */
export interface QCryptoBlockInfoLUKS {
  /** the cipher */
  'cipher-alg': QCryptoCipherAlgorithm;
  /** its mode */
  'cipher-mode': QCryptoCipherMode;
  /** how initialization vectors are made */
  'ivgen-alg': QCryptoIVGenAlgorithm;
  /** the digest for essiv */
  'ivgen-hash-alg'?: QCryptoHashAlgorithm;
  /** the digest of the key derivation */
  'hash-alg': QCryptoHashAlgorithm;
  /** the header lies in another node than the disk; left out where it does not */
  'detached-header'?: boolean;
  /** where the disk begins in its node, in bytes */
  'payload-offset': number;
  /** iterations of the key derivation for the digest of the disk's key */
  'master-key-iters': number;
  /** the disk's unique identifier */
  uuid: string;
  /** the key slots */
  slots: QCryptoBlockInfoLUKSSlot[];
}

/** What is to become of key slots. */
export type QCryptoBlockLUKSKeyslotState =
  /** they hold a password's key */
  | 'active'
  /** they are erased */
  | 'inactive';

/** A change of key slots. */
export interface QCryptoBlockAmendOptionsLUKS {
  /** what is to become of them */
  state: QCryptoBlockLUKSKeyslotState;
  /** id of the secret object with the password that a slot is filled for */
  'new-secret'?: string;
  /** id of the secret object whose password the slots to be erased hold */
  'old-secret'?: string;
  /** number of the slot (default: the first free one, or those that hold `old-secret`) */
  keyslot?: number;
  /** milliseconds that the key derivation of the new password takes (default: 2000) */
  'iter-time'?: number;
  /** id of the secret object with a password that the image has already (default: the one that it was opened with) */
  secret?: string;
}

/** Kinds of address. */
export type SocketAddressType =
  /** TCP, over IPv4 or IPv6 */
  | 'inet'
  /** UNIX domain socket */
  | 'unix'
  /** an existing socket, by its file descriptor */
  | 'fd';

/** TCP. */
export interface InetSocketAddress {
  /** name or address of the host; empty to listen on all addresses */
  host: string;
  /** port: digits, or the name of a service of this host */
  port: string;
  /** `host` must be an address and `port` digits; names are errors (default: false) */
  numeric?: boolean;
  /** the last port that a socket may listen at: it takes the first one from `port` on that is free */
  to?: number;
  /** use IPv4 (default: IPv4 and IPv6, unless only the other one is given) */
  ipv4?: boolean;
  /** use IPv6 (default: as `ipv4`) */
  ipv6?: boolean;
  /** enable keep-alive of TCP, so that a lost peer is detected (default: false) */
  'keep-alive'?: boolean;
}

/** UNIX domain socket. */
export interface UnixSocketAddress {
  /** file of the socket */
  path: string;
  /** `path` is a name in the abstract name space of Linux, not a file (default: false) */
  abstract?: boolean;
  /** an abstract name ends with `path`; else, zeroes fill it up to the length of an address, and it is another name (default: true) */
  tight?: boolean;
}

/** An existing socket. */
export interface FdSocketAddress {
  /** the name that the descriptor was passed under (getfd); on the command line also its number, in digits */
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

/** Drivers of nodes. */
export type BlockdevDriver =
  /** filter: makes requests fail, or wait, where rules say so; and restricts them */
  | 'blkdebug'
  /** filter: writes all writes to a log, too, as Linux's dm-log-writes does */
  | 'blklogwrites'
  /** filter: compares a node with another one, which has the same content */
  | 'blkverify'
  /** format: a growing image of the emulator Bochs, read only */
  | 'bochs'
  /** format: a compressed loop image of Linux, read only */
  | 'cloop'
  /** filter: what is written is stored compressed */
  | 'compress'
  /** filter: keeps what its node held at one moment: before a write, the old content is saved in a target */
  | 'copy-before-write'
  /** filter: what is read from a backing file is stored in the layer that it was read through */
  | 'copy-on-read'
  /** format: the copy-on-write file of user-mode-linux (Diskwright's own member: QEMU has it no more) */
  | 'cow'
  /** format: a disk image of Apple, read only */
  | 'dmg'
  /** protocol: a regular file */
  | 'file'
  /** protocol: a block device of the host */
  | 'host_device'
  /** protocol: a file on an HTTP server */
  | 'http'
  /** protocol: a file on an HTTP server, over TLS */
  | 'https'
  /** format: a disk that is encrypted with LUKS, version 1 */
  | 'luks'
  /** protocol: an export of an NBD server */
  | 'nbd'
  /** protocol: as null-co */
  | 'null-aio'
  /** protocol: ignores writes, and reads return no stored data; for measurements */
  | 'null-co'
  /** format: the image of Parallels */
  | 'parallels'
  /** filter: a file that grows gets more space than is needed at the moment */
  | 'preallocate'
  /** format: QEMU's copy-on-write image, version 1 */
  | 'qcow'
  /** format: QEMU's copy-on-write image, versions 2 and 3 */
  | 'qcow2'
  /** format: QEMU's enhanced disk */
  | 'qed'
  /** filter: several nodes with the same content, which vote */
  | 'quorum'
  /** format: the bytes of the file as they are, or a window of them */
  | 'raw'
  /** filter: reads as its copy-before-write node did at that moment */
  | 'snapshot-access'
  /** protocol: a file on another machine, by SFTP */
  | 'ssh'
  /** filter: requests go on at the rate that a throttle group allows */
  | 'throttle'
  /** format: VirtualBox's image */
  | 'vdi'
  /** format: the VHDX image of Hyper-V */
  | 'vhdx'
  /** format: VMware's image */
  | 'vmdk'
  /** format: the VHD image of Virtual PC, Hyper-V and Xen */
  | 'vpc'
  /** protocol: a folder, shown as a disk with a FAT file system */
  | 'vvfat';

/** What a discard request does. */
export type BlockdevDiscardOptions =
  /** the request is ignored */
  | 'ignore'
  /** the request is passed to the storage, which may free the space */
  | 'unmap';

/** Whether writes of zeroes are detected. */
export type BlockdevDetectZeroesOptions =
  /** disabled */
  | 'off'
  /** a write of zeroes becomes a request to write zeroes */
  | 'on'
  /** as `on`, and the range may be unmapped (requires discard=unmap) */
  | 'unmap';

/** The I/O engine. */
export type BlockdevAioOptions =
  /** a pool of threads */
  | 'threads'
  /** Linux AIO; Diskwright uses io_uring for it; requires cache.direct */
  | 'native'
  /** io_uring */
  | 'io_uring';

/** Use of the host's page cache. */
export interface BlockdevCacheOptions {
  /** bypass the page cache, with O_DIRECT (default: false) */
  direct?: boolean;
  /** ignore flush requests (default: false) */
  'no-flush'?: boolean;
}

/** Driver options of file and host_device. */
export interface BlockdevOptionsFile {
  /** path of the file */
  filename: string;
  /** whether the file is locked as QEMU locks images (default: auto: where the system supports it) */
  locking?: OnOffAuto;
  /** the I/O engine (default: the one that the host runs) */
  aio?: BlockdevAioOptions;
}

/** Driver options of nbd. */
export interface BlockdevOptionsNbd {
  /** address of the server */
  server: SocketAddress;
  /** name of the export (default: the empty name) */
  export?: string;
  /** id of the TLS credentials object; with it, the connection must use TLS */
  'tls-creds'?: string;
  /** name that the server's certificate must have (default: the host in `server`) */
  'tls-hostname'?: string;
  /** a metadata context of the server, such as qemu:dirty-bitmap:NAME, that block status is read from instead of base:allocation: dirty ranges count as not allocated, the others as data */
  'x-dirty-bitmap'?: string;
  /** seconds that requests wait for a new connection after the connection was lost; 0: they fail at once (default: 0) */
  'reconnect-delay'?: number;
  /** seconds in which attempts to connect are repeated; 0: one attempt (default: 0) */
  'open-timeout'?: number;
  /** number of connections, 1 to 16, where the server allows more than one (default: 1; not in QEMU) */
  'x-multi-conn'?: number;
}

/** Driver options of all protocols that read a URL. */
export interface BlockdevOptionsCurlBase {
  /** the URL of the image */
  url: string;
  /** bytes that are fetched at least, where something is; a multiple of 512 (default: 256 KiB) */
  readahead?: number;
  /** seconds after which a server that does not answer is given up; 0: never (default: 5) */
  timeout?: number;
  /** name for the server (default: none) */
  username?: string;
  /** id of the secret that holds its password (default: none) */
  'password-secret'?: string;
  /** name for the proxy (default: none) */
  'proxy-username'?: string;
  /** id of the secret that holds its password (default: none) */
  'proxy-password-secret'?: string;
}

/** Driver options of http. */
export interface BlockdevOptionsCurlHttp extends BlockdevOptionsCurlBase {
  /** cookies that go with each request, as `name=value; name=value` (default: none) */
  cookie?: string;
  /** id of the secret that holds them (default: none) */
  'cookie-secret'?: string;
  /** ask for a range at once, not by HEAD, for a server that takes GET alone (default: false) */
  'force-range'?: boolean;
}

/** Driver options of https. */
export interface BlockdevOptionsCurlHttps extends BlockdevOptionsCurlHttp {
  /** refuse a server whose certificate is not valid (default: true) */
  sslverify?: boolean;
}

/** How it is found out whether a server is the right one. */
export type SshHostKeyCheckMode =
  /** it is believed */
  | 'none'
  /** its key has this hash */
  | 'hash'
  /** its key is the one that the user's, or the system's, known_hosts has */
  | 'known_hosts';

/** Kinds of hashes of a key. */
export type SshHostKeyCheckHashType =
  /** MD5 */
  | 'md5'
  /** SHA-1 */
  | 'sha1'
  /** SHA-256 */
  | 'sha256';

/** The hash of a server's key. */
export interface SshHostKeyHash {
  /** its kind */
  type: SshHostKeyCheckHashType;
  /** its bytes in hexadecimal digits, with or without colons */
  hash: string;
}

/** What all of {@link SshHostKeyCheck} have. */
export interface SshHostKeyCheckBase {
  /** how it is checked */
  mode: SshHostKeyCheckMode;
}

/** What is demanded of a server's key. */
export type SshHostKeyCheck =
  | (SshHostKeyCheckBase & { mode: 'none' })
  | (SshHostKeyCheckBase & { mode: 'hash' } & SshHostKeyHash)
  | (SshHostKeyCheckBase & { mode: 'known_hosts' });

/** Driver options of ssh. */
export interface BlockdevOptionsSsh {
  /** address of the server */
  server: InetSocketAddress;
  /** path of the file there; a relative one counts from the user's home folder */
  path: string;
  /** name of the user there (default: that of the user here) */
  user?: string;
  /** what is demanded of the server's key (default: known_hosts) */
  'host-key-check'?: SshHostKeyCheck;
}

/** Driver options of null-co and null-aio. */
export interface BlockdevOptionsNull {
  /** bytes (default: 1 GiB) */
  size?: number;
  /** nanoseconds that each request takes (default: 0) */
  'latency-ns'?: number;
  /** the node reports that it reads as zeroes (default: false) */
  'read-zeroes'?: boolean;
}

/** Driver options of vvfat. */
export interface BlockdevOptionsVVFAT {
  /** path of the folder */
  dir: string;
  /** 12, 16 or 32 (default: 16, and 12 of a floppy) */
  'fat-type'?: number;
  /** the disk is a floppy of 2.88 MB, or 1.44 MB with FAT12, without a partition table (default: false) */
  floppy?: boolean;
  /** name of the volume, up to 11 characters (default: QEMU VVFAT) */
  label?: string;
  /** what is written to the disk is written to the folder (default: false) */
  rw?: boolean;
}

/** Options of every format. */
export interface BlockdevOptionsGenericFormat {
  /** the node with the image */
  file: BlockdevRef;
}

/** Driver options of raw. */
export interface BlockdevOptionsRaw extends BlockdevOptionsGenericFormat {
  /** start of the disk in the file, in bytes (default: 0) */
  offset?: number;
  /** bytes of the disk (default: from `offset` to the end of the file) */
  size?: number;
}

/** Options of a format with backing files. */
export interface BlockdevOptionsGenericCOWFormat extends BlockdevOptionsGenericFormat {
  /** the backing node; null for none (default: the backing file in the image's header) */
  backing?: BlockdevRefOrNull;
}

/** Driver options of vpc. */
export interface BlockdevOptionsVpc extends BlockdevOptionsGenericCOWFormat {
  /** what the size of the disk follows from, whichever program made the image: chs (cylinders, heads and sectors), or current_size */
  force_size_calc?: string;
}

/** Driver options of luks. */
export interface BlockdevOptionsLUKS extends BlockdevOptionsGenericFormat {
  /** id of the secret object with the password; may be left out where only metadata is looked at */
  'key-secret'?: string;
  /** the node that holds the LUKS header and the key material, where these are detached: `file` holds the disk alone then */
  header?: BlockdevRef;
}

/** How a qcow image is encrypted. */
export type BlockdevQcowEncryptionFormat =
  /** AES in CBC mode, with the password as its key */
  | 'aes';

/** What all of {@link BlockdevQcowEncryption} have. */
export interface BlockdevQcowEncryptionBase {
  /** how it is encrypted */
  format: BlockdevQcowEncryptionFormat;
}

/** Options of an encrypted qcow image. */
export type BlockdevQcowEncryption =
  | (BlockdevQcowEncryptionBase & { format: 'aes' } & QCryptoBlockOptionsQCow);

/** Driver options of qcow. */
export interface BlockdevOptionsQcow extends BlockdevOptionsGenericCOWFormat {
  /** how the image is encrypted, and the password */
  encrypt?: BlockdevQcowEncryption;
}

/** How a qcow2 image is encrypted. */
export type BlockdevQcow2EncryptionFormat =
  /** AES in CBC mode, with the password as its key; only for what exists already */
  | 'aes'
  /** LUKS, version 1 */
  | 'luks';

/** What all of {@link BlockdevQcow2Encryption} have. */
export interface BlockdevQcow2EncryptionBase {
  /** how it is encrypted */
  format: BlockdevQcow2EncryptionFormat;
}

/** Options of an encrypted qcow2 image. */
export type BlockdevQcow2Encryption =
  | (BlockdevQcow2EncryptionBase & { format: 'aes' } & QCryptoBlockOptionsQCow)
  | (BlockdevQcow2EncryptionBase & { format: 'luks' } & QCryptoBlockOptionsLUKS);

/** Sets of metadata that writes are checked against. */
export type Qcow2OverlapCheckMode =
  /** no checks */
  | 'none'
  /** metadata that takes a constant time to check */
  | 'constant'
  /** `constant`, and metadata whose place is in memory */
  | 'cached'
  /** all metadata */
  | 'all';

/** Kinds of metadata that writes are checked against. */
export interface Qcow2OverlapCheckFlags {
  /** the set that applies to members that are left out */
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

/** Which metadata a write must not overlap. */
export type Qcow2OverlapChecks =
  /** each kind separately */
  | Qcow2OverlapCheckFlags
  /** a named set */
  | Qcow2OverlapCheckMode;

/** Driver options of qcow2. */
export interface BlockdevOptionsQcow2 extends BlockdevOptionsGenericCOWFormat {
  /** the external data file, where the image has one (default: what the header names) */
  'data-file'?: BlockdevRef;
  /** refcounts may be written late, as the image says (default: as the image says). They are written in time anyway: nothing is gained or lost */
  'lazy-refcounts'?: boolean;
  /** clusters that a guest discards are discarded in the file (default: true if discard=unmap) */
  'pass-discard-request'?: boolean;
  /** clusters that are freed by deleting a snapshot are discarded in the file (default: true) */
  'pass-discard-snapshot'?: boolean;
  /** clusters that are freed for other reasons are discarded in the file (default: false) */
  'pass-discard-other'?: boolean;
  /** clusters that are discarded, or become zeroes, stay allocated for the data that is written there next: the image does not become fragmented. Whether their content is discarded in the file is `pass-discard-request`'s to say. Version 3 only (default: false) */
  'discard-no-unref'?: boolean;
  /** which metadata a write must not overlap (default: cached) */
  'overlap-check'?: Qcow2OverlapChecks;
  /** bytes of the L2 and the refcount cache together */
  'cache-size'?: number;
  /** bytes of the L2 cache */
  'l2-cache-size'?: number;
  /** bytes of one entry of the L2 cache, a power of two from 512 to the cluster size */
  'l2-cache-entry-size'?: number;
  /** bytes of the refcount cache */
  'refcount-cache-size'?: number;
  /** seconds after which unused cache entries are removed, 0 for never (default: 600) */
  'cache-clean-interval'?: number;
  /** how the image is encrypted, and the password */
  encrypt?: BlockdevQcow2Encryption;
}

/** Where the algorithm of a driver has come to; the one above the blkdebug node says so. */
export type BlkdebugEvent =
  /** a sector of the L1 table is written */
  | 'l1_update'
  /** space for a longer L1 table is allocated */
  | 'l1_grow_alloc_table'
  /** a longer L1 table is written */
  | 'l1_grow_write_table'
  /** the header is to point to the longer L1 table */
  | 'l1_grow_activate_table'
  /** an L2 table is read */
  | 'l2_load'
  /** a part of an L2 table is written */
  | 'l2_update'
  /** L2 entries of compressed clusters are changed */
  | 'l2_update_compressed'
  /** an L2 table that is shared is read, to be copied */
  | 'l2_alloc_cow_read'
  /** a new L2 table is written */
  | 'l2_alloc_write'
  /** guest data is read */
  | 'read_aio'
  /** guest data is read from the backing node */
  | 'read_backing_aio'
  /** compressed data is read */
  | 'read_compressed'
  /** guest data is written */
  | 'write_aio'
  /** compressed data is written */
  | 'write_compressed'
  /** the state of a machine is read */
  | 'vmstate_load'
  /** the state of a machine is written */
  | 'vmstate_save'
  /** the rest of a cluster is read, to be copied */
  | 'cow_read'
  /** the rest of a cluster is written to its new place */
  | 'cow_write'
  /** the refcount table is read */
  | 'reftable_load'
  /** a longer refcount table is needed */
  | 'reftable_grow'
  /** an entry of the refcount table is written */
  | 'reftable_update'
  /** a refcount block is read */
  | 'refblock_load'
  /** a refcount block is written */
  | 'refblock_update'
  /** a part of a refcount block is written */
  | 'refblock_update_part'
  /** a refcount block is allocated */
  | 'refblock_alloc'
  /** pointers to new refcount blocks are written */
  | 'refblock_alloc_hookup'
  /** a new refcount block is written */
  | 'refblock_alloc_write'
  /** the blocks for a longer refcount table are written */
  | 'refblock_alloc_write_blocks'
  /** a longer refcount table is written */
  | 'refblock_alloc_write_table'
  /** the header is to point to the longer refcount table */
  | 'refblock_alloc_switch_table'
  /** clusters are allocated */
  | 'cluster_alloc'
  /** space for compressed data is allocated */
  | 'cluster_alloc_bytes'
  /** clusters are freed */
  | 'cluster_free'
  /** what the driver has in memory is to be written */
  | 'flush_to_os'
  /** the storage is to be flushed */
  | 'flush_to_disk'
  /** the block that the write begins in is read first */
  | 'pwritev_rmw_head'
  /** that block was read */
  | 'pwritev_rmw_after_head'
  /** the block that the write ends in is read first */
  | 'pwritev_rmw_tail'
  /** that block was read */
  | 'pwritev_rmw_after_tail'
  /** data is written */
  | 'pwritev'
  /** zeroes are written */
  | 'pwritev_zero'
  /** a write has ended */
  | 'pwritev_done'
  /** all content of an image is to be dropped */
  | 'empty_image_prepare'
  /** L1 entries beyond the new end are to be cleared */
  | 'l1_shrink_write_table'
  /** L2 tables beyond the new end are to be freed */
  | 'l1_shrink_free_l2_clusters'
  /** what was read is to be copied into the layer */
  | 'cor_write'
  /** allocated clusters are filled with zeroes */
  | 'cluster_alloc_space'
  /** the node is opened */
  | 'none';

/** Kinds of requests. */
export type BlkdebugIOType =
  /** reads */
  | 'read'
  /** writes */
  | 'write'
  /** requests to write zeroes */
  | 'write-zeroes'
  /** discards */
  | 'discard'
  /** flushes */
  | 'flush'
  /** requests for block status */
  | 'block-status';

/** A rule that makes requests fail: it takes effect with its event, until another rule of this kind does. */
export interface BlkdebugInjectErrorOptions {
  /** the event */
  event: BlkdebugEvent;
  /** the state that the node must be in then; 0: any (default: 0) */
  state?: number;
  /** the kind of requests that fail (default: all but block-status) */
  iotype?: BlkdebugIOType;
  /** the number of the system's error; 0: requests do not fail (default: EIO) */
  errno?: number;
  /** only requests that touch this sector of 512 bytes fail; -1: all do (default: -1) */
  sector?: number;
  /** only one request fails (default: false) */
  once?: boolean;
  /** the request fails before anything else runs (default: false) */
  immediately?: boolean;
}

/** A rule that changes the state of the node, which is 1 when it is opened. */
export interface BlkdebugSetStateOptions {
  /** the event */
  event: BlkdebugEvent;
  /** the state that the node must be in then; 0: any (default: 0) */
  state?: number;
  /** the state from then on */
  new_state: number;
}

/** What a user does with a node, or lets others do. */
export type BlockPermission =
  /** reads of what was written */
  | 'consistent-read'
  /** changes of the content */
  | 'write'
  /** writes that leave the content as it reads */
  | 'write-unchanged'
  /** changes of the size */
  | 'resize';

/** Driver options of blkdebug. */
export interface BlockdevOptionsBlkdebug {
  /** the node that requests go to */
  image: BlockdevRef;
  /** a file with more rules, in sections inject-error and set-state */
  config?: string;
  /** bytes, a power of two: requests reach `image` in whole blocks of so many (default: as `image` has it) */
  align?: number;
  /** bytes of a request at most, a multiple of `align` */
  'max-transfer'?: number;
  /** bytes: zeroes are written in multiples of so many, and as data otherwise */
  'opt-write-zero'?: number;
  /** bytes of a request to write zeroes at most, a multiple of `opt-write-zero` */
  'max-write-zero'?: number;
  /** bytes: discards are passed in multiples of so many */
  'opt-discard'?: number;
  /** bytes of a discard at most, a multiple of `opt-discard` */
  'max-discard'?: number;
  /** rules that make requests fail */
  'inject-error'?: BlkdebugInjectErrorOptions[];
  /** rules that change the state */
  'set-state'?: BlkdebugSetStateOptions[];
  /** permissions of `image` that the node takes, whether its users need them or not */
  'take-child-perms'?: BlockPermission[];
  /** permissions of `image` that the node does not leave to others */
  'unshare-child-perms'?: BlockPermission[];
}

/** Driver options of blkverify. */
export interface BlockdevOptionsBlkverify {
  /** the node that is tested */
  test: BlockdevRef;
  /** a node with the same content, which it is compared with */
  raw: BlockdevRef;
}

/** Driver options of blklogwrites. */
export interface BlockdevOptionsBlklogwrites extends BlockdevOptionsGenericFormat {
  /** the node that the log of all writes goes to */
  log: BlockdevRef;
  /** bytes of a sector of the log, a power of two; requests are made of whole ones (default: 512) */
  'log-sector-size'?: number;
  /** go on with the log that is there (default: false: begin a new one) */
  'log-append'?: boolean;
  /** entries after which the log's header is written (default: 4096) */
  'log-super-update-interval'?: number;
}

/** How a quorum reads. */
export type QuorumReadPattern =
  /** all children are read, and vote */
  | 'quorum'
  /** the first child is read that does not fail */
  | 'fifo';

/** Driver options of quorum. */
export interface BlockdevOptionsQuorum {
  /** a request fails where two children differ; needs two children and a threshold of two (default: false) */
  blkverify?: boolean;
  /** the nodes, all of one size */
  children: BlockdevRef[];
  /** children that must agree */
  'vote-threshold': number;
  /** what a child was outvoted on is written to it again (default: false) */
  'rewrite-corrupted'?: boolean;
  /** how it reads (default: quorum) */
  'read-pattern'?: QuorumReadPattern;
}

/** What a failure to save old content leads to. */
export type OnCbwError =
  /** the write that needed it fails */
  | 'break-guest-write'
  /** the write goes on, and what was to be kept is lost: reads of the moment fail from then on */
  | 'break-snapshot';

/** Driver options of copy-before-write. */
export interface BlockdevOptionsCbw extends BlockdevOptionsGenericFormat {
  /** the node that old content is saved in */
  target: BlockdevRef;
  /** a dirty bitmap: only what is dirty in it when the node is opened is kept (default: everything) */
  bitmap?: BlockDirtyBitmap;
  /** what a failure to save old content leads to (default: break-guest-write) */
  'on-cbw-error'?: OnCbwError;
  /** seconds after which saving old content counts as failed; 0: it may take any time (default: 0) */
  'cbw-timeout'?: number;
}

/** Driver options of copy-on-read. */
export interface BlockdevOptionsCor extends BlockdevOptionsGenericFormat {
  /** the lowest layer of the backing chain whose content is copied (default: all layers are) */
  bottom?: string;
}

/** Driver options of preallocate. */
export interface BlockdevOptionsPreallocate extends BlockdevOptionsGenericFormat {
  /** what the end of the allocated file is rounded up to, in bytes, a multiple of 512 (default: 1 MiB) */
  'prealloc-align'?: number;
  /** bytes that are allocated beyond what is needed (default: 128 MiB) */
  'prealloc-size'?: number;
}

/** Driver options of throttle. */
export interface BlockdevOptionsThrottle {
  /** id of the throttle-group object whose limits hold */
  'throttle-group': string;
  /** the node whose requests are limited */
  file: BlockdevRef;
}

/** What all of {@link BlockdevOptions} have. */
export interface BlockdevOptionsBase {
  /** the driver */
  driver: BlockdevDriver;
  /** name of the node (default: a generated name) */
  'node-name'?: string;
  /** what a discard request does (default: ignore) */
  discard?: BlockdevDiscardOptions;
  /** use of the host's page cache */
  cache?: BlockdevCacheOptions;
  /** the node cannot be written (default: false) */
  'read-only'?: boolean;
  /** open the file read-only where it is not writable (default: false) */
  'auto-read-only'?: boolean;
  /** share all permissions with other users of the image; requires read-only (default: false) */
  'force-share'?: boolean;
  /** whether writes of zeroes are detected (default: off) */
  'detect-zeroes'?: BlockdevDetectZeroesOptions;
}

/** Options of a node, with all its children. */
export type BlockdevOptions =
  | (BlockdevOptionsBase & { driver: 'blkdebug' } & BlockdevOptionsBlkdebug)
  | (BlockdevOptionsBase & { driver: 'blklogwrites' } & BlockdevOptionsBlklogwrites)
  | (BlockdevOptionsBase & { driver: 'blkverify' } & BlockdevOptionsBlkverify)
  | (BlockdevOptionsBase & { driver: 'bochs' } & BlockdevOptionsGenericFormat)
  | (BlockdevOptionsBase & { driver: 'cloop' } & BlockdevOptionsGenericFormat)
  | (BlockdevOptionsBase & { driver: 'compress' } & BlockdevOptionsGenericFormat)
  | (BlockdevOptionsBase & { driver: 'copy-before-write' } & BlockdevOptionsCbw)
  | (BlockdevOptionsBase & { driver: 'copy-on-read' } & BlockdevOptionsCor)
  | (BlockdevOptionsBase & { driver: 'cow' } & BlockdevOptionsGenericCOWFormat)
  | (BlockdevOptionsBase & { driver: 'dmg' } & BlockdevOptionsGenericFormat)
  | (BlockdevOptionsBase & { driver: 'file' } & BlockdevOptionsFile)
  | (BlockdevOptionsBase & { driver: 'host_device' } & BlockdevOptionsFile)
  | (BlockdevOptionsBase & { driver: 'http' } & BlockdevOptionsCurlHttp)
  | (BlockdevOptionsBase & { driver: 'https' } & BlockdevOptionsCurlHttps)
  | (BlockdevOptionsBase & { driver: 'luks' } & BlockdevOptionsLUKS)
  | (BlockdevOptionsBase & { driver: 'nbd' } & BlockdevOptionsNbd)
  | (BlockdevOptionsBase & { driver: 'null-aio' } & BlockdevOptionsNull)
  | (BlockdevOptionsBase & { driver: 'null-co' } & BlockdevOptionsNull)
  | (BlockdevOptionsBase & { driver: 'parallels' } & BlockdevOptionsGenericFormat)
  | (BlockdevOptionsBase & { driver: 'preallocate' } & BlockdevOptionsPreallocate)
  | (BlockdevOptionsBase & { driver: 'qcow' } & BlockdevOptionsQcow)
  | (BlockdevOptionsBase & { driver: 'qcow2' } & BlockdevOptionsQcow2)
  | (BlockdevOptionsBase & { driver: 'qed' } & BlockdevOptionsGenericCOWFormat)
  | (BlockdevOptionsBase & { driver: 'quorum' } & BlockdevOptionsQuorum)
  | (BlockdevOptionsBase & { driver: 'raw' } & BlockdevOptionsRaw)
  | (BlockdevOptionsBase & { driver: 'snapshot-access' } & BlockdevOptionsGenericFormat)
  | (BlockdevOptionsBase & { driver: 'ssh' } & BlockdevOptionsSsh)
  | (BlockdevOptionsBase & { driver: 'throttle' } & BlockdevOptionsThrottle)
  | (BlockdevOptionsBase & { driver: 'vdi' } & BlockdevOptionsGenericFormat)
  | (BlockdevOptionsBase & { driver: 'vhdx' } & BlockdevOptionsGenericCOWFormat)
  | (BlockdevOptionsBase & { driver: 'vmdk' } & BlockdevOptionsGenericCOWFormat)
  | (BlockdevOptionsBase & { driver: 'vpc' } & BlockdevOptionsVpc)
  | (BlockdevOptionsBase & { driver: 'vvfat' } & BlockdevOptionsVVFAT);

/** A node. */
export type BlockdevRef =
  /** options of a new node */
  | BlockdevOptions
  /** name of an existing node */
  | string;

/** A node, or none. */
export type BlockdevRefOrNull =
  /** options of a new node */
  | BlockdevOptions
  /** name of an existing node */
  | string
  /** no node */
  | null;

/** Creates a file. */
export interface BlockdevCreateOptionsFile {
  /** path of the file; an existing file is truncated to 0 bytes first */
  filename: string;
  /** bytes */
  size: number;
  /** off, falloc or full (default: off) */
  preallocation?: PreallocMode;
  /** the file system is not to copy what is written, where it would (btrfs) (default: false) */
  nocow?: boolean;
  /** the file system is to allocate the file's space in units of so many bytes (XFS); 0: as it likes (default: 1 MiB) */
  'extent-size-hint'?: number;
}

/** Creates an encrypted disk in a node, or in two. With `file` alone, it gets header, key material and disk. With `file` and `header`, the disk is in `file` and the rest in `header`. With `header` alone, no disk is made: one that is there already gets a header. `file` with `detached-header` on does the same in `file`. */
export interface BlockdevCreateOptionsLUKS extends QCryptoBlockCreateOptionsLUKS {
  /** the node */
  file?: BlockdevRef;
  /** the node that gets the header and the key material */
  header?: BlockdevRef;
  /** `file` gets the header and the key material, and no disk (default: off) */
  'detached-header'?: boolean;
  /** bytes of the disk; where none is made, it says nothing with `header`, and is 0 with `detached-header` */
  size: number;
  /** off, falloc or full (default: off); of the disk */
  preallocation?: PreallocMode;
}

/** Creates a raw image in a node: sets the size of the node. */
export interface BlockdevCreateOptionsRaw {
  /** the node */
  file: BlockdevRef;
  /** bytes */
  size: number;
  /** off, falloc or full (default: off) */
  preallocation?: PreallocMode;
}

/** Creates a file on another machine. */
export interface BlockdevCreateOptionsSsh {
  /** where it is to lie; an existing file is truncated to 0 bytes first */
  location: BlockdevOptionsSsh;
  /** bytes */
  size: number;
}

/** Version of the format. */
export type BlockdevQcow2Version =
  /** compat=0.10 */
  | 'v2'
  /** compat=1.1 */
  | 'v3';

/** Compression method of an image's compressed clusters. */
export type Qcow2CompressionType =
  /** raw deflate */
  | 'zlib'
  /** Zstandard; needs version 3 */
  | 'zstd';

/** Creates a qcow2 image in a node. */
export interface BlockdevCreateOptionsQcow2 {
  /** the node */
  file: BlockdevRef;
  /** the node that becomes the external data file: the content is stored there */
  'data-file'?: BlockdevRef;
  /** `data-file` reads as the disk does, without the image (default: false) */
  'data-file-raw'?: boolean;
  /** bytes of the disk */
  size: number;
  /** version of the format (default: v3) */
  version?: BlockdevQcow2Version;
  /** name of the backing file, as it is written to the header */
  'backing-file'?: string;
  /** format of the backing file */
  'backing-fmt'?: BlockdevDriver;
  /** bytes, a power of two from 512 to 2 MiB (default: 65536) */
  'cluster-size'?: number;
  /** how much is preallocated (default: off) */
  preallocation?: PreallocMode;
  /** 1, 2, 4, 8, 16, 32 or 64 (default: 16) */
  'refcount-bits'?: number;
  /** refcounts may be written late (default: off) */
  'lazy-refcounts'?: boolean;
  /** clusters have 32 subclusters, which are allocated one by one (default: off) */
  'extended-l2'?: boolean;
  /** compression method of compressed clusters (default: zlib) */
  'compression-type'?: Qcow2CompressionType;
  /** how the image is encrypted (default: not at all) */
  encrypt?: QCryptoBlockCreateOptions;
}

/** Creates a cow image of user-mode-linux in a node. */
export interface BlockdevCreateOptionsCow {
  /** the node */
  file: BlockdevRef;
  /** bytes of the disk */
  size: number;
  /** name of the backing file, as it is written to the header */
  'backing-file'?: string;
  /** format of the backing file: raw */
  'backing-fmt'?: BlockdevDriver;
}

/** Creates a qcow image, version 1, in a node. */
export interface BlockdevCreateOptionsQcow {
  /** the node */
  file: BlockdevRef;
  /** bytes of the disk */
  size: number;
  /** name of the backing file, as it is written to the header */
  'backing-file'?: string;
  /** format of the backing file, as which it is opened when the image is made; the header has no place for it */
  'backing-fmt'?: BlockdevDriver;
  /** how the image is encrypted: only by the password itself (default: not at all) */
  encrypt?: QCryptoBlockCreateOptions;
}

/** Creates a QED image in a node. */
export interface BlockdevCreateOptionsQed {
  /** the node */
  file: BlockdevRef;
  /** bytes of the disk */
  size: number;
  /** name of the backing file, as it is written to the header */
  'backing-file'?: string;
  /** format of the backing file; the header only says whether it is raw */
  'backing-fmt'?: BlockdevDriver;
  /** bytes, a power of two from 4096 to 64 MiB (default: 65536) */
  'cluster-size'?: number;
  /** clusters of a table, a power of two up to 16 (default: 4) */
  'table-size'?: number;
}

/** Creates a Parallels image in a node. */
export interface BlockdevCreateOptionsParallels {
  /** the node */
  file: BlockdevRef;
  /** bytes of the disk */
  size: number;
  /** bytes of a cluster, whole sectors (default: 1 MiB) */
  'cluster-size'?: number;
}

/** Creates a VDI image in a node. */
export interface BlockdevCreateOptionsVdi {
  /** the node */
  file: BlockdevRef;
  /** bytes of the disk */
  size: number;
  /** off, or metadata: every block has its place from the beginning (default: off) */
  preallocation?: PreallocMode;
}

/** Kinds of VHDX images that are made. */
export type BlockdevVhdxSubformat =
  /** a block gets its place when it is written to */
  | 'dynamic'
  /** every block has its place from the beginning */
  | 'fixed';

/** Creates a VHDX image in a node. */
export interface BlockdevCreateOptionsVhdx {
  /** the node */
  file: BlockdevRef;
  /** bytes of the disk */
  size: number;
  /** bytes of the log: a multiple of 1 MiB below 4 GiB (default: 1 MiB) */
  'log-size'?: number;
  /** bytes of a block: a power of two from 1 to 256 MiB (default: 8 to 64 MiB, which depends on the size of the disk) */
  'block-size'?: number;
  /** the kind of image (default: dynamic) */
  subformat?: BlockdevVhdxSubformat;
  /** blocks of a dynamic image that have no place are marked as zeroes, not as absent; a fixed image has no such blocks (default: true) */
  'block-state-zero'?: boolean;
}

/** How a VMDK image is stored. */
export type BlockdevVmdkSubformat =
  /** one file, which has space for what was written alone */
  | 'monolithicSparse'
  /** a descriptor, and one file with all bytes of the disk */
  | 'monolithicFlat'
  /** a descriptor, and sparse files for 2 GiB of the disk each */
  | 'twoGbMaxExtentSparse'
  /** a descriptor, and files with the bytes of 2 GiB of the disk each */
  | 'twoGbMaxExtentFlat'
  /** one file with compressed grains */
  | 'streamOptimized';

/** The adapter that VMware is to connect the disk to. */
export type BlockdevVmdkAdapterType =
  /** IDE */
  | 'ide'
  /** BusLogic */
  | 'buslogic'
  /** LSI Logic */
  | 'lsilogic'
  /** the adapter of old versions of ESX */
  | 'legacyESX';

/** Creates a VMDK image in nodes. */
export interface BlockdevCreateOptionsVmdk {
  /** the node of the image, or of its descriptor where it has extents beside that */
  file: BlockdevRef;
  /** bytes of the disk */
  size: number;
  /** the nodes of the extents, in order: one for monolithicFlat, one for each 2 GiB for the subformats of that name; none for the others */
  extents?: BlockdevRef[];
  /** how the image is stored (default: monolithicSparse) */
  subformat?: BlockdevVmdkSubformat;
  /** name of the backing file, as it is written to the descriptor */
  'backing-file'?: string;
  /** vmdk, where it is given */
  'backing-fmt'?: BlockdevDriver;
  /** the adapter that the descriptor names (default: ide) */
  'adapter-type'?: BlockdevVmdkAdapterType;
  /** version of the virtual hardware that the descriptor names (default: 4) */
  hwversion?: string;
  /** version of the guest tools that the descriptor names (default: 2147483647) */
  toolsversion?: string;
  /** a grain can be marked as zeroes (default: off) */
  'zeroed-grain'?: boolean;
}

/** Kinds of VHD images that are made. */
export type BlockdevVpcSubformat =
  /** a block gets its place when it is written to */
  | 'dynamic'
  /** the file is as large as the disk, and has a footer */
  | 'fixed';

/** Creates a VHD image in a node. */
export interface BlockdevCreateOptionsVpc {
  /** the node */
  file: BlockdevRef;
  /** bytes of the disk; a disk that is not forced to this size gets as many as cylinders, heads and sectors can say */
  size: number;
  /** the kind of image (default: dynamic) */
  subformat?: BlockdevVpcSubformat;
  /** the disk has exactly this size, in whole sectors (default: false) */
  'force-size'?: boolean;
}

/** What all of {@link BlockdevCreateOptions} have. */
export interface BlockdevCreateOptionsBase {
  /** the driver */
  driver: BlockdevDriver;
}

/** Options of an image to be created. */
export type BlockdevCreateOptions =
  | (BlockdevCreateOptionsBase & { driver: 'blkdebug' })
  | (BlockdevCreateOptionsBase & { driver: 'blklogwrites' })
  | (BlockdevCreateOptionsBase & { driver: 'blkverify' })
  | (BlockdevCreateOptionsBase & { driver: 'bochs' })
  | (BlockdevCreateOptionsBase & { driver: 'cloop' })
  | (BlockdevCreateOptionsBase & { driver: 'compress' })
  | (BlockdevCreateOptionsBase & { driver: 'copy-before-write' })
  | (BlockdevCreateOptionsBase & { driver: 'copy-on-read' })
  | (BlockdevCreateOptionsBase & { driver: 'cow' } & BlockdevCreateOptionsCow)
  | (BlockdevCreateOptionsBase & { driver: 'dmg' })
  | (BlockdevCreateOptionsBase & { driver: 'file' } & BlockdevCreateOptionsFile)
  | (BlockdevCreateOptionsBase & { driver: 'host_device' })
  | (BlockdevCreateOptionsBase & { driver: 'http' })
  | (BlockdevCreateOptionsBase & { driver: 'https' })
  | (BlockdevCreateOptionsBase & { driver: 'luks' } & BlockdevCreateOptionsLUKS)
  | (BlockdevCreateOptionsBase & { driver: 'nbd' })
  | (BlockdevCreateOptionsBase & { driver: 'null-aio' })
  | (BlockdevCreateOptionsBase & { driver: 'null-co' })
  | (BlockdevCreateOptionsBase & { driver: 'parallels' } & BlockdevCreateOptionsParallels)
  | (BlockdevCreateOptionsBase & { driver: 'preallocate' })
  | (BlockdevCreateOptionsBase & { driver: 'qcow' } & BlockdevCreateOptionsQcow)
  | (BlockdevCreateOptionsBase & { driver: 'qcow2' } & BlockdevCreateOptionsQcow2)
  | (BlockdevCreateOptionsBase & { driver: 'qed' } & BlockdevCreateOptionsQed)
  | (BlockdevCreateOptionsBase & { driver: 'quorum' })
  | (BlockdevCreateOptionsBase & { driver: 'raw' } & BlockdevCreateOptionsRaw)
  | (BlockdevCreateOptionsBase & { driver: 'snapshot-access' })
  | (BlockdevCreateOptionsBase & { driver: 'ssh' } & BlockdevCreateOptionsSsh)
  | (BlockdevCreateOptionsBase & { driver: 'throttle' })
  | (BlockdevCreateOptionsBase & { driver: 'vdi' } & BlockdevCreateOptionsVdi)
  | (BlockdevCreateOptionsBase & { driver: 'vhdx' } & BlockdevCreateOptionsVhdx)
  | (BlockdevCreateOptionsBase & { driver: 'vmdk' } & BlockdevCreateOptionsVmdk)
  | (BlockdevCreateOptionsBase & { driver: 'vpc' } & BlockdevCreateOptionsVpc)
  | (BlockdevCreateOptionsBase & { driver: 'vvfat' });

/** An internal snapshot. */
export interface SnapshotInfo {
  /** unique number, as text */
  id: string;
  /** name that the user has given */
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
  /** the bitmap was not saved properly and is inconsistent */
  | 'in-use'
  /** the bitmap is enabled when the image is opened for writing */
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

/** What all of {@link ImageInfoSpecificQCow2Encryption} have. */
export interface ImageInfoSpecificQCow2EncryptionBase {
  /** how it is encrypted */
  format: BlockdevQcow2EncryptionFormat;
}

/** Information about an encrypted qcow2 image. */
export type ImageInfoSpecificQCow2Encryption =
  | (ImageInfoSpecificQCow2EncryptionBase & { format: 'aes' })
  | (ImageInfoSpecificQCow2EncryptionBase & { format: 'luks' } & QCryptoBlockInfoLUKS);

/** Information that is specific to qcow2. */
export interface ImageInfoSpecificQCow2 {
  /** 0.10 or 1.1 */
  compat: string;
  /** name of the external data file */
  'data-file'?: string;
  /** the external data file is a valid raw image by itself */
  'data-file-raw'?: boolean;
  /** L2 entries have subclusters */
  'extended-l2'?: boolean;
  /** updates of refcounts may be postponed */
  'lazy-refcounts'?: boolean;
  /** the image is marked corrupt */
  corrupt?: boolean;
  /** width of a refcount */
  'refcount-bits': number;
  /** stored bitmaps */
  bitmaps?: Qcow2BitmapInfo[];
  /** compression method of compressed clusters */
  'compression-type': Qcow2CompressionType;
  /** how the image is encrypted */
  encrypt?: ImageInfoSpecificQCow2Encryption;
}

/** The object around `ImageInfoSpecificQCow2` in QMP's format. */
export interface ImageInfoSpecificQCow2Wrapper {
  /** the information */
  data: ImageInfoSpecificQCow2;
}

/** Formats with format-specific information. */
export type ImageInfoSpecificKind =
  /** see `ImageInfoSpecificQCow2` */
  | 'qcow2'
  /** see `QCryptoBlockInfoLUKS` */
  | 'luks'
  /** see `ImageInfoSpecificVmdk` */
  | 'vmdk';

/** The object around `QCryptoBlockInfoLUKS` in QMP's format. */
export interface ImageInfoSpecificLUKSWrapper {
  /** the information */
  data: QCryptoBlockInfoLUKS;
}

/** Information about an extent of a VMDK image. */
export interface VmdkExtentInfo {
  /** name of its file */
  filename: string;
  /** how its descriptor calls its kind; empty where the descriptor lies in it */
  format: string;
  /** bytes of the disk */
  'virtual-size': number;
  /** bytes of a grain, where there are grains */
  'cluster-size'?: number;
  /** its grains are compressed */
  compressed?: boolean;
}

/** Information that is specific to VMDK. */
export interface ImageInfoSpecificVmdk {
  /** the type that the descriptor says */
  'create-type': string;
  /** the content ID */
  cid: number;
  /** the content ID of the backing file when the image was made; 4294967295: there is none */
  'parent-cid': number;
  /** the extents */
  extents: VmdkExtentInfo[];
}

/** The object around `ImageInfoSpecificVmdk` in QMP's format. */
export interface ImageInfoSpecificVmdkWrapper {
  /** the information */
  data: ImageInfoSpecificVmdk;
}

/** What all of {@link ImageInfoSpecific} have. */
export interface ImageInfoSpecificBase {
  /** the format */
  type: ImageInfoSpecificKind;
}

/** Information that is specific to one format. */
export type ImageInfoSpecific =
  | (ImageInfoSpecificBase & { type: 'qcow2' } & ImageInfoSpecificQCow2Wrapper)
  | (ImageInfoSpecificBase & { type: 'luks' } & ImageInfoSpecificLUKSWrapper)
  | (ImageInfoSpecificBase & { type: 'vmdk' } & ImageInfoSpecificVmdkWrapper);

/** Information about an image. */
export interface ImageInfo {
  /** name of the file */
  filename: string;
  /** name of the format */
  format: string;
  /** the image was not closed properly */
  'dirty-flag'?: boolean;
  /** bytes on the host's disk */
  'actual-size'?: number;
  /** bytes of the guest's disk */
  'virtual-size': number;
  /** bytes of a cluster */
  'cluster-size'?: number;
  /** the image is encrypted */
  encrypted?: boolean;
  /** all clusters of the image are compressed */
  compressed?: boolean;
  /** name of the backing file in the header */
  'backing-filename'?: string;
  /** name by which the backing file is opened */
  'full-backing-filename'?: string;
  /** format of the backing file in the header */
  'backing-filename-format'?: string;
  /** internal snapshots */
  snapshots?: SnapshotInfo[];
  /** the backing image */
  'backing-image'?: ImageInfo;
  /** information that is specific to the format */
  'format-specific'?: ImageInfoSpecific;
}

/** Result of a check. */
export interface ImageCheck {
  /** name of the file */
  filename: string;
  /** name of the format */
  format: string;
  /** errors because of which the check is incomplete */
  'check-errors': number;
  /** end of the last cluster in use, in bytes */
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
  /** allocated clusters */
  'allocated-clusters'?: number;
  /** clusters that are not contiguous with the one before */
  'fragmented-clusters'?: number;
  /** compressed clusters */
  'compressed-clusters'?: number;
}

/** A range of the guest's disk with the same status. */
export interface MapEntry {
  /** first byte */
  start: number;
  /** bytes */
  length: number;
  /** the range has data */
  data: boolean;
  /** the range reads as zeroes */
  zero: boolean;
  /** the data is compressed (QEMU 8.2) */
  compressed?: boolean;
  /** depth in the backing chain of the image that has the range; 0 is the top */
  depth: number;
  /** some image of the chain has the range */
  present: boolean;
  /** offset of the data in the file */
  offset?: number;
  /** the file */
  filename?: string;
}

/** Result of the last request. */
export type BlockDeviceIoStatus =
  /** success */
  | 'ok'
  /** an error */
  | 'failed'
  /** an error because of lack of space */
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
  /** the bitmap was not saved properly; it can only be removed */
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

/** Options of a new bitmap. */
export interface BlockDirtyBitmapAdd {
  /** the node */
  node: string;
  /** its name */
  name: string;
  /** bytes that one bit stands for, a power of two from 512 to 2 GiB (default: the cluster size, from 4096 to 65536) */
  granularity?: number;
  /** store the bitmap in the image when the image is closed (default: false) */
  persistent?: boolean;
  /** the bitmap does not record writes (default: false) */
  disabled?: boolean;
}

/** Merges bitmaps into one. */
export interface BlockDirtyBitmapMerge {
  /** node of the target bitmap */
  node: string;
  /** name of the target bitmap */
  target: string;
  /** the bitmaps that are merged into the target */
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

/** The size of an image that is to be made. */
export interface BlockMeasureInfo {
  /** bytes that the image file takes at first */
  required: number;
  /** bytes that it takes once all of the disk is written */
  'fully-allocated': number;
  /** further bytes for the persistent bitmaps of the source; left out where the source or the new image can have none */
  bitmaps?: number;
}

/** Whether an operation creates its image. */
export type NewImageMode =
  /** the image exists */
  | 'existing'
  /** the image is created, with a name of the backing file that is valid from the folder of the image; an existing file is replaced */
  | 'absolute-paths';

/** A snapshot with an overlay in a file. Exactly one of `device` and `node-name` is given. */
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
  /** whether the overlay is created (default: absolute-paths) */
  mode?: NewImageMode;
}

/** A snapshot with an existing node as overlay. */
export interface BlockdevSnapshot {
  /** the node that becomes the backing node */
  node: string;
  /** the node that takes its place; it must have no backing node and no users */
  overlay: string;
}

/** Type of a job. */
export type JobType =
  /** writes the data of an overlay into its backing node */
  | 'commit'
  /** copies data from the backing chain into the top node */
  | 'stream'
  /** copies a node to another and keeps them synchronized */
  | 'mirror'
  /** copies a node as it was at one point in time */
  | 'backup'
  /** creates an image */
  | 'create'
  /** changes options of an image */
  | 'amend'
  /** loads an internal snapshot */
  | 'snapshot-load'
  /** creates an internal snapshot */
  | 'snapshot-save'
  /** deletes an internal snapshot */
  | 'snapshot-delete'
  /** gives the unused space of an image's file back (not in QEMU) */
  | 'compact';

/** State of a job. */
export type JobStatus =
  /** not a state of a job; never reported */
  | 'undefined'
  /** the job was created and has not started */
  | 'created'
  /** the job is running */
  | 'running'
  /** the job is paused, with no request under way */
  | 'paused'
  /** source and target are synchronized; the job waits for the verb complete */
  | 'ready'
  /** the job is ready, and paused */
  | 'standby'
  /** the job has finished its work and waits for the others of its transaction */
  | 'waiting'
  /** all jobs of the transaction have finished their work; the job waits for the verb finalize */
  | 'pending'
  /** the job is being aborted and cleans up */
  | 'aborting'
  /** the job has ended and waits for the verb dismiss */
  | 'concluded'
  /** the job is being removed */
  | 'null';

/** Commands that a job may accept, depending on its state. */
export type JobVerb =
  /** cancel the job */
  | 'cancel'
  /** pause the job */
  | 'pause'
  /** resume a paused job */
  | 'resume'
  /** change the rate limit */
  | 'set-speed'
  /** complete a job that is ready */
  | 'complete'
  /** remove a concluded job */
  | 'dismiss'
  /** finalize a pending job: commit or abort its changes */
  | 'finalize'
  /** change options of the job */
  | 'change';

/** Information about a job of any type. */
export interface JobInfo {
  /** name of the job */
  id: string;
  /** type of the job */
  type: JobType;
  /** state of the job */
  status: JobStatus;
  /** work done; only its ratio to `total-progress` has a meaning */
  'current-progress': number;
  /** total work, as far as it is known now */
  'total-progress': number;
  /** reason of the failure */
  error?: string;
}

/** Information about a block job. */
export interface BlockJobInfo {
  /** type of the job */
  type: JobType;
  /** name of the job */
  device: string;
  /** total work, in bytes */
  len: number;
  /** work done, in bytes */
  offset: number;
  /** requests may be under way */
  busy: boolean;
  /** the job is paused, or will be as soon as it is not busy */
  paused: boolean;
  /** rate limit in bytes per second, 0 for none */
  speed: number;
  /** result of the last request */
  'io-status': BlockDeviceIoStatus;
  /** the job can be completed */
  ready: boolean;
  /** state of the job */
  status: JobStatus;
  /** the job is finalized automatically */
  'auto-finalize': boolean;
  /** the job is dismissed automatically */
  'auto-dismiss': boolean;
  /** reason of the failure */
  error?: string;
}

/** The action to take when a request fails. */
export type BlockdevOnError =
  /** the job fails, or the error is reported to the guest */
  | 'report'
  /** the error is ignored; a job tries the range again later */
  | 'ignore'
  /** `stop` if space ran out, `report` otherwise */
  | 'enospc'
  /** the job pauses */
  | 'stop'
  /** the device's policy for guests, `report` for jobs */
  | 'auto';

/** Which data a job copies. */
export type MirrorSyncMode =
  /** data of the topmost image */
  | 'top'
  /** data of the whole backing chain */
  | 'full'
  /** only data that is written from now on */
  | 'none'
  /** data that is marked in a bitmap, with bitmap-mode on-success */
  | 'incremental'
  /** data that is marked in a bitmap */
  | 'bitmap';

/** How the bitmap is changed at the end of a job. */
export type BitmapSyncMode =
  /** the bits of copied data are cleared if the job succeeds */
  | 'on-success'
  /** no bits are cleared; those of data that was written meanwhile are set */
  | 'never'
  /** the bits of copied data are cleared, whether the job succeeds or not */
  | 'always';

/** How a guest's writes reach the target. */
export type MirrorCopyMode =
  /** the job copies the data later */
  | 'background'
  /** the data is written to source and target before the write is answered */
  | 'write-blocking';

/** Copies data from the backing chain into a node, which does not need that part of the chain any more afterwards. */
export interface BlockStreamArguments {
  /** name of the job (default: the device) */
  'job-id'?: string;
  /** node that data is copied into */
  device: string;
  /** file name of the image that stays as backing file */
  base?: string;
  /** node of the image that stays as backing file */
  'base-node'?: string;
  /** name that is written to the header as backing file (default: that of `base`) */
  'backing-file'?: string;
  /** lowest node that is copied and removed from the chain; excludes `base` and `base-node` */
  bottom?: string;
  /** rate limit in bytes per second */
  speed?: number;
  /** the action to take when a request fails (default: report) */
  'on-error'?: BlockdevOnError;
  /** the name of the filter node that the job puts above the image that is filled until it has ended (default: a made-up name) */
  'filter-node-name'?: string;
  /** finalize the job automatically (default: true) */
  'auto-finalize'?: boolean;
  /** dismiss the job automatically (default: true) */
  'auto-dismiss'?: boolean;
}

/** Writes the data of the nodes from top down to above base into base, and removes them from the chain. */
export interface BlockCommitArguments {
  /** name of the job (default: the device) */
  'job-id'?: string;
  /** root of the chain */
  device: string;
  /** node that is written (default: the lowest node of the chain) */
  'base-node'?: string;
  /**
   * `base-node`, by file name
   * @deprecated
   */
  base?: string;
  /** topmost node whose data is committed (default: `device`; then the job becomes ready) */
  'top-node'?: string;
  /**
   * `top-node`, by file name
   * @deprecated
   */
  top?: string;
  /** name that is written to the header of the image above top (default: that of the base) */
  'backing-file'?: string;
  /** rate limit in bytes per second */
  speed?: number;
  /** the action to take when a request fails (default: report) */
  'on-error'?: BlockdevOnError;
  /** the name of the filter node that the job puts above the top until it has ended (default: a made-up name) */
  'filter-node-name'?: string;
  /** finalize the job automatically (default: true) */
  'auto-finalize'?: boolean;
  /** dismiss the job automatically (default: true) */
  'auto-dismiss'?: boolean;
}

/** Copies a node to another and keeps them synchronized until the job is completed. */
export interface BlockdevMirror {
  /** name of the job (default: the device) */
  'job-id'?: string;
  /** node that is copied */
  device: string;
  /** node that is written */
  target: string;
  /** node that is replaced by the target at the end (default: the source) */
  replaces?: string;
  /** which data is copied at the beginning */
  sync: MirrorSyncMode;
  /** rate limit in bytes per second */
  speed?: number;
  /** granularity of the dirty bitmap in bytes, a power of two from 512 to 64 MiB (default: the target's cluster size, from 4096 to 65536) */
  granularity?: number;
  /** limit of bytes in flight (default: 10 MiB) */
  'buf-size'?: number;
  /** the action to take when a read fails (default: report) */
  'on-source-error'?: BlockdevOnError;
  /** the action to take when a write fails (default: report) */
  'on-target-error'?: BlockdevOnError;
  /** the name of the filter node that the job puts above the source until it has ended (default: a made-up name) */
  'filter-node-name'?: string;
  /** how a guest's writes reach the target (default: background) */
  'copy-mode'?: MirrorCopyMode;
  /** finalize the job automatically (default: true) */
  'auto-finalize'?: boolean;
  /** dismiss the job automatically (default: true) */
  'auto-dismiss'?: boolean;
}


/** Copies a node to an image in a file, and keeps them synchronized until the job is completed. */
export interface DriveMirror {
  /** name of the job (default: the device) */
  'job-id'?: string;
  /** node that is copied */
  device: string;
  /** name of the target's file */
  target: string;
  /** format of the target (default: that of the source for a new image; probed for an existing one) */
  format?: string;
  /** name for the target's node */
  'node-name'?: string;
  /** node that is replaced by the target at the end (default: the source) */
  replaces?: string;
  /** which data is copied at the beginning */
  sync: MirrorSyncMode;
  /** whether the target is created (default: absolute-paths) */
  mode?: NewImageMode;
  /** rate limit in bytes per second */
  speed?: number;
  /** granularity of the dirty bitmap in bytes, a power of two from 512 to 64 MiB (default: the target's cluster size, from 4096 to 65536) */
  granularity?: number;
  /** limit of bytes in flight (default: 10 MiB) */
  'buf-size'?: number;
  /** the action to take when a read fails (default: report) */
  'on-source-error'?: BlockdevOnError;
  /** the action to take when a write fails (default: report) */
  'on-target-error'?: BlockdevOnError;
  /** what reads as zero is discarded in the target (default: true) */
  unmap?: boolean;
  /** how a guest's writes reach the target (default: background) */
  'copy-mode'?: MirrorCopyMode;
  /** finalize the job automatically (default: true) */
  'auto-finalize'?: boolean;
  /** dismiss the job automatically (default: true) */
  'auto-dismiss'?: boolean;
}


/** Performance options of a backup. */
export interface BackupPerf {
  /** the target may share blocks with the source where the file system can; data is not looked through for zeroes then (default: false) */
  'use-copy-range'?: boolean;
  /** number of parallel requests (default: 64) */
  'max-workers'?: number;
  /** limit of bytes of a request; 0 for no limit (default: 0) */
  'max-chunk'?: number;
}

/** Options of all backups. */
export interface BackupCommon {
  /** name of the job (default: the device) */
  'job-id'?: string;
  /** node that is copied */
  device: string;
  /** which data is copied */
  sync: MirrorSyncMode;
  /** rate limit in bytes per second */
  speed?: number;
  /** bitmap of `device` that marks the data to copy, for sync incremental and bitmap */
  bitmap?: string;
  /** how the bitmap is changed at the end */
  'bitmap-mode'?: BitmapSyncMode;
  /** write compressed clusters (default: false) */
  compress?: boolean;
  /** the action to take when a read fails (default: report) */
  'on-source-error'?: BlockdevOnError;
  /** the action to take when a write fails (default: report) */
  'on-target-error'?: BlockdevOnError;
  /** finalize the job automatically (default: true) */
  'auto-finalize'?: boolean;
  /** dismiss the job automatically (default: true) */
  'auto-dismiss'?: boolean;
  /** the name of the filter node that the job puts above the source until it has ended (default: a made-up name) */
  'filter-node-name'?: string;
  /** performance options */
  'x-perf'?: BackupPerf;
}

/** Copies a node to another, as it is at the start. */
export interface BlockdevBackup extends BackupCommon {
  /** node that is written */
  target: string;
}


/** Copies a node to an image in a file, as it is at the start. */
export interface DriveBackup extends BackupCommon {
  /** name of the target's file */
  target: string;
  /** format of the target (default: that of the source for a new image; probed for an existing one) */
  format?: string;
  /** whether the target is created (default: absolute-paths) */
  mode?: NewImageMode;
}


/** Pauses a job. */
export interface JobPauseArguments {
  /** the job */
  id: string;
}

/** Resumes a paused job. */
export interface JobResumeArguments {
  /** the job */
  id: string;
}

/** Cancels a job. */
export interface JobCancelArguments {
  /** the job */
  id: string;
}

/** Completes a job that is ready. */
export interface JobCompleteArguments {
  /** the job */
  id: string;
}

/** Removes a concluded job. */
export interface JobDismissArguments {
  /** the job */
  id: string;
}

/** Finalizes a pending job and all jobs of its transaction: their changes are committed or aborted. */
export interface JobFinalizeArguments {
  /** the job */
  id: string;
}



/** Changes a job's rate limit. */
export interface BlockJobSetSpeedArguments {
  /** the job */
  device: string;
  /** bytes per second, 0 for no limit */
  speed: number;
}

/** Cancels a job. One that is ready ends with success instead, without pivot, unless it is forced. */
export interface BlockJobCancelArguments {
  /** the job */
  device: string;
  /** cancel the job even if it is ready (default: false) */
  force?: boolean;
}

/** Options of a mirror that can be changed. */
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
  | (BlockJobChangeOptionsBase & { type: 'snapshot-delete' })
  | (BlockJobChangeOptionsBase & { type: 'compact' });


/** The state of a job has changed. */
export interface JobStatusChangeEvent {
  /** the job */
  id: string;
  /** the new state */
  status: JobStatus;
}

/** A block job has ended, with success or with an error. */
export interface BlockJobCompletedEvent {
  /** type of the job */
  type: JobType;
  /** the job */
  device: string;
  /** total work, in bytes */
  len: number;
  /** work done, in bytes; equal to `len` on success */
  offset: number;
  /** rate limit in bytes per second */
  speed: number;
  /** reason of the failure */
  error?: string;
}

/** A block job was cancelled. */
export interface BlockJobCancelledEvent {
  /** type of the job */
  type: JobType;
  /** the job */
  device: string;
  /** total work, in bytes */
  len: number;
  /** work done, in bytes */
  offset: number;
  /** rate limit in bytes per second */
  speed: number;
}

/** A request of a block job failed. */
export interface BlockJobErrorEvent {
  /** the job */
  device: string;
  /** kind of the operation */
  operation: IoOperationType;
  /** the action that was taken */
  action: BlockErrorAction;
}

/** A block job can be completed. */
export interface BlockJobReadyEvent {
  /** type of the job */
  type: JobType;
  /** the job */
  device: string;
  /** total work, in bytes */
  len: number;
  /** work done, in bytes */
  offset: number;
  /** rate limit in bytes per second */
  speed: number;
}

/** A block job waits for finalize. */
export interface BlockJobPendingEvent {
  /** type of the job */
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

/** How a node caches. */
export interface BlockdevCacheInfo {
  /** a write may be answered before it is on the disk */
  writeback: boolean;
  /** past the page cache */
  direct: boolean;
  /** flushes are ignored */
  'no-flush': boolean;
}

/** A node. */
export interface BlockDeviceInfo {
  /** name of its file */
  file: string;
  /** its name */
  'node-name'?: string;
  /** it is read-only */
  ro: boolean;
  /** its driver */
  drv: string;
  /** name of the backing file, as the header has it */
  backing_file?: string;
  /** number of layers below it */
  backing_file_depth: number;
  /** it is encrypted */
  encrypted: boolean;
  /** it is encrypted, and its key is not known */
  encryption_key_missing?: boolean;
  /** what becomes of writes of zeroes */
  detect_zeroes: BlockdevDetectZeroesOptions;
  /** limit of bytes a second, 0 for none */
  bps: number;
  /** limit of bytes a second that are read */
  bps_rd: number;
  /** limit of bytes a second that are written */
  bps_wr: number;
  /** limit of requests a second */
  iops: number;
  /** limit of reads a second */
  iops_rd: number;
  /** limit of writes a second */
  iops_wr: number;
  /** the image */
  image: ImageInfo;
  /** bytes a second, in a burst */
  bps_max?: number;
  /** bytes a second that are read, in a burst */
  bps_rd_max?: number;
  /** bytes a second that are written, in a burst */
  bps_wr_max?: number;
  /** requests a second, in a burst */
  iops_max?: number;
  /** reads a second, in a burst */
  iops_rd_max?: number;
  /** writes a second, in a burst */
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
  /** bytes that count as one request */
  iops_size?: number;
  /** name of the throttle group */
  group?: string;
  /** how it caches */
  cache: BlockdevCacheInfo;
  /** offset beyond which a write is told of, 0 for none */
  write_threshold: number;
  /** its dirty bitmaps */
  'dirty-bitmaps'?: BlockDirtyInfo[];
}

/** Lists all nodes. */
export interface QueryNamedBlockNodesArguments {
  /** without the images of backing nodes, which are in the list anyway (default: false) */
  flat?: boolean;
}







/** A digest of a bitmap. */
export interface BlockDirtyBitmapSha256 {
  /** SHA-256 of its bits, in hexadecimal digits */
  sha256: string;
}




/**  */
export interface BlockdevSnapshotInternal {
  /** name of a device, or of a node that no other node uses */
  device: string;
  /** name of the snapshot; no other snapshot of the image has it */
  name: string;
}


/** Deletes a snapshot, which `id` or `name` or both name. */
export interface BlockdevSnapshotDeleteInternalSyncArguments {
  /** name of a device, or of a node that no other node uses */
  device: string;
  /** its ID */
  id?: string;
  /** its name Returns: what the snapshot was */
  name?: string;
}

/** Starts a job that keeps several disks as they are at one moment, each within its own image: all of them, or none. */
export interface SnapshotSaveArguments {
  /** name of the job */
  'job-id': string;
  /** name of the snapshots; no snapshot of these images has it */
  tag: string;
  /** the node, of those in `devices`, for the state of the machine; there is no machine here, so it gets none */
  vmstate: string;
  /** names of the nodes */
  devices: string[];
}

/** Starts a job that makes several disks what they were at a snapshot. */
export interface SnapshotLoadArguments {
  /** name of the job */
  'job-id': string;
  /** name of the snapshots */
  tag: string;
  /** the node, of those in `devices`, with the state of the machine; there is no machine here, so it is not loaded */
  vmstate: string;
  /** names of the nodes */
  devices: string[];
}

/** Starts a job that deletes the snapshots of a name, where nodes have one. */
export interface SnapshotDeleteArguments {
  /** name of the job */
  'job-id': string;
  /** name of the snapshots */
  tag: string;
  /** names of the nodes */
  devices: string[];
}

/** How the jobs of a transaction end. */
export type ActionCompletionMode =
  /** each job ends on its own */
  | 'individual'
  /** when one job fails or is cancelled, so are all others */
  | 'grouped';

/** What an action of a transaction does. */
export type TransactionActionKind =
  /** it fails, and the transaction with it */
  | 'abort'
  /** as the command */
  | 'block-dirty-bitmap-add'
  /** as the command */
  | 'block-dirty-bitmap-remove'
  /** as the command */
  | 'block-dirty-bitmap-clear'
  /** as the command */
  | 'block-dirty-bitmap-enable'
  /** as the command */
  | 'block-dirty-bitmap-disable'
  /** as the command */
  | 'block-dirty-bitmap-merge'
  /** as the command */
  | 'blockdev-backup'
  /** as the command */
  | 'blockdev-snapshot'
  /** as the command */
  | 'blockdev-snapshot-internal-sync'
  /** as the command */
  | 'blockdev-snapshot-sync'
  /** as the command */
  | 'drive-backup';

/** Makes a transaction fail. */
export interface Abort {
}

/**  */
export interface AbortWrapper {
  /** nothing */
  data: Abort;
}

/**  */
export interface BlockDirtyBitmapAddWrapper {
  /** arguments of block-dirty-bitmap-add */
  data: BlockDirtyBitmapAdd;
}

/**  */
export interface BlockDirtyBitmapWrapper {
  /** the bitmap */
  data: BlockDirtyBitmap;
}

/**  */
export interface BlockDirtyBitmapMergeWrapper {
  /** arguments of block-dirty-bitmap-merge */
  data: BlockDirtyBitmapMerge;
}

/**  */
export interface BlockdevBackupWrapper {
  /** arguments of blockdev-backup */
  data: BlockdevBackup;
}

/**  */
export interface BlockdevSnapshotWrapper {
  /** arguments of blockdev-snapshot */
  data: BlockdevSnapshot;
}

/**  */
export interface BlockdevSnapshotInternalWrapper {
  /** arguments of blockdev-snapshot-internal-sync */
  data: BlockdevSnapshotInternal;
}

/**  */
export interface BlockdevSnapshotSyncWrapper {
  /** arguments of blockdev-snapshot-sync */
  data: BlockdevSnapshotSync;
}

/**  */
export interface DriveBackupWrapper {
  /** arguments of drive-backup */
  data: DriveBackup;
}

/** What all of {@link TransactionAction} have. */
export interface TransactionActionBase {
  /** what it does */
  type: TransactionActionKind;
}

/** An action of a transaction. */
export type TransactionAction =
  | (TransactionActionBase & { type: 'abort' } & AbortWrapper)
  | (TransactionActionBase & { type: 'block-dirty-bitmap-add' } & BlockDirtyBitmapAddWrapper)
  | (TransactionActionBase & { type: 'block-dirty-bitmap-remove' } & BlockDirtyBitmapWrapper)
  | (TransactionActionBase & { type: 'block-dirty-bitmap-clear' } & BlockDirtyBitmapWrapper)
  | (TransactionActionBase & { type: 'block-dirty-bitmap-enable' } & BlockDirtyBitmapWrapper)
  | (TransactionActionBase & { type: 'block-dirty-bitmap-disable' } & BlockDirtyBitmapWrapper)
  | (TransactionActionBase & { type: 'block-dirty-bitmap-merge' } & BlockDirtyBitmapMergeWrapper)
  | (TransactionActionBase & { type: 'blockdev-backup' } & BlockdevBackupWrapper)
  | (TransactionActionBase & { type: 'blockdev-snapshot' } & BlockdevSnapshotWrapper)
  | (TransactionActionBase & { type: 'blockdev-snapshot-internal-sync' } & BlockdevSnapshotInternalWrapper)
  | (TransactionActionBase & { type: 'blockdev-snapshot-sync' } & BlockdevSnapshotSyncWrapper)
  | (TransactionActionBase & { type: 'drive-backup' } & DriveBackupWrapper);

/** What holds for a whole transaction. */
export interface TransactionProperties {
  /** how its jobs end (default: individual) */
  'completion-mode'?: ActionCompletionMode;
}

/** Makes several changes as they would be made at one moment: all, or none where one fails. */
export interface TransactionArguments {
  /** the changes, in order */
  actions: TransactionAction[];
  /** what holds for all of them */
  properties?: TransactionProperties;
}


/** Gives open nodes other options: all of them, or none where one is refused. For each node, all of its options are given, among them its name: one that is left out gets its default value again. Can be changed: `read-only`, `auto-read-only`, `cache`, `discard`, `detect-zeroes`, the backing node, and of qcow2 `pass-discard-request`, `pass-discard-other`, `overlap-check` and the sizes of the caches. Nodes that were opened within the options of such a node inherit from it again. `backing` must be given where the image has a backing file, or a backing node. */
export interface BlockdevReopenArguments {
  /** the options of each node */
  options: BlockdevOptions[];
}

/** Closes a node that was opened by blockdev-add and is not in use. */
export interface BlockdevDelArguments {
  /** the node */
  'node-name': string;
}

/** Changes the size of a node. Exactly one of `device` and `node-name` is given. */
export interface BlockResizeArguments {
  /** name of a device */
  device?: string;
  /** name of a node */
  'node-name'?: string;
  /** new size, bytes */
  size: number;
}

/** Writes another name of the backing file into the header of an image. The graph stays as it is: the name should lead to the same content. */
export interface ChangeBackingFileArguments {
  /** device or root node above the image */
  device: string;
  /** the image */
  'image-node-name': string;
  /** the name; it is not checked */
  'backing-file': string;
}

/** Starts a job that creates an image: a file, or a format in a node. It stays listed until job-dismiss. */
export interface BlockdevCreateArguments {
  /** name of the job */
  'job-id': string;
  /** what the image is to be like */
  options: BlockdevCreateOptions;
}

/** A change of what an encrypted disk says of itself. */
export type QCryptoBlockAmendOptions =
  | (QCryptoBlockOptionsBase & { format: 'qcow' })
  | (QCryptoBlockOptionsBase & { format: 'luks' } & QCryptoBlockAmendOptionsLUKS);

/** A change of a qcow2 image. */
export interface BlockdevAmendOptionsQcow2 {
  /** the change of its encryption */
  encrypt?: QCryptoBlockAmendOptions;
}

/** What all of {@link BlockdevAmendOptions} have. */
export interface BlockdevAmendOptionsBase {
  /** the driver of its node */
  driver: BlockdevDriver;
}

/** A change of an image. */
export type BlockdevAmendOptions =
  | (BlockdevAmendOptionsBase & { driver: 'blkdebug' })
  | (BlockdevAmendOptionsBase & { driver: 'blklogwrites' })
  | (BlockdevAmendOptionsBase & { driver: 'blkverify' })
  | (BlockdevAmendOptionsBase & { driver: 'bochs' })
  | (BlockdevAmendOptionsBase & { driver: 'cloop' })
  | (BlockdevAmendOptionsBase & { driver: 'compress' })
  | (BlockdevAmendOptionsBase & { driver: 'copy-before-write' })
  | (BlockdevAmendOptionsBase & { driver: 'copy-on-read' })
  | (BlockdevAmendOptionsBase & { driver: 'cow' })
  | (BlockdevAmendOptionsBase & { driver: 'dmg' })
  | (BlockdevAmendOptionsBase & { driver: 'file' })
  | (BlockdevAmendOptionsBase & { driver: 'host_device' })
  | (BlockdevAmendOptionsBase & { driver: 'http' })
  | (BlockdevAmendOptionsBase & { driver: 'https' })
  | (BlockdevAmendOptionsBase & { driver: 'luks' } & QCryptoBlockAmendOptionsLUKS)
  | (BlockdevAmendOptionsBase & { driver: 'nbd' })
  | (BlockdevAmendOptionsBase & { driver: 'null-aio' })
  | (BlockdevAmendOptionsBase & { driver: 'null-co' })
  | (BlockdevAmendOptionsBase & { driver: 'parallels' })
  | (BlockdevAmendOptionsBase & { driver: 'preallocate' })
  | (BlockdevAmendOptionsBase & { driver: 'qcow' })
  | (BlockdevAmendOptionsBase & { driver: 'qcow2' } & BlockdevAmendOptionsQcow2)
  | (BlockdevAmendOptionsBase & { driver: 'qed' })
  | (BlockdevAmendOptionsBase & { driver: 'quorum' })
  | (BlockdevAmendOptionsBase & { driver: 'raw' })
  | (BlockdevAmendOptionsBase & { driver: 'snapshot-access' })
  | (BlockdevAmendOptionsBase & { driver: 'ssh' })
  | (BlockdevAmendOptionsBase & { driver: 'throttle' })
  | (BlockdevAmendOptionsBase & { driver: 'vdi' })
  | (BlockdevAmendOptionsBase & { driver: 'vhdx' })
  | (BlockdevAmendOptionsBase & { driver: 'vmdk' })
  | (BlockdevAmendOptionsBase & { driver: 'vpc' })
  | (BlockdevAmendOptionsBase & { driver: 'vvfat' });

/** Starts a job that changes what an image says of itself: the key slots of an encrypted one. It stays listed until job-dismiss. */
export interface XBlockdevAmendArguments {
  /** name of the job */
  'job-id': string;
  /** the node */
  'node-name': string;
  /** the change */
  options: BlockdevAmendOptions;
  /** the last key slot may be erased, and one that is in use overwritten (default: false) */
  force?: boolean;
}

/** Adds a child to a node, or removes one. Only a quorum takes that. */
export interface XBlockdevChangeArguments {
  /** the node */
  parent: string;
  /** the child to be removed */
  child?: string;
  /** the node that becomes a child */
  node?: string;
}

/** What a child of a quorum did not do as the others. */
export type QuorumOpType =
  /** a read */
  | 'read'
  /** a write */
  | 'write'
  /** a flush */
  | 'flush';

/** Too few children of a quorum agreed. */
export interface QuorumFailureEvent {
  /** name of the quorum's node */
  reference: string;
  /** the first sector of 512 bytes of the request */
  'sector-num': number;
  /** sectors of the request */
  'sectors-count': number;
}

/** A child of a quorum failed, or was outvoted. */
export interface QuorumReportBadEvent {
  /** what it did not do as the others */
  type: QuorumOpType;
  /** the system's words for its failure; left out where it was outvoted */
  error?: string;
  /** the child */
  'node-name': string;
  /** the first sector of 512 bytes of the request */
  'sector-num': number;
  /** sectors of the request */
  'sectors-count': number;
}

/** Figures of one interval, of the requests that ended in it. */
export interface BlockDeviceTimedStats {
  /** length of the interval, seconds */
  interval_length: number;
  /** shortest time of the reads, nanoseconds */
  min_rd_latency_ns: number;
  /** longest time of the reads, nanoseconds */
  max_rd_latency_ns: number;
  /** mean time of the reads, nanoseconds */
  avg_rd_latency_ns: number;
  /** shortest time of the writes, nanoseconds */
  min_wr_latency_ns: number;
  /** longest time of the writes, nanoseconds */
  max_wr_latency_ns: number;
  /** mean time of the writes, nanoseconds */
  avg_wr_latency_ns: number;
  /** shortest time of the flushes, nanoseconds */
  min_flush_latency_ns: number;
  /** longest time of the flushes, nanoseconds */
  max_flush_latency_ns: number;
  /** mean time of the flushes, nanoseconds */
  avg_flush_latency_ns: number;
  /** mean number of reads under way */
  avg_rd_queue_depth: number;
  /** mean number of writes under way */
  avg_wr_queue_depth: number;
}

/** How long requests took: how many in each of several intervals. */
export interface BlockLatencyHistogramInfo {
  /** ends of all intervals but the last, nanoseconds, ascending */
  boundaries: number[];
  /** requests of each interval */
  bins: number[];
}

/** Figures of a device, or of a node (of which only wr_highest_offset is counted). */
export interface BlockDeviceStats {
  /** bytes of reads that succeeded */
  rd_bytes: number;
  /** bytes of writes that succeeded */
  wr_bytes: number;
  /** bytes of discards that succeeded */
  unmap_bytes: number;
  /** reads that succeeded */
  rd_operations: number;
  /** writes that succeeded */
  wr_operations: number;
  /** flushes that succeeded */
  flush_operations: number;
  /** discards that succeeded */
  unmap_operations: number;
  /** time that reads took, all together, nanoseconds */
  rd_total_time_ns: number;
  /** time that writes took, all together, nanoseconds */
  wr_total_time_ns: number;
  /** time that flushes took, all together, nanoseconds */
  flush_total_time_ns: number;
  /** time that discards took, all together, nanoseconds */
  unmap_total_time_ns: number;
  /** end of the furthest write to the node, bytes */
  wr_highest_offset: number;
  /** reads that were joined with others */
  rd_merged: number;
  /** writes that were joined with others */
  wr_merged: number;
  /** discards that were joined with others */
  unmap_merged: number;
  /** time since the last request ended, nanoseconds; absent before the first one */
  idle_time_ns?: number;
  /** reads that failed */
  failed_rd_operations: number;
  /** writes that failed */
  failed_wr_operations: number;
  /** flushes that failed */
  failed_flush_operations: number;
  /** discards that failed */
  failed_unmap_operations: number;
  /** reads that were refused, e.g. beyond the end */
  invalid_rd_operations: number;
  /** writes that were refused, e.g. beyond the end */
  invalid_wr_operations: number;
  /** flushes that were refused, e.g. beyond the end */
  invalid_flush_operations: number;
  /** discards that were refused, e.g. beyond the end */
  invalid_unmap_operations: number;
  /** refused requests end the idle time */
  account_invalid: boolean;
  /** failed requests count for times and idle time */
  account_failed: boolean;
  /** figures of the last intervals, one entry a length */
  timed_stats: BlockDeviceTimedStats[];
  /** how long reads took; absent where block-latency-histogram-set has not asked for it */
  rd_latency_histogram?: BlockLatencyHistogramInfo;
  /** how long writes took; absent where block-latency-histogram-set has not asked for it */
  wr_latency_histogram?: BlockLatencyHistogramInfo;
  /** how long flushes took; absent where block-latency-histogram-set has not asked for it */
  flush_latency_histogram?: BlockLatencyHistogramInfo;
}

/** What a file node counts. */
export interface BlockStatsSpecificFile {
  /** discards that the file took */
  'discard-nb-ok': number;
  /** discards that it did not take */
  'discard-nb-failed': number;
  /** bytes of those that it took */
  'discard-bytes-ok': number;
}

/** What all of {@link BlockStatsSpecific} have. */
export interface BlockStatsSpecificBase {
  /** the driver */
  driver: BlockdevDriver;
}

/** What the driver of a node counts. */
export type BlockStatsSpecific =
  | (BlockStatsSpecificBase & { driver: 'blkdebug' })
  | (BlockStatsSpecificBase & { driver: 'blklogwrites' })
  | (BlockStatsSpecificBase & { driver: 'blkverify' })
  | (BlockStatsSpecificBase & { driver: 'bochs' })
  | (BlockStatsSpecificBase & { driver: 'cloop' })
  | (BlockStatsSpecificBase & { driver: 'compress' })
  | (BlockStatsSpecificBase & { driver: 'copy-before-write' })
  | (BlockStatsSpecificBase & { driver: 'copy-on-read' })
  | (BlockStatsSpecificBase & { driver: 'cow' })
  | (BlockStatsSpecificBase & { driver: 'dmg' })
  | (BlockStatsSpecificBase & { driver: 'file' } & BlockStatsSpecificFile)
  | (BlockStatsSpecificBase & { driver: 'host_device' } & BlockStatsSpecificFile)
  | (BlockStatsSpecificBase & { driver: 'http' })
  | (BlockStatsSpecificBase & { driver: 'https' })
  | (BlockStatsSpecificBase & { driver: 'luks' })
  | (BlockStatsSpecificBase & { driver: 'nbd' })
  | (BlockStatsSpecificBase & { driver: 'null-aio' })
  | (BlockStatsSpecificBase & { driver: 'null-co' })
  | (BlockStatsSpecificBase & { driver: 'parallels' })
  | (BlockStatsSpecificBase & { driver: 'preallocate' })
  | (BlockStatsSpecificBase & { driver: 'qcow' })
  | (BlockStatsSpecificBase & { driver: 'qcow2' })
  | (BlockStatsSpecificBase & { driver: 'qed' })
  | (BlockStatsSpecificBase & { driver: 'quorum' })
  | (BlockStatsSpecificBase & { driver: 'raw' })
  | (BlockStatsSpecificBase & { driver: 'snapshot-access' })
  | (BlockStatsSpecificBase & { driver: 'ssh' })
  | (BlockStatsSpecificBase & { driver: 'throttle' })
  | (BlockStatsSpecificBase & { driver: 'vdi' })
  | (BlockStatsSpecificBase & { driver: 'vhdx' })
  | (BlockStatsSpecificBase & { driver: 'vmdk' })
  | (BlockStatsSpecificBase & { driver: 'vpc' })
  | (BlockStatsSpecificBase & { driver: 'vvfat' });

/** Figures of a device and its nodes, or of one node. */
export interface BlockStats {
  /** name of the device */
  device?: string;
  /** path of a device model; absent: there are none */
  qdev?: string;
  /** name of the node */
  'node-name'?: string;
  /** the figures */
  stats: BlockDeviceStats;
  /** what the node's driver counts */
  'driver-specific'?: BlockStatsSpecific;
  /** the node that it is stored in, or that it filters */
  parent?: BlockStats;
  /** the next layer; of devices only */
  backing?: BlockStats;
}

/** Tells the figures of all devices, or of all nodes. */
export interface QueryBlockstatsArguments {
  /** of all nodes (default: false) */
  'query-nodes'?: boolean;
}

/** A device. */
export interface BlockInfo {
  /** its name */
  device: string;
  /** path of a device model; absent: there are none */
  qdev?: string;
  /** always unknown */
  type: string;
  /** always true: no device model holds it */
  removable: boolean;
  /** always false */
  locked: boolean;
  /** its root node */
  inserted?: BlockDeviceInfo;
  /** absent: there is no tray */
  tray_open?: boolean;
  /** whether it has stopped at an error; absent where its error policy stops at none */
  'io-status'?: BlockDeviceIoStatus;
  /** dirty bitmaps of its root node, those of jobs included */
  'dirty-bitmaps'?: BlockDirtyInfo[];
}


/** Limits of a device. */
export interface DriveThrottling extends ThrottleLimits {
  /** the group that shares them (default: the name of the device) */
  group?: string;
}

/** What --drive takes beside the options of the image. */
export interface DriveOptions {
  /** its name (default: none0, none1, ...) */
  id?: string;
  /** how it is attached: none is the only one */
  if?: string;
  /** name of the image, where no members of `file` are given */
  file?: string;
  /** driver of the image (default: found out) */
  format?: string;
  /** none, writeback, writethrough, directsync or unsafe; or the members of `cache`, with writeback=off for writethrough */
  cache?: string;
  /** what happens when a read fails: report, ignore or stop (default: report) */
  rerror?: string;
  /** the same for everything else, or enospc: stop where there is no space, else report (default: enospc) */
  werror?: string;
  /** limits */
  throttling?: DriveThrottling;
  /** see BlockDeviceStats (default: true) */
  'stats-account-invalid'?: boolean;
  /** see BlockDeviceStats (default: true) */
  'stats-account-failed'?: boolean;
  /** lengths of intervals that have figures of their own, seconds */
  'stats-intervals'?: number[];
}

/** A request of a device failed. */
export interface BlockIoErrorEvent {
  /** the device */
  device: string;
  /** its root node */
  'node-name'?: string;
  /** a read, or anything else */
  operation: IoOperationType;
  /** what was done, by the error policy of the device */
  action: BlockErrorAction;
  /** the reason is that there is no space; absent where the device has no io-status */
  nospace?: boolean;
  /** the reason, for people */
  reason: string;
}

/** The metadata of an image contradicts itself. */
export interface BlockImageCorruptedEvent {
  /** the device whose root it is; empty where it is the root of none */
  device: string;
  /** the node */
  'node-name'?: string;
  /** what is wrong, for people */
  msg: string;
  /** where a write was kept from being done, bytes in the file */
  offset?: number;
  /** length of that write, bytes */
  size?: number;
  /** the image is not written any more */
  fatal: boolean;
}


/** Begins to count the requests of a device by how long they take; what was counted before is forgotten. Without any boundaries, ends that. */
export interface BlockLatencyHistogramSetArguments {
  /** the device */
  id: string;
  /** ends of the bins but the last, nanoseconds, ascending, of all kinds */
  boundaries?: number[];
  /** the same, of reads */
  'boundaries-read'?: number[];
  /** the same, of writes */
  'boundaries-write'?: number[];
  /** the same, of flushes */
  'boundaries-flush'?: number[];
}

/** Asks for the event BLOCK_WRITE_THRESHOLD. */
export interface BlockSetWriteThresholdArguments {
  /** the node */
  'node-name': string;
  /** offset beyond which a write is told of, once; 0 for none */
  'write-threshold': number;
}

/** A write went beyond the threshold of a node, which has none any more. */
export interface BlockWriteThresholdEvent {
  /** the node */
  'node-name': string;
  /** bytes that it goes beyond */
  'amount-exceeded': number;
  /** the threshold */
  'write-threshold': number;
}

/** A word, or none. */
export type StrOrNull =
  /** the word */
  | string
  /** none */
  | null;

/** Moves a node to another thread. */
export interface XBlockdevSetIothreadArguments {
  /** the node */
  'node-name': string;
  /** the thread; null for the main one, which is where all nodes are */
  iothread: StrOrNull;
  /** also where a device or an export uses the node (default: false) */
  force?: boolean;
}

/** Kind of a user of nodes, or of a node. */
export type XDbgBlockGraphNodeType =
  /** a device, or an export */
  | 'block-backend'
  /** a job */
  | 'block-job'
  /** a node */
  | 'block-driver';

/** A user of nodes, or a node. */
export interface XDbgBlockGraphNode {
  /** its number in this answer */
  id: number;
  /** what it is */
  type: XDbgBlockGraphNodeType;
  /** its name; empty where it has none */
  name: string;
}

/** A link. */
export interface XDbgBlockGraphEdge {
  /** number of the user */
  parent: number;
  /** number of the node */
  child: number;
  /** what the user calls it */
  name: string;
  /** what the user does with the node */
  perm: BlockPermission[];
  /** what others may do with it */
  'shared-perm': BlockPermission[];
}

/** The whole graph. */
export interface XDbgBlockGraph {
  /** nodes and their users */
  nodes: XDbgBlockGraphNode[];
  /** links */
  edges: XDbgBlockGraphEdge[];
}


/** Whether devices run, and why they do not. */
export type RunState =
  /** a request failed, and the error policy of its device is to stop */
  | 'io-error'
  /** by stop */
  | 'paused'
  /** they run */
  | 'running';

/** Whether devices run. */
export interface StatusInfo {
  /** they do */
  running: boolean;
  /** always false: there is no processor */
  singlestep: boolean;
  /** why they do not */
  status: RunState;
}


/** The name of a machine. */
export interface NameInfo {
  /** the name; absent: there is no machine */
  name?: string;
}






/** An NBD server. */
export interface NbdServerOptions {
  /** address that the server listens at */
  addr: SocketAddress;
  /** seconds after which a client that has not chosen an export is disconnected, 0 for no limit (default: 10; QEMU 10.0) */
  'handshake-max-seconds'?: number;
  /** id of the TLS credentials object; with it, clients must use TLS */
  'tls-creds'?: string;
  /** id of the authorization object that decides, by the distinguished name in their certificate, which clients may connect */
  'tls-authz'?: string;
  /** number of clients at the same time, 0 for no limit; with 1, exports do not offer several connections (default: 0) */
  'max-connections'?: number;
}

/** Options that all NBD exports have. */
export interface BlockExportOptionsNbdBase {
  /** name of the export (default: name of the node) */
  name?: string;
  /** description that clients can list, at most 4096 bytes */
  description?: string;
}

/** An NBD export. */
export interface BlockExportOptionsNbd extends BlockExportOptionsNbdBase {
  /** bitmaps of the node, or of its backing chain, that clients may read as qemu:dirty-bitmap:NAME */
  bitmaps?: BlockDirtyBitmapOrStr[];
  /** clients may read the depth in the backing chain that data comes from, as qemu:allocation-depth (default: false) */
  'allocation-depth'?: boolean;
}

/** An NBD export, in the form from before other kinds of export existed. */
export interface NbdServerAddOptions extends BlockExportOptionsNbdBase {
  /** the device or node */
  device: string;
  /** clients may write (default: false) */
  writable?: boolean;
  /** a bitmap that clients may read as qemu:dirty-bitmap:NAME */
  bitmap?: string;
}

/** Whether other users may open a mounted file. */
export type FuseExportAllowOther =
  /** nobody but the user who has mounted it */
  | 'off'
  /** others, too, as far as its mode lets them (0600 at first; it can be changed then); mounting fails where the system does not allow that */
  | 'on'
  /** as `on` where the system allows that, otherwise as `off` */
  | 'auto';

/** A file that is mounted by FUSE. */
export interface BlockExportOptionsFuse {
  /** a regular file, which the image is seen at */
  mountpoint: string;
  /** writes beyond the end make the image longer (default: false: they are cut at the end) */
  growable?: boolean;
  /** whether other users may open it (default: auto) */
  'allow-other'?: FuseExportAllowOther;
}

/** Kinds of export. */
export type BlockExportType =
  /** over the network block device protocol */
  | 'nbd'
  /** as a file */
  | 'fuse';

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
  /** each write is flushed before it is answered (default: false) */
  writethrough?: boolean;
}

/** Options of an export. */
export type BlockExportOptions =
  | (BlockExportOptionsBase & { type: 'nbd' } & BlockExportOptionsNbd)
  | (BlockExportOptionsBase & { type: 'fuse' } & BlockExportOptionsFuse);

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
  /** address that the server listens at */
  addr: SocketAddressLegacy;
  /** seconds after which a client that has not chosen an export is disconnected, 0 for no limit (default: 10; QEMU 10.0) */
  'handshake-max-seconds'?: number;
  /** id of the TLS credentials object; with it, clients must use TLS */
  'tls-creds'?: string;
  /** id of the authorization object that decides, by the distinguished name in their certificate, which clients may connect */
  'tls-authz'?: string;
  /** number of clients at the same time, 0 for no limit; with 1, exports do not offer several connections (default: 0) */
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
  /** its id, which is its name where `nbd-server-add` added it */
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


/** Encoding of a secret. */
export type QCryptoSecretFormat =
  /** not encoded */
  | 'raw'
  /** base64 */
  | 'base64';

/** A password. Exactly one of `data` and `file` is given. */
export interface SecretProperties {
  /** encoding of the password (default: raw) */
  format?: QCryptoSecretFormat;
  /** the password; other users of the host may see it in the command line */
  data?: string;
  /** file whose whole content is the password */
  file?: string;
  /** id of the secret that this one is encrypted with: 32 bytes, the key of AES-256 in CBC mode. What `format` says is what is encrypted. */
  keyid?: string;
  /** the initialization vector of an encrypted secret, 16 bytes in base64 */
  iv?: string;
}

/** Side of a connection. */
export type QCryptoTLSCredsEndpoint =
  /** the one that connects */
  | 'client'
  /** the one that listens */
  | 'server';

/** Properties of all TLS credentials. */
export interface TlsCredsProperties {
  /** a server requires and verifies a certificate of its clients; a client verifies that of the server (default: true) */
  'verify-peer'?: boolean;
  /** folder of the files with keys and certificates */
  dir?: string;
  /** the side of the connection that uses the credentials (default: client) */
  endpoint?: QCryptoTLSCredsEndpoint;
}

/** Pre-shared keys: the file keys.psk of `dir`. */
export interface TlsCredsPskProperties extends TlsCredsProperties {
  /** the user name that a client sends (default: qemu) */
  username?: string;
}

/** X.509 certificates: the files ca-cert.pem, ca-crl.pem, server-cert.pem, server-key.pem, client-cert.pem and client-key.pem of `dir`. */
export interface TlsCredsX509Properties extends TlsCredsProperties {
  /** id of the secret that the private key is encrypted with */
  passwordid?: string;
}

/** Authorizes one identity. */
export interface AuthZSimpleProperties {
  /** the identity: for a TLS client with a certificate, its distinguished name */
  identity: string;
}

/** Result of an authorization. */
export type QAuthZListPolicy =
  /** access is denied */
  | 'deny'
  /** access is allowed */
  | 'allow';

/** How a rule is matched. */
export type QAuthZListFormat =
  /** an exact string match */
  | 'exact'
  /** string match with the wildcards of a shell */
  | 'glob';

/** One rule of an authorization list. */
export interface QAuthZListRule {
  /** the identity, or a pattern for identities */
  match: string;
  /** the result where the rule matches */
  policy: QAuthZListPolicy;
  /** how the rule is matched (default: exact) */
  format?: QAuthZListFormat;
}

/** Authorizes identities by a list; the first rule that matches decides. */
export interface AuthZListProperties {
  /** the result where no rule matches (default: deny) */
  policy?: QAuthZListPolicy;
  /** the rules */
  rules?: QAuthZListRule[];
}

/** Authorizes identities by a list in a file, as JSON. */
export interface AuthZListFileProperties {
  /** the file */
  filename: string;
  /** read the file again for each identity (default: true); while the file is invalid, access is denied */
  refresh?: boolean;
}

/** Limits that all throttle filters of the group have together. Each limit can be given by itself, too; `limits` counts more. */
export interface ThrottleGroupProperties {
  /** the limits (default: none) */
  limits?: ThrottleLimits;
  /** `iops-total` of `ThrottleLimits` */
  'x-iops-total'?: number;
  /** `iops-total-max` of `ThrottleLimits` */
  'x-iops-total-max'?: number;
  /** `iops-total-max-length` of `ThrottleLimits` */
  'x-iops-total-max-length'?: number;
  /** `iops-read` of `ThrottleLimits` */
  'x-iops-read'?: number;
  /** `iops-read-max` of `ThrottleLimits` */
  'x-iops-read-max'?: number;
  /** `iops-read-max-length` of `ThrottleLimits` */
  'x-iops-read-max-length'?: number;
  /** `iops-write` of `ThrottleLimits` */
  'x-iops-write'?: number;
  /** `iops-write-max` of `ThrottleLimits` */
  'x-iops-write-max'?: number;
  /** `iops-write-max-length` of `ThrottleLimits` */
  'x-iops-write-max-length'?: number;
  /** `bps-total` of `ThrottleLimits` */
  'x-bps-total'?: number;
  /** `bps-total-max` of `ThrottleLimits` */
  'x-bps-total-max'?: number;
  /** `bps-total-max-length` of `ThrottleLimits` */
  'x-bps-total-max-length'?: number;
  /** `bps-read` of `ThrottleLimits` */
  'x-bps-read'?: number;
  /** `bps-read-max` of `ThrottleLimits` */
  'x-bps-read-max'?: number;
  /** `bps-read-max-length` of `ThrottleLimits` */
  'x-bps-read-max-length'?: number;
  /** `bps-write` of `ThrottleLimits` */
  'x-bps-write'?: number;
  /** `bps-write-max` of `ThrottleLimits` */
  'x-bps-write-max'?: number;
  /** `bps-write-max-length` of `ThrottleLimits` */
  'x-bps-write-max-length'?: number;
  /** `iops-size` of `ThrottleLimits` */
  'x-iops-size'?: number;
}

/** Kinds of object. */
export type ObjectType =
  /** see `AuthZListProperties` */
  | 'authz-list'
  /** see `AuthZListFileProperties` */
  | 'authz-list-file'
  /** `authz-list-file`, by the name that it has in QEMU's schema */
  | 'authz-listfile'
  /** see `AuthZSimpleProperties` */
  | 'authz-simple'
  /** see `SecretProperties` */
  | 'secret'
  /** see `ThrottleGroupProperties` */
  | 'throttle-group'
  /** see `TlsCredsPskProperties` */
  | 'tls-creds-psk'
  /** see `TlsCredsX509Properties` */
  | 'tls-creds-x509';

/** What all of {@link ObjectOptions} have. */
export interface ObjectOptionsBase {
  /** type of the object */
  'qom-type': ObjectType;
  /** name of the object */
  id: string;
}

/** Options of an object. */
export type ObjectOptions =
  | (ObjectOptionsBase & { 'qom-type': 'authz-list' } & AuthZListProperties)
  | (ObjectOptionsBase & { 'qom-type': 'authz-list-file' } & AuthZListFileProperties)
  | (ObjectOptionsBase & { 'qom-type': 'authz-listfile' } & AuthZListFileProperties)
  | (ObjectOptionsBase & { 'qom-type': 'authz-simple' } & AuthZSimpleProperties)
  | (ObjectOptionsBase & { 'qom-type': 'secret' } & SecretProperties)
  | (ObjectOptionsBase & { 'qom-type': 'throttle-group' } & ThrottleGroupProperties)
  | (ObjectOptionsBase & { 'qom-type': 'tls-creds-psk' } & TlsCredsPskProperties)
  | (ObjectOptionsBase & { 'qom-type': 'tls-creds-x509' } & TlsCredsX509Properties);


/** Removes an object. */
export interface ObjectDelArguments {
  /** its name */
  id: string;
}

/** A property of an object. */
export interface ObjectPropertyInfo {
  /** its name */
  name: string;
  /** its type: a type of this schema, `string`, `bool`, `int`, or `child<TYPE>` for an object below this one */
  type: string;
  /** what it is for */
  description?: string;
  /** its value where none is given */
  'default-value'?: unknown;
}

/** Lists the properties of an object, and the objects below it. */
export interface QomListArguments {
  /** where the object is: `/objects/ID`, or a part of that which names one object alone Returns: the properties */
  path: string;
}

/** Reads a property of an object. */
export interface QomGetArguments {
  /** as in `qom-list` */
  path: string;
  /** the property Returns: its value; of a child, its path */
  property: string;
}

/** Changes a property of an object: the limits of a throttle group, or whom an authorization lets in. */
export interface QomSetArguments {
  /** as in `qom-list` */
  path: string;
  /** the property */
  property: string;
  /** its new value */
  value: unknown;
}

/** A type of objects. */
export interface ObjectTypeInfo {
  /** its name */
  name: string;
  /** there are objects of types that are derived from it, and none of its own (default: false) */
  abstract?: boolean;
  /** the type that it is derived from */
  parent?: string;
}

/** Lists types of objects. */
export interface QomListTypesArguments {
  /** only those that are, or are derived from, this one */
  implements?: string;
  /** abstract types, too (default: false) Returns: the types */
  abstract?: boolean;
}

/** Lists the properties that objects of a type have. */
export interface QomListPropertiesArguments {
  /** the type Returns: the properties */
  typename: string;
}

/** A thread for the requests of devices. */
export interface IOThreadInfo {
  /** id of the iothread object */
  id: string;
  /** id of the thread in the host */
  'thread-id': number;
  /** longest time of busy waiting, in nanoseconds */
  'poll-max-ns': number;
  /** what that time is multiplied by when it grows */
  'poll-grow': number;
  /** what it is divided by when it shrinks */
  'poll-shrink': number;
  /** most requests that are submitted together */
  'aio-max-batch': number;
}


/** A character device. */
export interface ChardevInfo {
  /** its name */
  label: string;
  /** what it is and where it leads */
  filename: string;
  /** a monitor is at it */
  'frontend-open': boolean;
}


/** A kind of character device. */
export interface ChardevBackendInfo {
  /** its name */
  name: string;
}


/** How bytes are written as text. */
export type DataFormat =
  /** as UTF-8; what is none becomes U+FFFD */
  | 'utf8'
  /** as Base64 */
  | 'base64';

/** Writes to a ring buffer. What does not fit replaces the oldest bytes. */
export interface RingbufWriteArguments {
  /** the ring buffer */
  device: string;
  /** what is written */
  data: string;
  /** how `data` is to be read (default: utf8) */
  format?: DataFormat;
}

/** Takes the oldest bytes out of a ring buffer. */
export interface RingbufReadArguments {
  /** the ring buffer */
  device: string;
  /** number of bytes at most */
  size: number;
  /** how they are returned (default: utf8) */
  format?: DataFormat;
}

/** Options of all character devices. */
export interface ChardevCommon {
  /** file to which all that is written to the device is written, too */
  logfile?: string;
  /** `logfile` is written from its end on, and not truncated (default: false) */
  logappend?: boolean;
}

/** A file. */
export interface ChardevFile extends ChardevCommon {
  /** file that is read; without it nothing is */
  in?: string;
  /** file that is written */
  out: string;
  /** the file is written from its end on, and not truncated (default: false) */
  append?: boolean;
}

/** Named pipes. */
export interface ChardevHostdev extends ChardevCommon {
  /** name of the pipes without its end: `device`.in is read, and `device`.out is written */
  device: string;
}

/** A socket. */
export interface ChardevSocket extends ChardevCommon {
  /** where to listen, or what to connect to */
  addr: SocketAddressLegacy;
  /** id of the TLS credentials that are used */
  'tls-creds'?: string;
  /** id of the authorization object that a server's clients are checked with: by the distinguished names of their certificates */
  'tls-authz'?: string;
  /** the socket listens (default: true) */
  server?: boolean;
  /** a server's device is complete with its first client (default: false) */
  wait?: boolean;
  /** TCP sends at once what is written; it always does here, and `false` is refused */
  nodelay?: boolean;
  /** a client connects again after so many seconds, where the connection fails or has ended; 0: it does not (default: 0) */
  reconnect?: number;
}

/** Standard input and output. */
export interface ChardevStdio extends ChardevCommon {
}

/** A ring buffer in memory. */
export interface ChardevRingbuf extends ChardevCommon {
  /** its bytes, a power of two (default: 65536) */
  size?: number;
}

/** Kinds of character device. */
export type ChardevBackendKind =
  /** a file */
  | 'file'
  /** named pipes */
  | 'pipe'
  /** a socket */
  | 'socket'
  /** nothing comes, and what is written is dropped */
  | 'null'
  /** standard input and output */
  | 'stdio'
  /** a ring buffer in memory */
  | 'ringbuf'
  /** the first name of `ringbuf` */
  | 'memory'
  /** a pseudo terminal, which another program opens by its path */
  | 'pty';

/**  */
export interface ChardevFileWrapper {
  /** options */
  data: ChardevFile;
}

/**  */
export interface ChardevHostdevWrapper {
  /** options */
  data: ChardevHostdev;
}

/**  */
export interface ChardevSocketWrapper {
  /** options */
  data: ChardevSocket;
}

/**  */
export interface ChardevCommonWrapper {
  /** options */
  data: ChardevCommon;
}

/**  */
export interface ChardevStdioWrapper {
  /** options */
  data: ChardevStdio;
}

/**  */
export interface ChardevRingbufWrapper {
  /** options */
  data: ChardevRingbuf;
}

/** What all of {@link ChardevBackend} have. */
export interface ChardevBackendBase {
  /** its kind */
  type: ChardevBackendKind;
}

/** What a character device is. */
export type ChardevBackend =
  | (ChardevBackendBase & { type: 'file' } & ChardevFileWrapper)
  | (ChardevBackendBase & { type: 'pipe' } & ChardevHostdevWrapper)
  | (ChardevBackendBase & { type: 'socket' } & ChardevSocketWrapper)
  | (ChardevBackendBase & { type: 'null' } & ChardevCommonWrapper)
  | (ChardevBackendBase & { type: 'stdio' } & ChardevStdioWrapper)
  | (ChardevBackendBase & { type: 'ringbuf' } & ChardevRingbufWrapper)
  | (ChardevBackendBase & { type: 'memory' } & ChardevRingbufWrapper)
  | (ChardevBackendBase & { type: 'pty' } & ChardevCommonWrapper);

/** What is known of a new character device only. */
export interface ChardevReturn {
  /** path of a pseudo terminal */
  pty?: string;
}

/** Adds a character device. */
export interface ChardevAddArguments {
  /** its name */
  id: string;
  /** what it is */
  backend: ChardevBackend;
}

/** Puts another device in the place of one at which no monitor is. */
export interface ChardevChangeArguments {
  /** its name */
  id: string;
  /** what it is from now on */
  backend: ChardevBackend;
}

/** Removes a device at which no monitor is. */
export interface ChardevRemoveArguments {
  /** its name */
  id: string;
}

/** Sends a break. None of these devices has one: nothing happens. */
export interface ChardevSendBreakArguments {
  /** name of the device */
  id: string;
}

/** What all of {@link ChardevOptions} have. */
export interface ChardevOptionsBase {
  /** its kind */
  backend: ChardevBackendKind;
  /** its name */
  id: string;
  /** see `ChardevCommon` */
  logfile?: string;
  /** see `ChardevCommon` */
  logappend?: boolean;
}

/** A character device as the command line describes it. */
export type ChardevOptions =
  | (ChardevOptionsBase & { backend: 'file' } & ChardevFileOptions)
  | (ChardevOptionsBase & { backend: 'pipe' } & ChardevPipeOptions)
  | (ChardevOptionsBase & { backend: 'socket' } & ChardevSocketOptions)
  | (ChardevOptionsBase & { backend: 'null' })
  | (ChardevOptionsBase & { backend: 'stdio' })
  | (ChardevOptionsBase & { backend: 'ringbuf' } & ChardevRingbufOptions)
  | (ChardevOptionsBase & { backend: 'memory' } & ChardevRingbufOptions)
  | (ChardevOptionsBase & { backend: 'pty' });

/** A file. */
export interface ChardevFileOptions {
  /** file that is written */
  path: string;
  /** file that is read; without it nothing is */
  'input-path'?: string;
  /** the file is written from its end on, and not truncated (default: false) */
  append?: boolean;
}

/** Named pipes. */
export interface ChardevPipeOptions {
  /** name of the pipes without its end: `path`.in is read, and `path`.out is written */
  path: string;
}

/** A ring buffer in memory. */
export interface ChardevRingbufOptions {
  /** its bytes, a power of two (default: 65536) */
  size?: number;
}

/** A socket. Exactly one of `path`, `port` and `fd` is given. */
export interface ChardevSocketOptions {
  /** a UNIX socket */
  path?: string;
  /** `path` is a name in the abstract name space of Linux (default: false) */
  abstract?: boolean;
  /** see `UnixSocketAddress` */
  tight?: boolean;
  /** host of a TCP socket (default: the local host) */
  host?: string;
  /** port of a TCP socket: digits, or the name of a service */
  port?: string;
  /** see `InetSocketAddress` */
  to?: number;
  /** use IPv4 */
  ipv4?: boolean;
  /** use IPv6 */
  ipv6?: boolean;
  /** a file descriptor that the program was started with */
  fd?: string;
  /** the socket listens for clients (default: false: it connects) */
  server?: boolean;
  /** see `ChardevSocket` */
  'tls-creds'?: string;
  /** see `ChardevSocket` */
  'tls-authz'?: string;
  /** see `ChardevSocket` */
  nodelay?: boolean;
  /** the program waits until the first client has connected (default: true for a server) */
  wait?: boolean;
  /** a client connects again after so many seconds, where the connection fails or has ended; 0: it does not (default: 0) */
  reconnect?: number;
}

/** Gives a name to the descriptor that comes with the command. A socket's address may be that name, once (`FdSocketAddress`). The name goes with the client. */
export interface GetfdArguments {
  /** the name; one that is there is given to the new descriptor */
  fdname: string;
}

/** Closes a descriptor that has a name. */
export interface ClosefdArguments {
  /** the name */
  fdname: string;
}

/** A descriptor in a set. */
export interface AddfdInfo {
  /** the set */
  'fdset-id': number;
  /** number of the descriptor in this process */
  fd: number;
}

/** Puts the descriptor that comes with the command into a set. The name of a file may be /dev/fdset/ and the number of a set: the descriptor in it that is open in the right way is duplicated. */
export interface AddFdArguments {
  /** the set (default: a new one) */
  'fdset-id'?: number;
  /** text that goes with it */
  opaque?: string;
}

/** Closes descriptors of a set. Files that were opened from them stay open. */
export interface RemoveFdArguments {
  /** the set */
  'fdset-id': number;
  /** one descriptor (default: all of the set) */
  fd?: number;
}

/** A descriptor in a set. */
export interface FdsetFdInfo {
  /** number of the descriptor in this process */
  fd: number;
  /** text that came with it */
  opaque?: string;
}

/** A set of descriptors. */
export interface FdsetInfo {
  /** its number */
  'fdset-id': number;
  /** its descriptors */
  fds: FdsetFdInfo[];
}


/**  */
export interface BlockdevCompact {
  /** name of the job (default: that of the device) */
  'job-id'?: string;
  /** name of a device, or of a node that no other node uses */
  device: string;
  /** clusters that are equal to what the backing file has there are not stored any more (default: false) */
  'dedupe-backing'?: boolean;
  /** the content is not searched for clusters of zeroes (default: false) */
  'keep-zeroes'?: boolean;
  /** rate limit in bytes per second, 0 for none */
  speed?: number;
  /** see `BlockJobInfo` (default: true) */
  'auto-finalize'?: boolean;
  /** see `BlockJobInfo` (default: true) */
  'auto-dismiss'?: boolean;
}


/** What has connections that can be cut. */
export type YankInstanceType =
  /** a node */
  | 'block-node'
  /** a character device */
  | 'chardev';

/** A node that is connected to an NBD server. Cut off, it does not connect again: all requests fail from then on. */
export interface YankInstanceBlockNode {
  /** the node */
  'node-name': string;
}

/** A character device that is a socket: those who are connected to it are disconnected. */
export interface YankInstanceChardev {
  /** the device */
  id: string;
}

/** What all of {@link YankInstance} have. */
export interface YankInstanceBase {
  /** what it is */
  type: YankInstanceType;
}

/** Something with connections that can be cut. */
export type YankInstance =
  | (YankInstanceBase & { type: 'block-node' } & YankInstanceBlockNode)
  | (YankInstanceBase & { type: 'chardev' } & YankInstanceChardev);

/** Cuts connections at once: all that are named, or none where one is not there (`DeviceNotFound`). */
export interface YankArguments {
  /** what is cut off */
  instances: YankInstance[];
}


/** An older QMP whose commands are there, too (--compat). */
export type CompatGeneration =
  /** the names that the commands of streaming had first, before QEMU 1.1 */
  | 'first-names'
  /** the forms that commands have in QEMU 2.1 */
  | '2.1';

/** Copies data from the backing chain into the image of a device. Its errors: DeviceNotFound where there is no such device, DeviceInUse where a job works on it, BaseNotFound where the chain has no such file, NotSupported where the image cannot take it. */
export interface BlockStreamFirstNamesArguments {
  /** the device, whose name is that of the job */
  device: string;
  /** file name of the image that stays as backing file (default: none) */
  base?: string;
}

/** Changes the rate limit of a device's job. Its errors: DeviceNotActive where it has none, NotSupported where that job takes no limit. */
export interface BlockJobSetSpeedFirstNamesArguments {
  /** the device */
  device: string;
  /** bytes per second, 0 for no limit */
  value: number;
}

/** Cancels the job of a device. Its errors: DeviceNotActive where it has none, DeviceInUse where the job is being cancelled. */
export interface BlockJobCancelFirstNamesArguments {
  /** the device */
  device: string;
}

/** Caching of a device and its image. */
export interface BlockdevDeviceCacheOptions extends BlockdevCacheOptions {
  /** a write is answered before it is durable, until a flush (default: true) */
  writeback?: boolean;
}

/** Options of a device on an image, of whichever driver. Options of the image are those of BlockdevOptions. */
export interface BlockdevDeviceOptionsBase {
  /** the image's driver */
  driver: BlockdevDriver;
  /** name of the device */
  id: string;
  /** name of the image's node (default: a made-up name) */
  'node-name'?: string;
  /** what happens with discards (default: ignore) */
  discard?: BlockdevDiscardOptions;
  /** caching */
  cache?: BlockdevDeviceCacheOptions;
  /** the I/O engine of the image's file (default: the one that the host runs) */
  aio?: BlockdevAioOptions;
  /** what happens when a read fails: report, ignore or stop (default: report) */
  rerror?: BlockdevOnError;
  /** the same for everything else, or enospc: stop where there is no space, else report (default: enospc) */
  werror?: BlockdevOnError;
  /** the image is opened for reading only (default: false) */
  'read-only'?: boolean;
  /** whether writes of zeroes are detected (default: off) */
  'detect-zeroes'?: BlockdevDetectZeroesOptions;
}

/** Options of a device on an image. */
export type BlockdevDeviceOptions =
  | (BlockdevDeviceOptionsBase & { driver: 'blkdebug' } & BlockdevOptionsBlkdebug)
  | (BlockdevDeviceOptionsBase & { driver: 'blklogwrites' } & BlockdevOptionsBlklogwrites)
  | (BlockdevDeviceOptionsBase & { driver: 'blkverify' } & BlockdevOptionsBlkverify)
  | (BlockdevDeviceOptionsBase & { driver: 'bochs' } & BlockdevOptionsGenericFormat)
  | (BlockdevDeviceOptionsBase & { driver: 'cloop' } & BlockdevOptionsGenericFormat)
  | (BlockdevDeviceOptionsBase & { driver: 'compress' } & BlockdevOptionsGenericFormat)
  | (BlockdevDeviceOptionsBase & { driver: 'copy-before-write' } & BlockdevOptionsCbw)
  | (BlockdevDeviceOptionsBase & { driver: 'copy-on-read' } & BlockdevOptionsCor)
  | (BlockdevDeviceOptionsBase & { driver: 'cow' } & BlockdevOptionsGenericCOWFormat)
  | (BlockdevDeviceOptionsBase & { driver: 'dmg' } & BlockdevOptionsGenericFormat)
  | (BlockdevDeviceOptionsBase & { driver: 'file' } & BlockdevOptionsFile)
  | (BlockdevDeviceOptionsBase & { driver: 'host_device' } & BlockdevOptionsFile)
  | (BlockdevDeviceOptionsBase & { driver: 'http' } & BlockdevOptionsCurlHttp)
  | (BlockdevDeviceOptionsBase & { driver: 'https' } & BlockdevOptionsCurlHttps)
  | (BlockdevDeviceOptionsBase & { driver: 'luks' } & BlockdevOptionsLUKS)
  | (BlockdevDeviceOptionsBase & { driver: 'nbd' } & BlockdevOptionsNbd)
  | (BlockdevDeviceOptionsBase & { driver: 'null-aio' } & BlockdevOptionsNull)
  | (BlockdevDeviceOptionsBase & { driver: 'null-co' } & BlockdevOptionsNull)
  | (BlockdevDeviceOptionsBase & { driver: 'parallels' } & BlockdevOptionsGenericFormat)
  | (BlockdevDeviceOptionsBase & { driver: 'preallocate' } & BlockdevOptionsPreallocate)
  | (BlockdevDeviceOptionsBase & { driver: 'qcow' } & BlockdevOptionsQcow)
  | (BlockdevDeviceOptionsBase & { driver: 'qcow2' } & BlockdevOptionsQcow2)
  | (BlockdevDeviceOptionsBase & { driver: 'qed' } & BlockdevOptionsGenericCOWFormat)
  | (BlockdevDeviceOptionsBase & { driver: 'quorum' } & BlockdevOptionsQuorum)
  | (BlockdevDeviceOptionsBase & { driver: 'raw' } & BlockdevOptionsRaw)
  | (BlockdevDeviceOptionsBase & { driver: 'snapshot-access' } & BlockdevOptionsGenericFormat)
  | (BlockdevDeviceOptionsBase & { driver: 'ssh' } & BlockdevOptionsSsh)
  | (BlockdevDeviceOptionsBase & { driver: 'throttle' } & BlockdevOptionsThrottle)
  | (BlockdevDeviceOptionsBase & { driver: 'vdi' } & BlockdevOptionsGenericFormat)
  | (BlockdevDeviceOptionsBase & { driver: 'vhdx' } & BlockdevOptionsGenericCOWFormat)
  | (BlockdevDeviceOptionsBase & { driver: 'vmdk' } & BlockdevOptionsGenericCOWFormat)
  | (BlockdevDeviceOptionsBase & { driver: 'vpc' } & BlockdevOptionsVpc)
  | (BlockdevDeviceOptionsBase & { driver: 'vvfat' } & BlockdevOptionsVVFAT);

/** Opens an image and makes a device on it. In the options of its nodes, an empty string as backing node stands for none. */
export interface BlockdevAdd21Arguments {
  /** the device and its image */
  options: BlockdevDeviceOptions;
}

/** Copies data from the backing chain into a device's image. DeviceNotFound where there is no such device. */
export interface BlockStream21Arguments {
  /** the device */
  device: string;
  /** file name of the image that stays as backing file (default: none) */
  base?: string;
  /** rate limit in bytes per second */
  speed?: number;
  /** the action to take when a request fails (default: report) */
  'on-error'?: BlockdevOnError;
}

/** Copies a device's image to another file, and keeps it synchronized until the job is completed. DeviceNotFound where there is no such device. */
export interface DriveMirror21Arguments {
  /** the device */
  device: string;
  /** name of the target's file */
  target: string;
  /** format of the target (default: that of the source for a new image; probed for an existing one) */
  format?: string;
  /** name for the target's node */
  'node-name'?: string;
  /** node that is replaced by the target at the end (default: the source) */
  replaces?: string;
  /** which data is copied at the beginning */
  sync: MirrorSyncMode;
  /** whether the target is created (default: absolute-paths) */
  mode?: NewImageMode;
  /** rate limit in bytes per second */
  speed?: number;
  /** granularity of the dirty bitmap in bytes, a power of two from 512 to 64 MiB (default: the target's cluster size, from 4096 to 65536) */
  granularity?: number;
  /** limit of bytes in flight (default: 10 MiB) */
  'buf-size'?: number;
  /** the action to take when a read fails (default: report) */
  'on-source-error'?: BlockdevOnError;
  /** the action to take when a write fails (default: report) */
  'on-target-error'?: BlockdevOnError;
}

/** Copies a device's image to another file, as it is at the start. DeviceNotFound where there is no such device. */
export interface DriveBackup21Arguments {
  /** the device */
  device: string;
  /** name of the target's file */
  target: string;
  /** format of the target (default: that of the source for a new image; probed for an existing one) */
  format?: string;
  /** which data is copied */
  sync: MirrorSyncMode;
  /** whether the target is created (default: absolute-paths) */
  mode?: NewImageMode;
  /** rate limit in bytes per second */
  speed?: number;
  /** the action to take when a read fails (default: report) */
  'on-source-error'?: BlockdevOnError;
  /** the action to take when a write fails (default: report) */
  'on-target-error'?: BlockdevOnError;
}

/** Changes the size of an image. DeviceNotFound where there is no such device. */
export interface BlockResize21Arguments {
  /** the device, or `node-name` is given */
  device?: string;
  /** the node */
  'node-name'?: string;
  /** the new size in bytes */
  size: number;
}


/** Changes the name of the backing file in the header of an image. DeviceNotFound where there is no such device. */
export interface ChangeBackingFile21Arguments {
  /** the device at the top of the chain */
  device: string;
  /** node of the image */
  'image-node-name': string;
  /** the new name */
  'backing-file': string;
}

/** Carries out all of several actions, or none. DeviceNotFound where all are ones that 2.1 has (blockdev-snapshot-sync, drive-backup, abort), and one of their devices is not there. */
export interface Transaction21Arguments {
  /** the actions */
  actions: TransactionAction[];
}

/** Gives the key of an encrypted image. There are no encrypted images: each is refused, with DeviceNotFound where there is no such device. */
export interface BlockPasswd21Arguments {
  /** the device, or `node-name` is given */
  device?: string;
  /** the node */
  'node-name'?: string;
  /** the key */
  password: string;
}

/** Every type by its name. */
export interface QapiTypes {
  QMPCapability: QMPCapability;
  QmpCapabilitiesArguments: QmpCapabilitiesArguments;
  VersionTriple: VersionTriple;
  VersionInfo: VersionInfo;
  CommandInfo: CommandInfo;
  CommandLineParameterType: CommandLineParameterType;
  CommandLineParameterInfo: CommandLineParameterInfo;
  CommandLineOptionInfo: CommandLineOptionInfo;
  QueryCommandLineOptionsArguments: QueryCommandLineOptionsArguments;
  MonitorMode: MonitorMode;
  MonitorOptions: MonitorOptions;
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
  QCryptoHashAlgorithm: QCryptoHashAlgorithm;
  QCryptoCipherAlgorithm: QCryptoCipherAlgorithm;
  QCryptoCipherMode: QCryptoCipherMode;
  QCryptoIVGenAlgorithm: QCryptoIVGenAlgorithm;
  QCryptoBlockFormat: QCryptoBlockFormat;
  QCryptoBlockOptionsBase: QCryptoBlockOptionsBase;
  QCryptoBlockOptionsQCow: QCryptoBlockOptionsQCow;
  QCryptoBlockOptionsLUKS: QCryptoBlockOptionsLUKS;
  QCryptoBlockCreateOptionsLUKS: QCryptoBlockCreateOptionsLUKS;
  QCryptoBlockCreateOptions: QCryptoBlockCreateOptions;
  QCryptoBlockInfoLUKSSlot: QCryptoBlockInfoLUKSSlot;
  QCryptoBlockInfoLUKS: QCryptoBlockInfoLUKS;
  QCryptoBlockLUKSKeyslotState: QCryptoBlockLUKSKeyslotState;
  QCryptoBlockAmendOptionsLUKS: QCryptoBlockAmendOptionsLUKS;
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
  BlockdevOptionsCurlBase: BlockdevOptionsCurlBase;
  BlockdevOptionsCurlHttp: BlockdevOptionsCurlHttp;
  BlockdevOptionsCurlHttps: BlockdevOptionsCurlHttps;
  SshHostKeyCheckMode: SshHostKeyCheckMode;
  SshHostKeyCheckHashType: SshHostKeyCheckHashType;
  SshHostKeyHash: SshHostKeyHash;
  SshHostKeyCheck: SshHostKeyCheck;
  BlockdevOptionsSsh: BlockdevOptionsSsh;
  BlockdevOptionsNull: BlockdevOptionsNull;
  BlockdevOptionsVVFAT: BlockdevOptionsVVFAT;
  BlockdevOptionsGenericFormat: BlockdevOptionsGenericFormat;
  BlockdevOptionsRaw: BlockdevOptionsRaw;
  BlockdevOptionsGenericCOWFormat: BlockdevOptionsGenericCOWFormat;
  BlockdevOptionsVpc: BlockdevOptionsVpc;
  BlockdevOptionsLUKS: BlockdevOptionsLUKS;
  BlockdevQcowEncryptionFormat: BlockdevQcowEncryptionFormat;
  BlockdevQcowEncryption: BlockdevQcowEncryption;
  BlockdevOptionsQcow: BlockdevOptionsQcow;
  BlockdevQcow2EncryptionFormat: BlockdevQcow2EncryptionFormat;
  BlockdevQcow2Encryption: BlockdevQcow2Encryption;
  Qcow2OverlapCheckMode: Qcow2OverlapCheckMode;
  Qcow2OverlapCheckFlags: Qcow2OverlapCheckFlags;
  Qcow2OverlapChecks: Qcow2OverlapChecks;
  BlockdevOptionsQcow2: BlockdevOptionsQcow2;
  BlkdebugEvent: BlkdebugEvent;
  BlkdebugIOType: BlkdebugIOType;
  BlkdebugInjectErrorOptions: BlkdebugInjectErrorOptions;
  BlkdebugSetStateOptions: BlkdebugSetStateOptions;
  BlockPermission: BlockPermission;
  BlockdevOptionsBlkdebug: BlockdevOptionsBlkdebug;
  BlockdevOptionsBlkverify: BlockdevOptionsBlkverify;
  BlockdevOptionsBlklogwrites: BlockdevOptionsBlklogwrites;
  QuorumReadPattern: QuorumReadPattern;
  BlockdevOptionsQuorum: BlockdevOptionsQuorum;
  OnCbwError: OnCbwError;
  BlockdevOptionsCbw: BlockdevOptionsCbw;
  BlockdevOptionsCor: BlockdevOptionsCor;
  BlockdevOptionsPreallocate: BlockdevOptionsPreallocate;
  BlockdevOptionsThrottle: BlockdevOptionsThrottle;
  BlockdevOptions: BlockdevOptions;
  BlockdevRef: BlockdevRef;
  BlockdevRefOrNull: BlockdevRefOrNull;
  BlockdevCreateOptionsFile: BlockdevCreateOptionsFile;
  BlockdevCreateOptionsLUKS: BlockdevCreateOptionsLUKS;
  BlockdevCreateOptionsRaw: BlockdevCreateOptionsRaw;
  BlockdevCreateOptionsSsh: BlockdevCreateOptionsSsh;
  BlockdevQcow2Version: BlockdevQcow2Version;
  Qcow2CompressionType: Qcow2CompressionType;
  BlockdevCreateOptionsQcow2: BlockdevCreateOptionsQcow2;
  BlockdevCreateOptionsCow: BlockdevCreateOptionsCow;
  BlockdevCreateOptionsQcow: BlockdevCreateOptionsQcow;
  BlockdevCreateOptionsQed: BlockdevCreateOptionsQed;
  BlockdevCreateOptionsParallels: BlockdevCreateOptionsParallels;
  BlockdevCreateOptionsVdi: BlockdevCreateOptionsVdi;
  BlockdevVhdxSubformat: BlockdevVhdxSubformat;
  BlockdevCreateOptionsVhdx: BlockdevCreateOptionsVhdx;
  BlockdevVmdkSubformat: BlockdevVmdkSubformat;
  BlockdevVmdkAdapterType: BlockdevVmdkAdapterType;
  BlockdevCreateOptionsVmdk: BlockdevCreateOptionsVmdk;
  BlockdevVpcSubformat: BlockdevVpcSubformat;
  BlockdevCreateOptionsVpc: BlockdevCreateOptionsVpc;
  BlockdevCreateOptions: BlockdevCreateOptions;
  SnapshotInfo: SnapshotInfo;
  Qcow2BitmapInfoFlags: Qcow2BitmapInfoFlags;
  Qcow2BitmapInfo: Qcow2BitmapInfo;
  ImageInfoSpecificQCow2Encryption: ImageInfoSpecificQCow2Encryption;
  ImageInfoSpecificQCow2: ImageInfoSpecificQCow2;
  ImageInfoSpecificQCow2Wrapper: ImageInfoSpecificQCow2Wrapper;
  ImageInfoSpecificKind: ImageInfoSpecificKind;
  ImageInfoSpecificLUKSWrapper: ImageInfoSpecificLUKSWrapper;
  VmdkExtentInfo: VmdkExtentInfo;
  ImageInfoSpecificVmdk: ImageInfoSpecificVmdk;
  ImageInfoSpecificVmdkWrapper: ImageInfoSpecificVmdkWrapper;
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
  BlockMeasureInfo: BlockMeasureInfo;
  NewImageMode: NewImageMode;
  BlockdevSnapshotSync: BlockdevSnapshotSync;
  BlockdevSnapshot: BlockdevSnapshot;
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
  DriveMirror: DriveMirror;
  BackupPerf: BackupPerf;
  BackupCommon: BackupCommon;
  BlockdevBackup: BlockdevBackup;
  DriveBackup: DriveBackup;
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
  BlockdevCacheInfo: BlockdevCacheInfo;
  BlockDeviceInfo: BlockDeviceInfo;
  QueryNamedBlockNodesArguments: QueryNamedBlockNodesArguments;
  BlockDirtyBitmapSha256: BlockDirtyBitmapSha256;
  BlockdevSnapshotInternal: BlockdevSnapshotInternal;
  BlockdevSnapshotDeleteInternalSyncArguments: BlockdevSnapshotDeleteInternalSyncArguments;
  SnapshotSaveArguments: SnapshotSaveArguments;
  SnapshotLoadArguments: SnapshotLoadArguments;
  SnapshotDeleteArguments: SnapshotDeleteArguments;
  ActionCompletionMode: ActionCompletionMode;
  TransactionActionKind: TransactionActionKind;
  Abort: Abort;
  AbortWrapper: AbortWrapper;
  BlockDirtyBitmapAddWrapper: BlockDirtyBitmapAddWrapper;
  BlockDirtyBitmapWrapper: BlockDirtyBitmapWrapper;
  BlockDirtyBitmapMergeWrapper: BlockDirtyBitmapMergeWrapper;
  BlockdevBackupWrapper: BlockdevBackupWrapper;
  BlockdevSnapshotWrapper: BlockdevSnapshotWrapper;
  BlockdevSnapshotInternalWrapper: BlockdevSnapshotInternalWrapper;
  BlockdevSnapshotSyncWrapper: BlockdevSnapshotSyncWrapper;
  DriveBackupWrapper: DriveBackupWrapper;
  TransactionAction: TransactionAction;
  TransactionProperties: TransactionProperties;
  TransactionArguments: TransactionArguments;
  BlockdevReopenArguments: BlockdevReopenArguments;
  BlockdevDelArguments: BlockdevDelArguments;
  BlockResizeArguments: BlockResizeArguments;
  ChangeBackingFileArguments: ChangeBackingFileArguments;
  BlockdevCreateArguments: BlockdevCreateArguments;
  QCryptoBlockAmendOptions: QCryptoBlockAmendOptions;
  BlockdevAmendOptionsQcow2: BlockdevAmendOptionsQcow2;
  BlockdevAmendOptions: BlockdevAmendOptions;
  XBlockdevAmendArguments: XBlockdevAmendArguments;
  XBlockdevChangeArguments: XBlockdevChangeArguments;
  QuorumOpType: QuorumOpType;
  QuorumFailureEvent: QuorumFailureEvent;
  QuorumReportBadEvent: QuorumReportBadEvent;
  BlockDeviceTimedStats: BlockDeviceTimedStats;
  BlockLatencyHistogramInfo: BlockLatencyHistogramInfo;
  BlockDeviceStats: BlockDeviceStats;
  BlockStatsSpecificFile: BlockStatsSpecificFile;
  BlockStatsSpecific: BlockStatsSpecific;
  BlockStats: BlockStats;
  QueryBlockstatsArguments: QueryBlockstatsArguments;
  BlockInfo: BlockInfo;
  DriveThrottling: DriveThrottling;
  DriveOptions: DriveOptions;
  BlockIoErrorEvent: BlockIoErrorEvent;
  BlockImageCorruptedEvent: BlockImageCorruptedEvent;
  BlockLatencyHistogramSetArguments: BlockLatencyHistogramSetArguments;
  BlockSetWriteThresholdArguments: BlockSetWriteThresholdArguments;
  BlockWriteThresholdEvent: BlockWriteThresholdEvent;
  StrOrNull: StrOrNull;
  XBlockdevSetIothreadArguments: XBlockdevSetIothreadArguments;
  XDbgBlockGraphNodeType: XDbgBlockGraphNodeType;
  XDbgBlockGraphNode: XDbgBlockGraphNode;
  XDbgBlockGraphEdge: XDbgBlockGraphEdge;
  XDbgBlockGraph: XDbgBlockGraph;
  RunState: RunState;
  StatusInfo: StatusInfo;
  NameInfo: NameInfo;
  NbdServerOptions: NbdServerOptions;
  BlockExportOptionsNbdBase: BlockExportOptionsNbdBase;
  BlockExportOptionsNbd: BlockExportOptionsNbd;
  NbdServerAddOptions: NbdServerAddOptions;
  FuseExportAllowOther: FuseExportAllowOther;
  BlockExportOptionsFuse: BlockExportOptionsFuse;
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
  ThrottleGroupProperties: ThrottleGroupProperties;
  ObjectType: ObjectType;
  ObjectOptions: ObjectOptions;
  ObjectDelArguments: ObjectDelArguments;
  ObjectPropertyInfo: ObjectPropertyInfo;
  QomListArguments: QomListArguments;
  QomGetArguments: QomGetArguments;
  QomSetArguments: QomSetArguments;
  ObjectTypeInfo: ObjectTypeInfo;
  QomListTypesArguments: QomListTypesArguments;
  QomListPropertiesArguments: QomListPropertiesArguments;
  IOThreadInfo: IOThreadInfo;
  ChardevInfo: ChardevInfo;
  ChardevBackendInfo: ChardevBackendInfo;
  DataFormat: DataFormat;
  RingbufWriteArguments: RingbufWriteArguments;
  RingbufReadArguments: RingbufReadArguments;
  ChardevCommon: ChardevCommon;
  ChardevFile: ChardevFile;
  ChardevHostdev: ChardevHostdev;
  ChardevSocket: ChardevSocket;
  ChardevStdio: ChardevStdio;
  ChardevRingbuf: ChardevRingbuf;
  ChardevBackendKind: ChardevBackendKind;
  ChardevFileWrapper: ChardevFileWrapper;
  ChardevHostdevWrapper: ChardevHostdevWrapper;
  ChardevSocketWrapper: ChardevSocketWrapper;
  ChardevCommonWrapper: ChardevCommonWrapper;
  ChardevStdioWrapper: ChardevStdioWrapper;
  ChardevRingbufWrapper: ChardevRingbufWrapper;
  ChardevBackend: ChardevBackend;
  ChardevReturn: ChardevReturn;
  ChardevAddArguments: ChardevAddArguments;
  ChardevChangeArguments: ChardevChangeArguments;
  ChardevRemoveArguments: ChardevRemoveArguments;
  ChardevSendBreakArguments: ChardevSendBreakArguments;
  ChardevOptions: ChardevOptions;
  ChardevFileOptions: ChardevFileOptions;
  ChardevPipeOptions: ChardevPipeOptions;
  ChardevRingbufOptions: ChardevRingbufOptions;
  ChardevSocketOptions: ChardevSocketOptions;
  GetfdArguments: GetfdArguments;
  ClosefdArguments: ClosefdArguments;
  AddfdInfo: AddfdInfo;
  AddFdArguments: AddFdArguments;
  RemoveFdArguments: RemoveFdArguments;
  FdsetFdInfo: FdsetFdInfo;
  FdsetInfo: FdsetInfo;
  BlockdevCompact: BlockdevCompact;
  YankInstanceType: YankInstanceType;
  YankInstanceBlockNode: YankInstanceBlockNode;
  YankInstanceChardev: YankInstanceChardev;
  YankInstance: YankInstance;
  YankArguments: YankArguments;
  CompatGeneration: CompatGeneration;
  BlockStreamFirstNamesArguments: BlockStreamFirstNamesArguments;
  BlockJobSetSpeedFirstNamesArguments: BlockJobSetSpeedFirstNamesArguments;
  BlockJobCancelFirstNamesArguments: BlockJobCancelFirstNamesArguments;
  BlockdevDeviceCacheOptions: BlockdevDeviceCacheOptions;
  BlockdevDeviceOptionsBase: BlockdevDeviceOptionsBase;
  BlockdevDeviceOptions: BlockdevDeviceOptions;
  BlockdevAdd21Arguments: BlockdevAdd21Arguments;
  BlockStream21Arguments: BlockStream21Arguments;
  DriveMirror21Arguments: DriveMirror21Arguments;
  DriveBackup21Arguments: DriveBackup21Arguments;
  BlockResize21Arguments: BlockResize21Arguments;
  ChangeBackingFile21Arguments: ChangeBackingFile21Arguments;
  Transaction21Arguments: Transaction21Arguments;
  BlockPasswd21Arguments: BlockPasswd21Arguments;
}

/** Arguments and answer of each command. */
export interface QapiCommands {
  qmp_capabilities: { arguments: QmpCapabilitiesArguments; returns: Record<string, never> };
  'query-version': { arguments: Record<string, never>; returns: VersionInfo };
  'query-commands': { arguments: Record<string, never>; returns: CommandInfo[] };
  'query-command-line-options': { arguments: QueryCommandLineOptionsArguments; returns: CommandLineOptionInfo[] };
  quit: { arguments: Record<string, never>; returns: Record<string, never> };
  'query-qmp-schema': { arguments: Record<string, never>; returns: SchemaInfo[] };
  'block-stream': { arguments: BlockStreamArguments; returns: Record<string, never> };
  'block-commit': { arguments: BlockCommitArguments; returns: Record<string, never> };
  'blockdev-mirror': { arguments: BlockdevMirror; returns: Record<string, never> };
  'drive-mirror': { arguments: DriveMirror; returns: Record<string, never> };
  'blockdev-backup': { arguments: BlockdevBackup; returns: Record<string, never> };
  'drive-backup': { arguments: DriveBackup; returns: Record<string, never> };
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
  'query-named-block-nodes': { arguments: QueryNamedBlockNodesArguments; returns: BlockDeviceInfo[] };
  'block-dirty-bitmap-add': { arguments: BlockDirtyBitmapAdd; returns: Record<string, never> };
  'block-dirty-bitmap-remove': { arguments: BlockDirtyBitmap; returns: Record<string, never> };
  'block-dirty-bitmap-clear': { arguments: BlockDirtyBitmap; returns: Record<string, never> };
  'block-dirty-bitmap-enable': { arguments: BlockDirtyBitmap; returns: Record<string, never> };
  'block-dirty-bitmap-disable': { arguments: BlockDirtyBitmap; returns: Record<string, never> };
  'block-dirty-bitmap-merge': { arguments: BlockDirtyBitmapMerge; returns: Record<string, never> };
  'x-debug-block-dirty-bitmap-sha256': { arguments: BlockDirtyBitmap; returns: BlockDirtyBitmapSha256 };
  'blockdev-snapshot-sync': { arguments: BlockdevSnapshotSync; returns: Record<string, never> };
  'blockdev-snapshot': { arguments: BlockdevSnapshot; returns: Record<string, never> };
  'blockdev-snapshot-internal-sync': { arguments: BlockdevSnapshotInternal; returns: Record<string, never> };
  'blockdev-snapshot-delete-internal-sync': { arguments: BlockdevSnapshotDeleteInternalSyncArguments; returns: SnapshotInfo };
  'snapshot-save': { arguments: SnapshotSaveArguments; returns: Record<string, never> };
  'snapshot-load': { arguments: SnapshotLoadArguments; returns: Record<string, never> };
  'snapshot-delete': { arguments: SnapshotDeleteArguments; returns: Record<string, never> };
  transaction: { arguments: TransactionArguments; returns: Record<string, never> };
  'blockdev-add': { arguments: BlockdevOptions; returns: Record<string, never> };
  'blockdev-reopen': { arguments: BlockdevReopenArguments; returns: Record<string, never> };
  'blockdev-del': { arguments: BlockdevDelArguments; returns: Record<string, never> };
  block_resize: { arguments: BlockResizeArguments; returns: Record<string, never> };
  'change-backing-file': { arguments: ChangeBackingFileArguments; returns: Record<string, never> };
  'blockdev-create': { arguments: BlockdevCreateArguments; returns: Record<string, never> };
  'x-blockdev-amend': { arguments: XBlockdevAmendArguments; returns: Record<string, never> };
  'x-blockdev-change': { arguments: XBlockdevChangeArguments; returns: Record<string, never> };
  'query-blockstats': { arguments: QueryBlockstatsArguments; returns: BlockStats[] };
  'query-block': { arguments: Record<string, never>; returns: BlockInfo[] };
  block_set_io_throttle: { arguments: BlockIOThrottle; returns: Record<string, never> };
  'block-latency-histogram-set': { arguments: BlockLatencyHistogramSetArguments; returns: Record<string, never> };
  'block-set-write-threshold': { arguments: BlockSetWriteThresholdArguments; returns: Record<string, never> };
  'x-blockdev-set-iothread': { arguments: XBlockdevSetIothreadArguments; returns: Record<string, never> };
  'x-debug-query-block-graph': { arguments: Record<string, never>; returns: XDbgBlockGraph };
  'query-status': { arguments: Record<string, never>; returns: StatusInfo };
  'query-name': { arguments: Record<string, never>; returns: NameInfo };
  stop: { arguments: Record<string, never>; returns: Record<string, never> };
  cont: { arguments: Record<string, never>; returns: Record<string, never> };
  'nbd-server-start': { arguments: NbdServerStartArguments; returns: Record<string, never> };
  'nbd-server-add': { arguments: NbdServerAddOptions; returns: Record<string, never> };
  'nbd-server-remove': { arguments: NbdServerRemoveArguments; returns: Record<string, never> };
  'nbd-server-stop': { arguments: Record<string, never>; returns: Record<string, never> };
  'block-export-add': { arguments: BlockExportOptions; returns: Record<string, never> };
  'block-export-del': { arguments: BlockExportDelArguments; returns: Record<string, never> };
  'query-block-exports': { arguments: Record<string, never>; returns: BlockExportInfo[] };
  'object-add': { arguments: ObjectOptions; returns: Record<string, never> };
  'object-del': { arguments: ObjectDelArguments; returns: Record<string, never> };
  'qom-list': { arguments: QomListArguments; returns: ObjectPropertyInfo[] };
  'qom-get': { arguments: QomGetArguments; returns: unknown };
  'qom-set': { arguments: QomSetArguments; returns: Record<string, never> };
  'qom-list-types': { arguments: QomListTypesArguments; returns: ObjectTypeInfo[] };
  'qom-list-properties': { arguments: QomListPropertiesArguments; returns: ObjectPropertyInfo[] };
  'query-iothreads': { arguments: Record<string, never>; returns: IOThreadInfo[] };
  'query-chardev': { arguments: Record<string, never>; returns: ChardevInfo[] };
  'query-chardev-backends': { arguments: Record<string, never>; returns: ChardevBackendInfo[] };
  'ringbuf-write': { arguments: RingbufWriteArguments; returns: Record<string, never> };
  'ringbuf-read': { arguments: RingbufReadArguments; returns: string };
  'chardev-add': { arguments: ChardevAddArguments; returns: ChardevReturn };
  'chardev-change': { arguments: ChardevChangeArguments; returns: ChardevReturn };
  'chardev-remove': { arguments: ChardevRemoveArguments; returns: Record<string, never> };
  'chardev-send-break': { arguments: ChardevSendBreakArguments; returns: Record<string, never> };
  getfd: { arguments: GetfdArguments; returns: Record<string, never> };
  closefd: { arguments: ClosefdArguments; returns: Record<string, never> };
  'add-fd': { arguments: AddFdArguments; returns: AddfdInfo };
  'remove-fd': { arguments: RemoveFdArguments; returns: Record<string, never> };
  'query-fdsets': { arguments: Record<string, never>; returns: FdsetInfo[] };
  'blockdev-compact': { arguments: BlockdevCompact; returns: Record<string, never> };
  yank: { arguments: YankArguments; returns: Record<string, never> };
  'query-yank': { arguments: Record<string, never>; returns: YankInstance[] };
  block_stream: { arguments: BlockStreamFirstNamesArguments; returns: Record<string, never> };
  block_job_set_speed: { arguments: BlockJobSetSpeedFirstNamesArguments; returns: Record<string, never> };
  block_job_cancel: { arguments: BlockJobCancelFirstNamesArguments; returns: Record<string, never> };
  block_passwd: { arguments: BlockPasswd21Arguments; returns: Record<string, never> };
}

/** The same of older forms of commands: each is called by the name of its command. */
export interface QapiForms {
  'blockdev-add-2-1': { arguments: BlockdevAdd21Arguments; returns: Record<string, never> };
  'block-stream-2-1': { arguments: BlockStream21Arguments; returns: Record<string, never> };
  'drive-mirror-2-1': { arguments: DriveMirror21Arguments; returns: Record<string, never> };
  'drive-backup-2-1': { arguments: DriveBackup21Arguments; returns: Record<string, never> };
  'block-resize-2-1': { arguments: BlockResize21Arguments; returns: Record<string, never> };
  'blockdev-snapshot-sync-2-1': { arguments: BlockdevSnapshotSync; returns: Record<string, never> };
  'change-backing-file-2-1': { arguments: ChangeBackingFile21Arguments; returns: Record<string, never> };
  'transaction-2-1': { arguments: Transaction21Arguments; returns: Record<string, never> };
}

/** Data of each event. */
export interface QapiEvents {
  JOB_STATUS_CHANGE: JobStatusChangeEvent;
  BLOCK_JOB_COMPLETED: BlockJobCompletedEvent;
  BLOCK_JOB_CANCELLED: BlockJobCancelledEvent;
  BLOCK_JOB_ERROR: BlockJobErrorEvent;
  BLOCK_JOB_READY: BlockJobReadyEvent;
  BLOCK_JOB_PENDING: BlockJobPendingEvent;
  QUORUM_FAILURE: QuorumFailureEvent;
  QUORUM_REPORT_BAD: QuorumReportBadEvent;
  BLOCK_IO_ERROR: BlockIoErrorEvent;
  BLOCK_IMAGE_CORRUPTED: BlockImageCorruptedEvent;
  BLOCK_WRITE_THRESHOLD: BlockWriteThresholdEvent;
  STOP: Record<string, never>;
  RESUME: Record<string, never>;
  BLOCK_EXPORT_DELETED: BlockExportDeletedEvent;
}
