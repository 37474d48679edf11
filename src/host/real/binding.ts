// The interface of the addon (native/addon.cc), and loading it: from the package's own folder, wherever this module was loaded from (src/ through tsx, dist/,
// or the bundled command line).
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { BlockError } from '../../util/errors.js';
import type { TableCode } from '../host.js';

/** Functions of one engine. Addresses are numbers: the address of a slab, plus an offset. */
export interface NativeEngine {
  /** Takes the requests in the slots order[0, count), and returns how many completions are in the table already. */
  submit(count: number): number;
  /** Maps `bytes` (whole pages), or null where the system has no memory. */
  createSlab(bytes: number): ArrayBuffer | null;
  releaseSlab(address: number): boolean;
  /** Returns whole pages of a slab to the system; the slab stays mapped. */
  vacateSlab(address: number, bytes: number): boolean;
  /** Takes over a descriptor that no request has opened: the request `close` closes it, or the end of the engine. */
  adoptFile(fd: number): void;
  /** For tests: see `Faults`. */
  setFaults(maxBytes: number, interrupts: number, again: number, delayMs: number, ringFull: number, held: number): void;
  close(closed: () => void): void;
  /** `rows`: 64 bytes a socket; `onEvent`: see `SocketEvent`. Once, before the other calls about sockets. */
  openSockets(rows: ArrayBuffer, onEvent: (id: number, event: number, value: number) => void): void;
  /** Takes over `fd` as socket `id`. 0, or -errno: then `fd` is closed. */
  socketAttach(id: number, fd: number, kind: number): number;
  /** Returns the descriptor, or -errno. */
  socketDetach(id: number): number;
  /** Watches for received bytes (for a listener: for connections). */
  socketArm(id: number): void;
  /**
   * Takes hold of bytes of a file that are in the page cache, at most 1 MiB of whole pages, to be a piece of socket `id`, whose address is the result (below
   * 4096: the number of a pipe); or -errno.
   */
  socketHold(id: number, fd: number, offset: number, length: number): number;
  /** What was taken hold of will be no piece. */
  socketDrop(pipe: number): void;
  /** Sends `count` pieces, pairs of doubles (address, length) at `table`; true where everything was sent. */
  socketFlush(id: number, table: number, count: number): boolean;
  /** Takes descriptors that the other side passes. */
  socketTakeDescriptors(id: number): void;
  /** Sends the queued pieces, ends our side of the stream, and drops received bytes until the other side ends the stream. */
  socketFinish(id: number): void;
  socketClose(id: number): void;
  /** `rows`: 64 bytes a channel; `onEvent`: so many requests lie in the window, 0: the file is mounted no longer, or -errno. Once, before the other calls about FUSE. */
  openFuseChannels(rows: ArrayBuffer, onEvent: (id: number, count: number) => void): void;
  /** Takes over `fd` as channel `id`. 0, or -errno: then `fd` is closed. */
  fuseAttach(id: number, fd: number): number;
  /** Reads requests into the window of its row. */
  fuseArm(id: number): void;
  /** Sends `count` answers, pairs of doubles (address, length) at `table`. 0, or the first -errno. */
  fuseReply(id: number, table: number, count: number): number;
  fuseClose(id: number): void;
}

export interface Native {
  /** The engine, or -errno where io_uring was asked for and is not available. */
  createEngine(
    descriptors: ArrayBuffer,
    order: ArrayBuffer,
    completions: ArrayBuffer,
    slots: number,
    ring: boolean,
    onBatch: (count: number) => void,
    inlineReadBytes: number,
    waits: boolean,
    guests: ArrayBuffer,
    opens: boolean,
  ): NativeEngine | number;
  addressOf(slab: ArrayBuffer): number;
  isZero(data: Uint8Array): boolean;
  /** Number of granules, -1 where `map` is too short. */
  zeroMap(data: Uint8Array, granule: number, map: Uint8Array): number;
  firstDifference(a: Uint8Array, b: Uint8Array): number;
  /** All return -3 for arguments that lead out of an array. */
  readonly tables: TableCode;
  /** kind: 0 none, 1 shared, 2 exclusive. 0 or -errno. */
  lock(fd: number, kind: number, start: number, length: number): number;
  /** 1 conflict, 0 none, or -errno. */
  lockConflicts(fd: number, kind: number, start: number, length: number): number;
  /**
   * Another descriptor of the same open file, or -errno. `findings`: alignment of memory and of offsets, type of the file (see `kindOfType`), the flags
   * that it was opened with.
   */
  duplicateFile(fd: number, findings: Uint32Array): number;
  /** flock of the whole file, exclusive, without waiting. 0 or -errno. */
  fileLock(fd: number): number;
  /** Compresses synchronously, on this thread. The length in bytes, 0 where the output does not fit, or -errno. `codec`: see `CODECS`. */
  compressNow(codec: number, level: number, input: Uint8Array, output: Uint8Array): number;
  /** Decompresses synchronously, on this thread. 0 where `output` was filled, or -errno. */
  decompressNow(codec: number, input: Uint8Array, output: Uint8Array): number;
  /**
   * Takes a copy of the keys. A number above 0, or -errno. `mode`, `vectors`: see `NativeCiphers`; `path`: one of `cipherPaths`, the last of them where it is left
   * out.
   */
  openCipher(mode: number, vectors: number, key: Uint8Array, vectorKey: Uint8Array, path?: string): number;
  closeCipher(number: number): void;
  /** Encrypts (1) or decrypts (0) whole sectors synchronously, on this thread. 0, or -errno. */
  cipherNow(number: number, encrypts: number, sector: number, input: Uint8Array, output: Uint8Array): number;
  /** Fills `key` synchronously, on this thread. Nanoseconds of the processor, or -errno. */
  deriveNow(hash: number, password: Uint8Array, salt: Uint8Array, iterations: number, key: Uint8Array): number;
  /** 1: whole pages are kept out of swap and core dumps. 0: they are zeroed, and not kept any more. */
  keepPrivate(pages: Uint8Array, keep: number): void;
  /** Node has OpenSSL. */
  readonly hasCiphers: boolean;
  /** The code for XTS that this processor can run, the best one last: `openssl`, `openssl-avx2`, `aes-ni`, `vaes` (native/cipher.h). */
  readonly cipherPaths: readonly string[];
  /** See `HostFile.avoidCopies` and `setExtentSize`. 0, or -errno. */
  setNoCow(fd: number): number;
  setExtentSize(fd: number, bytes: number): number;
  /** Moves the offset of the open file by `bytes`. The new offset, or -errno. */
  moveOffset(fd: number, bytes: number): number;
  /** Bytes, or -errno. */
  fileSize(fd: number): number;
  /** Bytes of a block device's logical sector, 1 of a file, or -errno. */
  sectorBytes(fd: number): number;
  /** End of the run at `offset` * 2, + 1 where it is data, or -errno. */
  seek(fd: number, offset: number): number;
  /** A descriptor, or -errno. A `name` is the bytes of a path, or of a name in the abstract name space. */
  bindUnix(name: Uint8Array, abstract: boolean): number;
  /** `fd`, or -errno: then `fd` is closed. */
  listenOn(fd: number, backlog: number): number;
  connectUnix(name: Uint8Array, abstract: boolean): number;
  /** `host` is a numeric address. A descriptor, or -errno; a socket that is not connected yet becomes writable when it is. */
  listenInet(host: string, port: number, onlyVersion6: boolean, backlog: number): number;
  connectInet(host: string, port: number): number;
  /** The port of a TCP service, by its name; -1 where there is none. */
  servicePort(name: string): number;
  /** A pseudo terminal: this side, the other side and its path; or -errno. */
  openTerminal(): [fd: number, other: number, path: string] | number;
  /** 1: the socket listens; 0: it is connected; or -errno. */
  adoptSocket(fd: number): number;
  /** `192.0.2.1:80`, `[::1]:80`, or nothing. */
  nameOfSocket(fd: number, peer: boolean): string;
  keepAlive(fd: number): number;
  closeSocket(fd: number): number;
  /** A descriptor of /dev/fuse, or -errno. */
  openFuse(): number;
  /** mount(2), on a worker. 0 or -errno. */
  mountFuse(source: string, path: Uint8Array, type: string, options: string): Promise<number>;
  /** umount2(2), on a worker: it may wait for answers of this very process. 0 or -errno. */
  unmountFuse(path: Uint8Array, detach: boolean): Promise<number>;
  /** Both ends of a pair of UNIX sockets, or -errno. */
  socketPair(): [number, number] | number;
  /** The descriptor that lies ready in a UNIX socket, or -errno. */
  receiveDescriptor(socket: number): number;
  /** Ends the process at once. */
  leave(code: number): never;
  /** Slabs of this process that are mapped now. */
  mappedSlabs(): number;
  /** See `INTERFACE_VERSION`. */
  readonly interfaceVersion: number;
  readonly codecs: string;
  /** Which code the zero test uses: `avx2`, `sse2`, `portable`. */
  readonly zeroTest: string;
}

/** Raised with each change of what JavaScript and the addon share; native/addon.cc has the same number. */
export const INTERFACE_VERSION = 16;

/** In the bundled command line: the addon, where the launcher has loaded it. */
declare const DISKWRIGHT_ADDON: Native | undefined;

let loaded: Native | undefined = typeof DISKWRIGHT_ADDON === 'undefined' ? undefined : DISKWRIGHT_ADDON;

/** A `require`, for addons and for modules that are loaded late. The bundled command line has one; loading `node:module` would take 3 ms. */
export const load: NodeJS.Require =
  typeof require === 'function' ? require : process.getBuiltinModule('node:module').createRequire(import.meta.filename);

/** The optional package `name`, or null where it is not installed, or was built for another version of node. */
export function loadOptional<Module>(name: string): Module | null {
  try {
    return load(name) as Module;
  } catch {
    return null;
  }
}

/**
 * Loads the addon, once: the one that was built in this package, otherwise the prebuilt one for this system. Throws `unsupported` where there is none, or
 * it cannot be loaded; the message says what to do about it.
 */
export function loadNative(): Native {
  if (loaded !== undefined) return loaded;
  const root = packageRoot(import.meta.dirname);
  try {
    // If it was built here, node-gyp-build is not needed, whose loading takes milliseconds at start-up.
    const built = join(root, BUILT);
    if (existsSync(built)) {
      // Not `require`, which looks for much else first.
      const addon = { exports: {} };
      process.dlopen(addon, built);
      loaded = addon.exports as Native;
    } else {
      const find = load('node-gyp-build') as (folder: string) => Native;
      loaded = find(root);
    }
  } catch (cause) {
    throw new BlockError('unsupported', `the native addon cannot be loaded: ${reasonOf(cause)}; ${remedyFor(root)}`, {
      operation: 'load',
      path: root,
      cause,
    });
  }
  refuseOther(loaded, root);
  return loaded;
}

/** Throws `unsupported` for an addon that was built from other sources than the program: of an older clone, for example. */
export function refuseOther({ interfaceVersion }: Pick<Native, 'interfaceVersion'>, root: string): void {
  if (interfaceVersion === INTERFACE_VERSION) return;
  const text = `the native addon was built for another version of Diskwright; ${remedyFor(root)}`;
  throw new BlockError('unsupported', text, { operation: 'load', path: root });
}

function reasonOf(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  const system = `${process.platform}-${process.arch}`;
  return text.startsWith('No native build was found') ? `there is none for ${system}` : text.split('\n')[0];
}

/** What to do where the addon cannot be loaded: an installed package is rebuilt by the package manager, a clone from its sources. */
function remedyFor(root: string): string {
  if (root.split(sep).includes('node_modules')) {
    return (
      'build it with "npm rebuild diskwright", or let pnpm do so with "pnpm approve-builds" ' +
      '(a C++ compiler, make and python3 are needed)'
    );
  }
  return `build it with "npm run --prefix ${root} build:native" (a C++ compiler, make and python3 are needed)`;
}

/** Where node-gyp leaves the addon, in the package's folder. */
const BUILT = 'build/Release/diskwright.node';

function packageRoot(start: string): string {
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, BUILT))) return folder;
    const file = join(folder, 'package.json');
    if (existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { name?: string }).name === 'diskwright') {
      return folder;
    }
    if (folder === dirname(folder)) {
      throw new BlockError('unsupported', `no package.json of diskwright above ${start}`, {
        operation: 'load',
        path: start,
      });
    }
  }
}
