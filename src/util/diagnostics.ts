// The one place for unexpected exceptions: one that is a mistake of Diskwright's, where going on (without the client, the listener, the
// retry that it hit) is still right. Programs subscribe to the channel, else node prints a warning; the command line prints a line; a test run fails.
//
//   catch (error) --> reportUnexpected(where, error) --> diagnostics_channel 'diskwright:unexpected' --> { where, error }

import { channel } from 'node:diagnostics_channel';
import { inspect } from 'node:util';

/** Name of the `node:diagnostics_channel` on which `Unexpected` messages are published. */
export const UNEXPECTED_CHANNEL = 'diskwright:unexpected';

/** Name of the warnings that node prints for a program. */
export const WARNING = 'DiskwrightWarning';

/** A mistake of Diskwright's, or of a callback that it was given. */
export interface Unexpected {
  /** What was being done, e.g. `nbd connection`. */
  readonly where: string;
  readonly error: unknown;
}

/** Of this program itself, which need not load node's module for that. */
const listeners: ((message: Unexpected) => void)[] = [];
/** What was said already: an exception passes through several hands. */
const reported = new WeakSet<object>();
const MAX_CAUSES = 10;

/** `listener` is called with each message, before the subscribers of the channel. It must not throw. */
export function onUnexpected(listener: (message: Unexpected) => void): void {
  listeners.push(listener);
}

/** Publishes `error`, once: one whose cause was published already is known. Never throws; a subscriber that throws is node's affair. */
export function reportUnexpected(where: string, error: unknown): void {
  let known = false;
  let link: unknown = error;
  for (let depth = 0; depth < MAX_CAUSES && typeof link === 'object' && link !== null; depth++) {
    known ||= reported.has(link);
    reported.add(link);
    link = (link as { cause?: unknown }).cause;
  }
  if (known) return;
  for (const listener of listeners) listener({ where, error });
  const unexpected = channel(UNEXPECTED_CHANNEL);
  if (unexpected.hasSubscribers) unexpected.publish({ where, error } satisfies Unexpected);
  else if (listeners.length === 0) process.emitWarning(`unexpected exception in ${where}: ${inspect(error)}`, WARNING);
}
