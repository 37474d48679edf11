// What a command works with: host, graph and the images that were named; and how it ends, also when it is interrupted.

import { fstatSync } from 'node:fs';
import type { Graph, ReservedFile } from '../block/graph.js';
import type { HoldKind } from '../block/hold.js';
import type { BlockNode } from '../block/node/node.js';
import type { InnerOpenOptions, OpenOptions } from '../block/open.js';
import type { Host } from '../host/host.js';
import type { RealHostOptions } from '../host/real/index.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError, toBlockError } from '../util/errors.js';
import type { ImageOpener } from '../workspace/open.js';
import type { ParsedOptions } from './getopt.js';
import { UsageError } from './getopt.js';
import {
  complain,
  messageOf,
  reportError,
  reportFailure,
  silence,
  systemWordsOf,
  withPrintableNames,
} from './output.js';

/**
 * A command has nothing else to do on its thread than to move data: page-cache hits of the copy engine's size are read on it. A server sends
 * them from the CPU's cache then (1 MiB reads at depth 8: 4,200 to 4,800/s in place of 2,600 to 3,500).
 */
const INLINE_READ_BYTES = 1 << 20;

/** Ctrl-C, a polite kill, and a terminal that is gone. */
const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What a command that Ctrl-C ended exits with, as shells have it for SIGINT. */
export const EXIT_INTERRUPTED = 130;

export interface Session {
  readonly host: Host;
  readonly graph: Graph;
  /** Runs once everything was closed without an error: success is reported then, not before. */
  readonly afterClose: (() => void)[];
}

let untrusted = false;

/** From here on images refer to plain files in their own folder, or to nothing (`--untrusted`). */
export function trustNoImage(): void {
  untrusted = true;
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
    const gate = untrusted ? (await import('../block/gate.js')).sameFolderGate : undefined;
    const graph = new Graph(host, { warn: complain, reserved: outputFiles(), gate });
    const afterClose: (() => void)[] = [];
    let result: T;
    try {
      for (const object of objects) await graph.objects.add(object);
      result = await action({ host, graph, afterClose });
    } catch (error) {
      // The first error says what is wrong; one at closing could only follow from it, but what is lost by it has to be said.
      await graph.closeAll().catch((late: unknown) => {
        if (late instanceof BlockError && late.operation === 'close') reportError(messageOf(late));
        else bestEffort('closing after a failure')(late);
      });
      throw error;
    }
    await graph.closeAll();
    for (const step of afterClose) step();
    return result;
  } finally {
    await host.close();
  }
}

/** Files that standard output and standard error go to: `diskwright map disk > disk` must not read or write its own words. */
function outputFiles(): ReadonlyMap<string, ReservedFile> {
  const files = new Map<string, ReservedFile>();
  for (const [fd, what] of [
    [1, 'standard output'],
    [2, 'standard error'],
  ] as const) {
    try {
      const found = fstatSync(fd, { bigint: true });
      if (found.isFile()) files.set(`${found.dev}:${found.ino}`, { what, refused: () => silence(fd) });
    } catch (error) {
      // It was closed by whoever started the command: then it goes nowhere.
      if ((error as NodeJS.ErrnoException).code !== 'EBADF') throw error;
    }
  }
  return files;
}

export interface ImageArguments extends OpenOptions, InnerOpenOptions {
  /** The name is an option string. */
  imageOpts?: boolean;
  writable?: boolean;
  /** What an image that is only read is for: `copy` keeps others from writing to it. Default: `look`. */
  purpose?: HoldKind;
}

/** Closes an image that `openImage` opened, before the command ends. */
export async function releaseImage(session: Session, node: BlockNode): Promise<void> {
  const workspace = await import('../workspace/open.js');
  await workspace.releaseImage(session.graph, node);
}

/** What `-f`, `--image-opts` and `-U` say. Throws `UsageError` where they exclude each other. */
export function imageArguments(options: ParsedOptions): ImageArguments {
  const imageOpts = options.has('image-opts');
  if (imageOpts && options.has('format')) {
    throw new UsageError('--image-opts and --format are mutually exclusive');
  }
  return { format: options.get('format'), imageOpts, forceShare: options.has('force-share') };
}

/** Opens an image that was named on the command line; its failure names it so. */
export async function openImage(session: Session, name: string, how: ImageArguments): Promise<BlockNode> {
  const [{ openNode }, { openToRead }, { parseImageOptions }] = await Promise.all([
    import('../block/open.js'),
    import('../workspace/open.js'),
    import('../schema/options.js'),
  ]);
  const { imageOpts, writable = false, purpose = 'look', format, forceShare, ...open } = how;
  try {
    const image = imageOpts ? parseImageOptions(name) : name;
    const options = { ...open, format: imageOpts ? undefined : format };
    if (writable) return await openNode(session.graph, image, { ...options, readOnly: false });
    return await openToRead(session.graph, image, { ...options, forceShare }, purpose);
  } catch (error) {
    throw couldNotOpen(name, error);
  }
}

/** `openImage` for what workspace/ opens by itself. The name that was typed may be a string of options; those that images name never are. */
export function opener(session: Session, { imageOpts }: ImageArguments): ImageOpener {
  return (name, how) =>
    openImage(session, String(name), { ...how, imageOpts: imageOpts && how.referrer === undefined });
}

/**
 * Runs `action` for every image, and resolves with what it gave for each: an exit code. Of several images one that fails is reported, has the code 1
 * and keeps none of the others.
 */
export async function forEachImage(
  images: readonly string[],
  action: (image: string, index: number) => Promise<number>,
): Promise<number[]> {
  const codes: number[] = [];
  for (const [index, image] of images.entries()) {
    try {
      codes.push(await action(image, index));
    } catch (error) {
      if (images.length === 1 || error instanceof UsageError) throw error;
      reportFailure(error);
      codes.push(1);
    }
  }
  return codes;
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

/** Why it failed, without the file's name in front: the caller names it. */
export function reasonOf(error: BlockError): string {
  return withPrintableNames(systemWordsOf(error) ?? error.reason, error);
}

/** Watches for Ctrl-C (and a polite kill) while a command runs: then a server that is silent is not waited for any longer. */
export class Interrupt {
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  readonly #listener = (): void => {
    // Whoever presses it twice does not want to wait.
    if (this.#controller.signal.aborted) process.exit(EXIT_INTERRUPTED);
    this.#graph.abortStalled();
    this.#controller.abort();
  };
  readonly #graph: Graph;

  /** `graph` is what the command works on. */
  constructor({ graph }: Session) {
    this.#graph = graph;
    this.signal = this.#controller.signal;
    for (const signal of ENDING_SIGNALS) process.on(signal, this.#listener);
  }

  stop(): void {
    for (const signal of ENDING_SIGNALS) process.off(signal, this.#listener);
  }
}
