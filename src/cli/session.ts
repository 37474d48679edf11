// The session of a command: its host, its graph and the images that it opens; and how the command ends, also when it is interrupted.

import { fstatSync } from 'node:fs';
import type { Graph, GraphOptions, ReservedFile } from '../block/graph.js';
import type { HoldKind } from '../block/hold.js';
import type { BlockNode } from '../block/node/node.js';
import type { InnerOpenOptions, OpenOptions } from '../block/open.js';
import type { Host } from '../host/host.js';
import type { RealHostOptions } from '../host/real/index.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError, toBlockError } from '../util/errors.js';
import { reasonInWords, systemWordsOf } from '../util/system-words.js';
import type { ImageOpener } from '../workspace/open.js';
import type { BreakOff } from './break-off.js';
import { AFTER_THE_WORK, beginEarlyEnd, endAtOnce, endEarly, type SignalListener, stopEarlyEnd } from './early-end.js';
import { wasInterrupted } from './end-process.js';
import { EndingSignals } from './ending-signals.js';
import type { ParsedOptions } from './getopt.js';
import { UsageError } from './getopt.js';
import { allIsClosed } from './leave.js';
import { messageOf, reportError, reportFailure, reportWarning, silence, withPrintableNames } from './output.js';

/**
 * Reads up to this size that the page cache can answer are done on the main thread, since a command has nothing else to do there than to move
 * data. A server then sends the data from the CPU's cache (1 MiB reads at depth 8: 4,200 to 4,800/s instead of 2,600 to 3,500).
 */
const INLINE_READ_BYTES = 1 << 20;

/** For commands that show or make one image after the other, and that a signal ends at once: nothing else is to be done while the system works. */
export const ONE_BY_ONE: RealHostOptions = { waits: true, slots: 64 };

export interface Session {
  readonly host: Host;
  readonly graph: Graph;
  /** Called once everything was closed without an error: success is reported then, not before. */
  readonly afterClose: (() => void)[];
  /** Whoever listens to signals: until everything was closed. */
  readonly listeners: SignalListener[];
}

export interface SessionOptions extends RealHostOptions {
  /** What a signal does from the first open to the last close. Default: it ends the command at once, until an `Interrupt` says more. */
  breakOff?: BreakOff;
  /** Standard input is read by the command itself: the file that it is redirected from is no image then. */
  readsInput?: boolean;
}

let untrusted = false;

/**
 * Ends a command that has done its work by the signal that came meanwhile: whoever sent it wants nothing to follow, and without one of these listeners it would have ended
 * the command, too. One that ends with another `result` than 0 dies by it when it has said so.
 */
async function endInterrupted(listeners: readonly SignalListener[], result: unknown): Promise<void> {
  if (listeners.length === 0) return;
  // Node hears of a signal where its event loop asks the system, which work that waits for the system does not return to. The first turn may be the rest of one that
  // has asked already.
  for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate);
  noteInterrupts(listeners);
  if (result !== 0) return;
  for (const { exitCode } of listeners) if (exitCode !== null) endAtOnce(exitCode, AFTER_THE_WORK);
}

function noteInterrupts(listeners: readonly SignalListener[]): void {
  for (const { exitCode } of listeners) if (exitCode !== null) wasInterrupted(exitCode);
}

/** `--untrusted`: from now on, images may refer to nothing but plain files in their own folder. */
export function trustNoImage(): void {
  untrusted = true;
}

/**
 * Runs `action` with a host and a graph, in which `objects` (each in the syntax of `--object`) are created; then closes everything. An error while
 * closing (a flush that failed) is an error of the command. `readsInput`: the command reads bytes from standard input, so that no image is opened in
 * the file that they come from.
 */
export async function withSession<T>(
  objects: readonly string[],
  action: (session: Session) => Promise<T>,
  { readsInput = false, breakOff, ...options }: SessionOptions = {},
): Promise<T> {
  const [{ openRealHost }, { Graph }, { registerDrivers }] = await Promise.all([
    import('../host/real/index.js'),
    import('../block/graph.js'),
    import('../drivers/index.js'),
  ]);
  registerDrivers();
  if (!options.waits && !options.opens) beginEarlyEnd();
  const listeners: SignalListener[] = breakOff === undefined ? [] : [breakOff];
  const stopListening = (): void => {
    for (const each of listeners) each.stop();
  };
  const host = openRealHost({ inlineReadBytes: INLINE_READ_BYTES, ...options });
  try {
    const graph = new Graph(host, await graphOptions(readsInput));
    const afterClose: (() => void)[] = [];
    let result: T;
    try {
      for (const object of objects) await graph.objects.add(object);
      result = await action({ host, graph, afterClose, listeners });
    } catch (error) {
      // The first error is the one to report. An error while closing usually follows from it; one that means lost data is reported too.
      await graph.closeAll().catch((late: unknown) => {
        if (late instanceof BlockError && late.operation === 'close') reportError(messageOf(late));
        else bestEffort('closing after a failure')(late);
      });
      for (const each of listeners) each.endedInOrder?.();
      noteInterrupts(listeners);
      throw error;
    }
    await graph.closeAll();
    for (const each of listeners) each.done?.();
    for (const step of afterClose) step();
    await endInterrupted(listeners, result);
    return result;
  } finally {
    stopListening();
    stopEarlyEnd();
    await host.close();
    if (options.waits) allIsClosed();
  }
}

/** Options of the command line's graphs: warnings go to standard error, and `--untrusted` limits what images may refer to. */
export async function graphOptions(readsInput = false): Promise<GraphOptions> {
  const gate = untrusted ? (await import('../block/gate.js')).sameFolderGate : undefined;
  return { warn: reportWarning, reserved: standardFiles(readsInput), gate };
}

/**
 * Files and block devices that standard output and standard error are redirected to: `diskwright map disk > disk` must not read or write its own output.
 * Where standard input is read, too, its own, wherever in it the reading begins.
 */
function standardFiles(readsInput: boolean): ReadonlyMap<string, ReservedFile> {
  const files = new Map<string, ReservedFile>();
  for (const [fd, what] of [
    [0, 'standard input comes from'],
    [1, 'standard output goes to'],
    [2, 'standard error goes to'],
  ] as const) {
    if (fd === 0 && !readsInput) continue;
    try {
      const found = fstatSync(fd, { bigint: true });
      const refused = (): void => {
        if (fd !== 0) silence(fd);
      };
      // The same words as `FileInfo.id`.
      if (found.isFile()) files.set(`${found.dev}:${found.ino}`, { what, refused });
      else if (found.isBlockDevice()) files.set(`device:${found.rdev}`, { what, refused });
    } catch (error) {
      // The parent process has closed it: then it is no file.
      if ((error as NodeJS.ErrnoException).code !== 'EBADF') throw error;
    }
  }
  return files;
}

export interface ImageArguments extends OpenOptions, InnerOpenOptions {
  /** The name is an option string. */
  imageOpts?: boolean;
  writable?: boolean;
  /** Purpose of an image that is only read, see `openToRead`. Default: `look`. */
  purpose?: HoldKind;
}

/** Closes an image that `openImage` opened, before the command ends. */
export async function releaseImage(session: Session, node: BlockNode): Promise<void> {
  const workspace = await import('../workspace/open.js');
  await workspace.releaseImage(session.graph, node);
}

/** Parses `-f`, `--image-opts` and `-U`. */
export function imageArguments(options: ParsedOptions): ImageArguments {
  return {
    format: options.get('format'),
    imageOpts: options.has('image-opts'),
    forceShare: options.has('force-share'),
  };
}

/**
 * Opens an image that was named on the command line. A failure's message names it as it was typed. Rejects with `UsageError` where a string of options stands beside a
 * format: as with qemu-img, that is a mistake only when all else is right that is looked at before images are opened.
 */
export async function openImage(session: Session, name: string, how: ImageArguments): Promise<BlockNode> {
  refuseTwoFormats(how);
  const [{ openNode }, { openToRead }, { parseImageOptions }, { withLockHolder }] = await Promise.all([
    import('../block/open.js'),
    import('../workspace/open.js'),
    import('../schema/options.js'),
    import('../block/identity.js'),
  ]);
  const { imageOpts, writable = false, purpose = 'look', format, forceShare, ...open } = how;
  try {
    const image = imageOpts ? parseImageOptions(name) : name;
    const options = { ...open, format, forceShare };
    if (writable) return await openNode(session.graph, image, { ...options, readOnly: false });
    return await openToRead(session.graph, image, options, purpose);
  } catch (error) {
    throw couldNotOpen(name, await withLockHolder(session.graph, error, false));
  }
}

/** Throws `UsageError` where a format is named, and the name of the image is a string of options, which say it, too. */
export function refuseTwoFormats({ imageOpts, format }: ImageArguments): void {
  if (imageOpts && format !== undefined) throw new UsageError('--image-opts and --format are mutually exclusive');
}

/** `openImage` as an opener for workspace/. Only a name that was typed may be a string of options; a name in an image's header never is. */
export function opener(session: Session, { imageOpts }: ImageArguments): ImageOpener {
  return (name, how) =>
    openImage(session, String(name), { ...how, imageOpts: imageOpts && how.referrer === undefined });
}

/**
 * Runs `action` for every image, and resolves with the exit code of each. Where there are several images, the failure of one is reported, its exit
 * code is 1, and the others are still processed.
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

/** The error `Could not open 'name': reason`, as qemu-img prints it. */
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

/** The reason of a failure, without the file's name in front, for a message that names the file itself. */
export function reasonOf(error: BlockError): string {
  return withPrintableNames(reasonInWords(error), error);
}

/**
 * The reason of a failure, for a message that names no file: what the system refused, with the file that it was about (the image's own, its data file, a backing
 * file, the target of a copy).
 */
export function reasonWithFile(error: BlockError): string {
  return error.path !== undefined && systemWordsOf(error) !== undefined ? messageOf(error) : reasonOf(error);
}

/** Watches for Ctrl-C (and the other ending signals) while a command runs: then `signal` aborts, and requests to a silent server are failed. */
export class Interrupt implements SignalListener {
  readonly signal: AbortSignal;
  readonly #signals: EndingSignals;
  #opening: boolean;

  /** Set while an image is made, which has no end in order: a signal ends the process at once then, after what it returns was reported. */
  atOnce: (() => string) | null = null;

  /**
   * Until everything in the session is closed, which a signal does not break off. `opening`: images are still being opened, and a signal ends the command at
   * once, until `opened` is called.
   */
  constructor({ graph, listeners }: Session, opening = false) {
    this.#opening = opening;
    const controller = new AbortController();
    this.signal = controller.signal;
    this.#signals = new EndingSignals(() => {
      if (this.#opening) endEarly(this.cancelledCode);
      if (this.atOnce !== null) endAtOnce(this.cancelledCode, `Cancelled. ${this.atOnce()}`);
      graph.abortStalled();
      controller.abort();
    });
    stopEarlyEnd();
    listeners.push(this);
  }

  /** The images are open: from now on a signal ends the command in order. */
  opened(): void {
    this.#opening = false;
  }

  get exitCode(): number | null {
    return this.#signals.received ? this.#signals.exitCode : null;
  }

  /** The exit code of a command whose work has ended since `signal` aborted. */
  get cancelledCode(): number {
    return this.#signals.exitCode;
  }

  stop(): void {
    this.#signals.stop();
  }
}
