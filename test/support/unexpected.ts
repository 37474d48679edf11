// Loaded before all tests: a mistake of ours that somebody caught fails the test that it came up in, unless that test waits for it.

import { subscribe } from 'node:diagnostics_channel';
import { UNEXPECTED_CHANNEL, type Unexpected } from '../../src/util/diagnostics.js';

const seen: Unexpected[] = [];

subscribe(UNEXPECTED_CHANNEL, (message) => {
  seen.push(message as Unexpected);
});

/** What the command line prints for it: a process that a test starts has a channel of its own. */
const LINE = /^[\w-]+: internal error: (.*)$/gm;

/** Notes what a process has said on standard error. */
export function noteSaid(stderr: string): void {
  for (const [, text] of stderr.matchAll(LINE)) seen.push({ where: 'a process', error: new Error(text) });
}

/** What was reported since the test began, or since this was called last: the test expects it. */
export function takeUnexpected(): Unexpected[] {
  return seen.splice(0);
}

export const mochaHooks = {
  afterEach(): void {
    const [first, ...others] = takeUnexpected();
    if (first === undefined) return;
    const more = others.length > 0 ? `, and ${others.length} more` : '';
    throw new Error(`unexpected, in ${first.where}: ${String(first.error)}${more}`, { cause: first.error });
  },
};
