// The words on the terminal: standard output in bulk, errors behind the program's name.

import { BlockError } from '../util/errors.js';
import { UsageError } from './getopt.js';

export const PROGRAM = 'diskwright';

export function write(text: string): void {
  process.stdout.write(text);
}

export function complain(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** `diskwright: message`, as scripts look for it. */
export function reportError(message: string): void {
  complain(`${PROGRAM}: ${message}`);
}

/** Reports whatever was thrown. */
export function reportFailure(error: unknown): void {
  if (error instanceof UsageError) {
    for (const line of error.lines) reportError(line);
    if (error.hint) complain(`Try '${PROGRAM} --help' for more information`);
  } else if (error instanceof BlockError && error.code !== 'internal') {
    reportError(error.message);
  } else {
    // A mistake of ours: whoever reports it needs to know where.
    reportError(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
}

/** Two decimals as C prints them: a tie goes to the even digit. */
export function twoDecimals(value: number): string {
  const eighths = value * 8;
  if (!Number.isInteger(eighths) || eighths % 2 === 0) return value.toFixed(2);
  const below = Math.floor(value * 100);
  return ((below + (below % 2)) / 100).toFixed(2);
}
