// What is said of a conversion that has failed or was cancelled, and of its files: of `convert`, and of `salvage` where that is the same.

import type { BlockError } from '../../util/errors.js';
import type { ConvertStage } from '../../workspace/convert.js';
import { creationFailure, reportLeft } from '../creation-failure.js';
import { incompleteImage, type NewImageFile } from '../new-image-file.js';
import { reportError, reportFailure, shown } from '../output.js';
import { endFailed, type ProgressView } from '../progress.js';
import { couldNotOpen, type Interrupt, reasonWithFile } from '../session.js';

/** What is converted to what. */
export interface Conversion {
  sources: readonly string[];
  target: string;
  /** Of the target. */
  format: string;
}

/** Reports a failure before the copy began, and returns the exit code; or throws an error that has the right message itself. */
export function reportNotCopied(
  { target, format }: Conversion,
  stage: ConvertStage,
  error: unknown,
  file: NewImageFile,
): number {
  switch (stage) {
    case 'options':
    case 'create':
      return reportNotCreated(target, format, error, file);
    case 'size':
      reportError('output file is smaller than input file');
      return 1;
    case 'zeroes':
      reportError('Cannot use --target-is-zero when the destination image has a backing file');
      return 1;
    case 'backing':
    case 'hold':
      throw couldNotOpen(target, error);
    case 'open':
    case 'close':
      reportFailure(error);
      reportLeft(file.left(error));
      return 1;
    default:
      throw error;
  }
}

/** Reports that the target could not be created, and returns the exit code. */
export function reportNotCreated(target: string, format: string, error: unknown, file: NewImageFile): number {
  reportError(`${target}: error while converting ${format}: ${creationFailure(target, format, error)}`);
  reportLeft(file.left(error));
  return 1;
}

export function reportCancelled(
  what: Conversion,
  stage: ConvertStage,
  interrupt: Interrupt,
  file: NewImageFile,
): number {
  const untouched = stage === 'options' || stage === 'size' || stage === 'backing';
  reportError(`Cancelled. ${stateOfFiles(what.sources, untouched ? file.state(false) : incompleteImage(what.target))}`);
  return interrupt.cancelledCode;
}

/** A sentence about the sources, which are only read, and about the target: `state`. */
export function stateOfFiles(sources: readonly string[], state: string): string {
  const names = sources.map((name) => `'${shown(name)}'`).join(', ');
  return `${names} ${sources.length > 1 ? 'are' : 'is'} unchanged; ${state}`;
}

/** Reports what ended the copy while it was `side`: `reading`, `writing`. Returns the exit code. */
export function copyFailed(
  { view }: { view: ProgressView },
  what: Conversion,
  side: string,
  failure: BlockError,
  interrupt: Interrupt,
  file: NewImageFile,
): number {
  if (endFailed(view, failure)) return reportCancelled(what, 'copy', interrupt, file);
  const where = failure.guestOffset === undefined ? '' : ` at byte ${failure.guestOffset}`;
  reportError(`error while ${side}${where}: ${reasonWithFile(failure)}`);
  reportLeft(incompleteImage(what.target));
  return 1;
}
