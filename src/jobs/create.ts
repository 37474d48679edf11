// The job of `blockdev-create`: it makes an image, and stays listed until it is dismissed, so that nobody misses how it ended. It works on no
// device: `query-jobs` alone lists it.

import { checkReplaceable, createNode } from '../block/create.js';
import type { Graph } from '../block/graph.js';
import { findDriver } from '../block/registry.js';
import type { BlockdevCreateOptions } from '../schema/generated/types.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { SECTOR_BYTES } from '../util/numbers.js';
import { wordsOfErrno } from '../util/system-words.js';
import type { JobContext, JobDriver } from './driver.js';
import type { Job } from './job.js';
import type { JobEnvironment } from './job-type.js';

/** Of a protocol. */
type StorageOptions = Extract<BlockdevCreateOptions, { filename: string }>;

class CreateDriver implements JobDriver {
  readonly type = 'create';
  readonly isBlockJob = false;
  readonly #graph: Graph;
  readonly #options: BlockdevCreateOptions;

  constructor(graph: Graph, options: BlockdevCreateOptions) {
    this.#graph = graph;
    this.#options = options;
  }

  async run({ progress }: JobContext): Promise<void> {
    progress.setTotal(1);
    try {
      await createUnused(this.#graph, this.#options);
    } finally {
      progress.advance(1);
    }
  }
}

async function createUnused(graph: Graph, options: BlockdevCreateOptions): Promise<void> {
  if (isStorage(options)) {
    try {
      // Nobody uses what has no name: that it cannot be made is said by the host.
      if (options.filename !== '') await checkReplaceable(graph, options.filename);
      // It stands for what is larger, and for negative ones.
      if (options.size === Number.MAX_SAFE_INTEGER) throw cannotResize('EFBIG');
      await createNode(graph, options);
    } catch (error) {
      const reason = toBlockError(error);
      if (reason.errno !== undefined && reason.operation === 'truncate') throw cannotResize(reason.errno, reason);
      throw reason.as(reason.code, { operation: 'create' });
    }
    return;
  }
  const { file, size } = options as { file?: unknown; size: number };
  if (typeof file === 'string' && !graph.nodes.has(file)) {
    throw new BlockError('not-found', `Cannot find device='${file}' nor node-name='${file}'`);
  }
  if (size % SECTOR_BYTES !== 0) {
    throw new BlockError('invalid-argument', `Image size must be a multiple of ${SECTOR_BYTES} bytes`);
  }
  await createNode(graph, options);
}

/** It is made by its name, and with no node below it. */
function isStorage(options: BlockdevCreateOptions): options is StorageOptions {
  return findDriver(options.driver).kind === 'protocol';
}

function cannotResize(errno: string, cause?: BlockError): BlockError {
  return new BlockError(cause?.code ?? 'limit', `Could not resize file: ${wordsOfErrno(errno)}`, {
    operation: 'create',
    cause,
  });
}

/**
 * Starts to create an image as `createNode` does; a file that a node or another process uses is left as it is. Throws `unsupported` for a driver
 * that makes none (a bare one, too: its image is its file), `invalid-argument` for a bad id, `exists`.
 */
export function startCreate({ graph, manager }: JobEnvironment, id: string, options: BlockdevCreateOptions): Job {
  const { bare, create } = findDriver(options.driver);
  if (create === undefined || bare) {
    throw new BlockError('unsupported', 'Driver does not support blockdev-create');
  }
  const job = manager.create({ driver: new CreateDriver(graph, options), id, autoDismiss: false });
  job.start();
  return job;
}
