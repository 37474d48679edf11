// `diskwright convert IMAGE -` and `diskwright convert - IMAGE`: the target is standard output, and everything else that is printed goes to standard error; or the source is
// standard input: a file by its own name, anything else as raw bytes in order.

import { type BigIntStats, constants, fstatSync, readlinkSync, statSync } from 'node:fs';
import type { BlockNode } from '../../block/node/node.js';
import { bareFormat } from '../../block/registry.js';
import { registerDrivers } from '../../drivers/index.js';
import { openFlags, positionOf, standardInput, standardOutput } from '../../host/real/standard-streams.js';
import { toBlockError } from '../../util/errors.js';
import { decodeName } from '../../util/name-bytes.js';
import { wordsOfErrno } from '../../util/system-words.js';
import { checkStreamTarget, streamIntoImage } from '../../workspace/convert-in.js';
import { streamImage } from '../../workspace/convert-out.js';
import type { CacheMode } from '../arguments.js';
import { type CreateValues, fileCreateOptions, imageCreateOptions, withSize } from '../create-options.js';
import { reportLeft } from '../creation-failure.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { incompleteImage, NewImageFile } from '../new-image-file.js';
import { program, QEMU_IMG, reportError, STANDARD } from '../output.js';
import { endFailed, openProgress, type ProgressKind } from '../progress.js';
import { ratedState } from '../rate.js';
import { Interrupt, openImage, reasonWithFile, type Session } from '../session.js';
import { reportNotCreated, stateOfFiles } from './report.js';

/** Number of /dev/null on Linux. */
const NULL_DEVICE = 0x103n;
/** The bits of the flags of an open file that say whether it is read or written. */
const ACCESS_MODE = constants.O_RDONLY | constants.O_WRONLY | constants.O_RDWR;

/** By qemu-img's name, it is a file. */
export function isStandard(name: string): boolean {
  return name === STANDARD && program() !== QEMU_IMG;
}

/** Options that have no meaning, or cannot be done, where the target cannot be gone back to, and why. */
const REFUSED: readonly (readonly [key: string, option: string, why: string])[] = [
  ['no-create', '-n', 'there is no image yet'],
  ['target-image-opts', '--target-image-opts', 'there is no image yet'],
  ['copy-range', '-C', 'blocks are shared between files only'],
  ['cache', '-t', 'it is for files'],
  ['bitmaps', '--bitmaps', 'bitmaps cannot be written so'],
  ['salvage', '--salvage', 'what cannot be read is not known before'],
];

/** Throws `UsageError` for what cannot be written to standard output, and where that is a terminal. */
export function checkStandardOutput(options: ParsedOptions): void {
  for (const [key, option, why] of REFUSED) {
    if (options.has(key)) throw new UsageError(`${option} cannot be used where the target is standard output: ${why}`);
  }
  if (process.getBuiltinModule('node:tty').isatty(1)) {
    throw new UsageError('Standard output is a terminal: redirect it to a file or a pipe');
  }
  const output = fstatSync(1, { bigint: true });
  if (isPutInPlace(output)) {
    throw new UsageError('Standard output is closed, or ignored: redirect it to a file or a pipe');
  }
  const messages = fstatSync(2, { bigint: true });
  if (!output.isCharacterDevice() && output.ino === messages.ino && output.dev === messages.dev) {
    throw new UsageError('Standard output and standard error go to the same place: messages would get into the image');
  }
}

/** Standard output is what node, and programs that start us, put in the place of one that is closed: /dev/null for reading and writing. A shell's is for writing. */
function isPutInPlace({ rdev }: BigIntStats): boolean {
  const flags = openFlags(1);
  return rdev === NULL_DEVICE && flags >= 0 && (flags & ACCESS_MODE) === constants.O_RDWR;
}

export interface OutPlan {
  sources: readonly string[];
  format: string;
  values: CreateValues;
  sparseSize: number | undefined;
  compress: boolean;
  speed: number;
  progress: ProgressKind;
}

/** Copies the source to standard output. Resolves with the exit code. */
export async function convertToStandard(session: Session, source: BlockNode, plan: OutPlan): Promise<number> {
  const { clock } = session.host;
  // The backing file is opened yet: one that nobody can wait for.
  const interrupt = new Interrupt(session, true);
  const options = imageCreateOptions(plan.format, withSize(plan.values, source.length));
  const view = openProgress(plan.progress);
  const startedMs = clock.now();
  const sink = standardOutput();
  try {
    await streamImage(session.graph, {
      source,
      sink,
      options,
      open: (name, how) => openImage(session, String(name), { ...how, purpose: 'copy' }),
      sparseSize: plan.sparseSize,
      compress: plan.compress,
      speed: plan.speed,
      signal: interrupt.signal,
      onBegin: () => {
        interrupt.opened();
        view.update({ current: 0, total: source.length });
      },
      onProgress: (current, total, moved) => {
        view.update(ratedState(clock.now() - startedMs, { current, total, moved }, { limit: plan.speed }));
      },
    });
    session.afterClose.push(() => view.end({ event: 'completed' }));
    return 0;
  } catch (error) {
    const failure = toBlockError(error);
    if (endFailed(view, failure)) {
      reportError(`Cancelled. ${stateOfFiles(plan.sources, 'the output is incomplete.')}`);
      return interrupt.cancelledCode;
    }
    const words = failure.errno === undefined ? undefined : wordsOfErrno(failure.errno);
    const isOutput = words !== undefined && failure.path === sink.name;
    if (isOutput) reportError(`error while writing to standard output: ${words}`);
    else reportError(`error while converting to standard output: ${reasonWithFile(failure)}`);
    return 1;
  }
}

/** Options that have no meaning, or cannot be done, where the source cannot be gone back to. */
const REFUSED_OF_INPUT: readonly (readonly [key: string, option: string])[] = [
  ['backing', '-B'],
  ['copy-range', '-C'],
  ['salvage', '--salvage'],
  ['bitmaps', '--bitmaps'],
  ['snapshot', '-l'],
  ['image-opts', '--image-opts'],
  ['source-cache', '-T'],
  ['force-share', '-U'],
  ['target-is-zero', '--target-is-zero'],
];

/**
 * The sources, with the name of the file that standard input is redirected from; null: the one source is standard input, which has to be read in order. Throws `UsageError` for what
 * cannot be done then.
 */
export function sourcesOf(
  options: ParsedOptions,
  names: readonly string[],
  toStandard: boolean,
): readonly string[] | null {
  if (!names.some(isStandard)) return names;
  if (process.getBuiltinModule('node:tty').isatty(0)) throw new UsageError('Standard input is a terminal: redirect it');
  if (fstatSync(0).isDirectory())
    throw new UsageError('Standard input is a directory: redirect it from a file or a pipe');
  if ((openFlags(0) & ACCESS_MODE) === constants.O_WRONLY) {
    throw new UsageError('Standard input can only be written: redirect it from a file or a pipe');
  }
  const file = fileOfInput();
  if (file !== null) return names.map((name) => (isStandard(name) ? file : name));
  if (names.length > 1) throw new UsageError('Standard input cannot be joined with other images: it is no file');
  if (toStandard) throw new UsageError('Standard input is no file, and can only be written into one');
  for (const [key, option] of REFUSED_OF_INPUT) {
    if (options.has(key))
      throw new UsageError(`${option} cannot be used where the source is standard input: it is no file`);
  }
  const format = options.get('format');
  registerDrivers();
  const { name: bare } = bareFormat();
  if (format !== undefined && format !== bare) {
    throw new UsageError(
      `Standard input is no file: images of the format '${format}' cannot be read in order, ${bare} ones can`,
    );
  }
  return null;
}

/** The file, or device, that standard input is at the begin of; null where it is none, or has no name any more. */
function fileOfInput(): string | null {
  const stats = fstatSync(0);
  if (!(stats.isFile() || stats.isBlockDevice()) || positionOf(0) !== 0) return null;
  try {
    const name = readlinkSync('/proc/self/fd/0', 'buffer');
    const named = statSync(name);
    return named.ino === stats.ino && named.dev === stats.dev ? decodeName(name) : null;
  } catch {
    return null;
  }
}

export interface InPlan {
  target: string;
  targetImageOpts: boolean;
  /** The format was named. */
  isRaw: boolean;
  create: boolean;
  format: string;
  values: CreateValues;
  cache: CacheMode;
  sparseSize: number | undefined;
  compress: boolean;
  speed: number;
  progress: ProgressKind;
}

/** Copies standard input into the target. Resolves with the exit code. */
export async function convertFromStandard(session: Session, plan: InPlan): Promise<number> {
  const { target, format, values } = plan;
  const size = values.get('size');
  const driver = plan.create ? format : undefined;
  const [preallocation, backing] = [values.get('preallocation'), values.get('backing_file')];
  checkStreamTarget({ driver, size, preallocation, 'backing-file': backing }, '-o size=SIZE');
  const { clock } = session.host;
  const interrupt = new Interrupt(session);
  const view = openProgress(plan.progress);
  const startedMs = clock.now();
  const file = new NewImageFile(target);
  const source = standardInput();
  let stage = 'read' as 'read' | 'create' | 'copy';
  try {
    await streamIntoImage(session.graph, {
      source,
      isRaw: plan.isRaw,
      target,
      create: plan.create ? (bytes) => imageCreateOptions(format, withSize(values, bytes)) : null,
      size: size === undefined ? undefined : Number(size),
      format: plan.targetImageOpts ? undefined : format,
      fileOptions: fileCreateOptions(values),
      cache: plan.cache,
      open: (_, how) => openImage(session, target, { ...how, imageOpts: plan.targetImageOpts, writable: true }),
      sparseSize: plan.sparseSize,
      compress: plan.compress,
      fua: plan.cache.writethrough,
      speed: plan.speed,
      signal: interrupt.signal,
      onStage: (next) => {
        stage = next;
        interrupt.atOnce = next === 'create' ? () => file.state() : null;
      },
      onProgress: (bytes) => {
        const state = { current: bytes, total: Math.max(bytes, Number(size ?? 0)), moved: bytes };
        if (size !== undefined) view.update(ratedState(clock.now() - startedMs, state, { limit: plan.speed }));
      },
    });
    session.afterClose.push(() => view.end({ event: 'completed' }));
    return 0;
  } catch (error) {
    const failure = toBlockError(error);
    if (endFailed(view, failure)) {
      reportError(`Cancelled. ${stage === 'read' ? file.state(false) : incompleteImage(target)}`);
      return interrupt.cancelledCode;
    }
    if (stage === 'create') return reportNotCreated(target, format, error, file);
    const words = failure.path === source.name && failure.errno !== undefined ? wordsOfErrno(failure.errno) : undefined;
    if (words !== undefined) reportError(`error while reading standard input: ${words}`);
    else reportError(`error while converting standard input: ${reasonWithFile(failure)}`);
    if (stage === 'copy') reportLeft(incompleteImage(target));
    return 1;
  }
}
