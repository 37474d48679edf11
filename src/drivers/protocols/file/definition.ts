// How an image is opened by the drivers `file` and `host_device`: names, options, and what a path must lead to. The node is in driver.ts.

import { checkOpened } from '../../../block/foreign-name.js';
import type { Graph } from '../../../block/graph.js';
import { refuseReserved } from '../../../block/identity.js';
import { checkImageSize } from '../../../block/image-size.js';
import type { DriverDefinition, OpenRequest } from '../../../block/registry.js';
import type { HostFile } from '../../../host/host.js';
import type { BlockdevOptions } from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { wordsOfErrno } from '../../../util/system-words.js';
import { createFile, FILE_CREATE_OPTIONS } from './create.js';
import { type FileDriver, FileNode } from './driver.js';
import { openOrReadOnly } from './host-file.js';

type FileOpenRequest = OpenRequest<'file'> | OpenRequest<'host_device'>;

async function openFile(driver: FileDriver, request: FileOpenRequest): Promise<FileNode> {
  const { graph, options, node } = request;
  if (options.filename === '') {
    throw new BlockError('invalid-argument', `The '${driver}' block driver requires a file name`);
  }
  checkEngine(graph, request);
  const { cache = { direct: false } } = node;
  const open = (writable: boolean): Promise<HostFile> =>
    graph.host.open(options.filename, { writable, direct: cache.direct, descriptor: request.descriptor });
  let opened: { file: HostFile; readOnly: boolean };
  try {
    opened = await openOrReadOnly(open, node.readOnly, request.autoReadOnly);
  } catch (error) {
    const kind = isUnusableKind(error, node.readOnly);
    throw kind ? wrongKind(driver, options.filename, error) : cannotOpen(options.filename, error);
  }
  const { file, readOnly } = opened;
  try {
    checkKind(driver, file);
    if (request.referrer !== null) await checkOpened(file, request.referrer);
    if (graph.reserved.size > 0) refuseReserved(graph, { ...(await file.info()), path: file.path });
    const size = await sizeOf(file);
    checkImageSize(roundUp(size, SECTOR_BYTES), file.path, 'open');
    const locking = options.locking ?? 'auto';
    return new FileNode(graph, { ...node, readOnly }, driver, file, size, {
      locking: locking !== 'off',
      lockingOptional: locking === 'auto',
      forceShare: request.use.forceShare,
    });
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Checks the option `aio`: the whole host has one engine, so any other one is an error. Throws `invalid-argument`, `unsupported`. */
function checkEngine(graph: Graph, { options, node }: FileOpenRequest): void {
  const { engine } = graph.host;
  if (options.aio === 'native' && node.cache?.direct !== true) {
    throw new BlockError(
      'invalid-argument',
      'aio=native was specified, but it requires cache.direct=on, which was not specified.',
      {
        path: options.filename,
      },
    );
  }
  const wanted = options.aio === 'native' ? 'io_uring' : options.aio;
  if (wanted === undefined || engine === 'simulated' || wanted === engine) return;
  throw new BlockError('unsupported', `aio=${options.aio} was specified, but this host runs on ${engine}`, {
    path: options.filename,
  });
}

/** Rejects with `io` where the system cannot say where the file ends. */
async function sizeOf(file: HostFile): Promise<number> {
  try {
    return await file.size();
  } catch (error) {
    if (!(error instanceof BlockError) || error.errno === undefined) throw error;
    const { code, errno } = error;
    const message = `Could not refresh total sector count: ${wordsOfErrno(errno)}`;
    throw new BlockError(code, message, { path: file.path, operation: 'open', errno, cause: error });
  }
}

function checkKind(driver: FileDriver, { kind, path }: HostFile): void {
  if (driver === 'file' ? kind !== 'file' : kind !== 'block' && kind !== 'character') throw wrongKind(driver, path);
}

function wrongKind(driver: FileDriver, path: string, cause?: unknown): BlockError {
  const wanted = driver === 'file' ? 'a regular file' : 'either a character or block device';
  return new BlockError('invalid-argument', `'${driver}' driver requires '${path}' to be ${wanted}`, {
    path,
    operation: 'open',
    cause,
  });
}

/** True for the error of opening a folder, a pipe or a socket. */
function isUnusableKind(error: unknown, readOnly: boolean): boolean {
  if (!(error instanceof BlockError)) return false;
  return error.errno === 'ESPIPE' || error.errno === 'ENXIO' || (readOnly && error.errno === 'EISDIR');
}

function cannotOpen(path: string, error: unknown): unknown {
  // What is wrong with a set of descriptors names the set.
  if (!(error instanceof BlockError) || error.operation === 'dup') return error;
  const { code, errno, message } = error;
  const reason = (errno !== undefined && wordsOfErrno(errno)) || message;
  return new BlockError(code, `Could not open '${path}': ${reason}`, { path, operation: 'open', errno, cause: error });
}

/** Parses a plain path, or one after `file:`. Throws `invalid-argument`. */
function parsePath(filename: string): BlockdevOptions & { driver: 'file' } {
  const path = filename.startsWith('file:') ? filename.slice('file:'.length) : filename;
  if (path === '') throw new BlockError('invalid-argument', "The 'file' block driver requires a file name");
  if (path.includes('\0')) throw new BlockError('invalid-argument', 'A file name cannot contain a zero byte');
  return { driver: 'file', filename: path };
}

const FOREIGN_OPTIONS = {
  place: ['filename'],
  use: ['locking', 'aio', 'aio-max-batch', 'drop-cache', 'x-check-cache-dropped'],
};

export const fileDriver: DriverDefinition<'file'> = {
  name: 'file',
  kind: 'protocol',
  defaultFor: 'path',
  followed: true,
  foreignOptions: FOREIGN_OPTIONS,
  takesDescriptors: true,
  names: { prefixes: ['file'], parse: parsePath, format: ({ filename }) => filename },
  open: (request) => openFile('file', request),
  create: (request) => createFile(request),
  get storageOptions() {
    return FILE_CREATE_OPTIONS;
  },
};

export const hostDeviceDriver: DriverDefinition<'host_device'> = {
  name: 'host_device',
  kind: 'protocol',
  defaultFor: 'device',
  followed: true,
  foreignOptions: FOREIGN_OPTIONS,
  takesDescriptors: true,
  names: {
    prefixes: [],
    parse: (filename) => ({ ...parsePath(filename), driver: 'host_device' }),
    format: ({ filename }) => filename,
  },
  open: (request) => openFile('host_device', request),
};
