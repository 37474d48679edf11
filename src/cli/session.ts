// What a command works with: host, graph and the images that were named; and how it ends, also when it is interrupted.

import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node.js';
import type { OpenOptions } from '../block/open.js';
import type { Host } from '../host/host.js';
import type { RealHostOptions } from '../host/real/index.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError, toBlockError } from '../util/errors.js';
import type { CacheMode } from './arguments.js';
import type { ParsedOptions } from './getopt.js';
import { UsageError } from './getopt.js';
import { complain } from './output.js';

/**
 * A command has nothing else to do on its thread than to move data: page-cache hits of the copy engine's size are read on it. A server sends
 * them from the CPU's cache then (1 MiB reads at depth 8: 4,200 to 4,800/s in place of 2,600 to 3,500).
 */
const INLINE_READ_BYTES = 1 << 20;

/** What a command that Ctrl-C ended exits with, as shells have it for SIGINT. */
export const EXIT_INTERRUPTED = 130;

export interface Session {
  readonly host: Host;
  readonly graph: Graph;
}

/**
 * Runs `action` with a host and a graph that has nothing but `objects` (each as `--object` has it), then closes everything. An error at
 * closing (a flush that failed) is an error of the whole.
 */
export async function withSession<T>(
  objects: readonly string[],
  action: (session: Session) => Promise<T>,
  options: RealHostOptions = {},
): Promise<T> {
  const [{ openRealHost }, { Graph }, { registerDrivers }] = await Promise.all([
    import('../host/real/index.js'),
    import('../block/graph.js'),
    import('../drivers/index.js'),
  ]);
  registerDrivers();
  const host = openRealHost({ inlineReadBytes: INLINE_READ_BYTES, ...options });
  try {
    const graph = new Graph(host, { warn: complain });
    let result: T;
    try {
      for (const object of objects) await graph.objects.add(object);
      result = await action({ host, graph });
    } catch (error) {
      // The first error says what is wrong; one at closing could only follow from it.
      await graph.closeAll().catch(bestEffort('closing after a failure'));
      throw error;
    }
    await graph.closeAll();
    return result;
  } finally {
    await host.close();
  }
}

export interface ImageArguments {
  format?: string;
  /** The name is an option string. */
  imageOpts?: boolean;
  forceShare?: boolean;
  writable?: boolean;
  cache?: CacheMode;
  discard?: 'ignore' | 'unmap';
  /** Also open the backing chain (default). */
  backing?: boolean;
}

/** What `-f`, `--image-opts` and `-U` say. Throws `UsageError` where they exclude each other. */
export function imageArguments(options: ParsedOptions): ImageArguments {
  const imageOpts = options.has('image-opts');
  if (imageOpts && options.has('format')) {
    throw new UsageError('--image-opts and --format are mutually exclusive');
  }
  return { format: options.get('format'), imageOpts, forceShare: options.has('force-share') };
}

/** Opens an image that was named on the command line; `named` is how its failure names it. */
export async function openImage(session: Session, name: string, how: ImageArguments): Promise<BlockNode> {
  const [{ openNode }, { parseImageOptions }] = await Promise.all([
    import('../block/open.js'),
    import('../schema/options.js'),
  ]);
  const writable = how.writable ?? false;
  const open: OpenOptions = {
    format: how.imageOpts ? undefined : how.format,
    readOnly: !writable,
    forceShare: how.forceShare && !writable,
    cache: how.cache,
    discard: how.discard,
    backing: how.backing,
  };
  try {
    return await openNode(session.graph, how.imageOpts ? parseImageOptions(name) : name, open);
  } catch (error) {
    throw couldNotOpen(name, error);
  }
}

/** `Could not open 'name': why`, as qemu-img says it. */
export function couldNotOpen(name: string, cause: unknown): BlockError {
  const error = toBlockError(cause);
  return new BlockError(error.code, `Could not open '${name}': ${reasonOf(error)}`, {
    path: error.path ?? name,
    offset: error.offset,
    errno: error.errno,
    operation: 'open',
    cause,
  });
}

/** The message without the file's name in front: the caller names it. */
export function reasonOf(error: BlockError): string {
  const prefix = `${error.path}: `;
  return error.path !== undefined && error.message.startsWith(prefix)
    ? error.message.slice(prefix.length)
    : error.message;
}

/** Watches for Ctrl-C (and a polite kill) while a command runs: then a server that is silent is not waited for any longer. */
export class Interrupt {
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  readonly #listener = (): void => {
    // Whoever presses it twice does not want to wait.
    if (this.#controller.signal.aborted) process.exit(EXIT_INTERRUPTED);
    this.#graph.hurry();
    this.#controller.abort();
  };
  readonly #graph: Graph;

  /** `graph` is what the command works on. */
  constructor({ graph }: Session) {
    this.#graph = graph;
    this.signal = this.#controller.signal;
    process.on('SIGINT', this.#listener);
    process.on('SIGTERM', this.#listener);
  }

  stop(): void {
    process.off('SIGINT', this.#listener);
    process.off('SIGTERM', this.#listener);
  }
}
