// `diskwright convert IMAGE -`: the target is standard output. Everything else that is printed goes to standard error.

import { fstatSync } from 'node:fs';
import type { BlockNode } from '../../block/node/node.js';
import { standardOutput } from '../../host/real/standard-streams.js';
import { toBlockError } from '../../util/errors.js';
import { wordsOfErrno } from '../../util/system-words.js';
import { streamImage } from '../../workspace/convert-out.js';
import { type CreateValues, imageCreateOptions, withSize } from '../create-options.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { program, QEMU_IMG, reportError } from '../output.js';
import { openProgress, type ProgressKind } from '../progress.js';
import { ratedState } from '../rate.js';
import { Interrupt, openImage, reasonWithFile, type Session } from '../session.js';

/** The name of standard input and output. By qemu-img's name, it is that of a file. */
const STANDARD = '-';

export function isStandard(name: string): boolean {
  return name === STANDARD && program() !== QEMU_IMG;
}

/** Options that have no meaning, or cannot be done, where the target cannot be gone back to, and why. */
const REFUSED: readonly (readonly [key: string, option: string, why: string])[] = [
  ['compress', '-c', 'the tables come first, and how large compressed clusters become is not known before'],
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
  try {
    fstatSync(1);
  } catch {
    throw new UsageError('Standard output is closed');
  }
}

export interface OutPlan {
  sources: readonly string[];
  format: string;
  values: CreateValues;
  sparseSize: number | undefined;
  speed: number;
  progress: ProgressKind;
}

/** Copies the source to standard output. Resolves with the exit code. */
export async function convertToStandard(session: Session, source: BlockNode, plan: OutPlan): Promise<number> {
  const { clock } = session.host;
  const interrupt = new Interrupt(session);
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
      speed: plan.speed,
      signal: interrupt.signal,
      onBegin: () => view.update({ current: 0, total: source.length }),
      onProgress: (current, total, moved) => {
        view.update(ratedState(clock.now() - startedMs, { current, total, moved }, { limit: plan.speed }));
      },
    });
    session.afterClose.push(() => view.end({ event: 'completed' }));
    return 0;
  } catch (error) {
    const failure = toBlockError(error);
    const isCancelled = failure.code === 'cancelled';
    view.end({ event: isCancelled ? 'cancelled' : 'failed', error: failure.message });
    const names = plan.sources.map((name) => `'${name}'`).join(', ');
    if (isCancelled) {
      reportError(`Cancelled. ${names} ${plan.sources.length > 1 ? 'are' : 'is'} unchanged; the output is incomplete.`);
      return interrupt.exitCode;
    }
    const words = failure.errno === undefined ? undefined : wordsOfErrno(failure.errno);
    const isOutput = words !== undefined && failure.path === sink.name;
    if (isOutput) reportError(`error while writing to standard output: ${words}`);
    else reportError(`error while converting to standard output: ${reasonWithFile(failure)}`);
    return 1;
  } finally {
    interrupt.stop();
  }
}
