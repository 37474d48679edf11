// The progress of a command, in one of three forms:
//
//   percent   "    (12.34/100%)" and a carriage return on standard output, as qemu-img's -p
//   bar       [=======>      ]  47%  1.2 GiB of 2.5 GiB  310 MiB/s  0:04   on a terminal
//   json      one object a line on standard output, for programs
//
// Where standard output takes an image, all of it is on standard error.

import type { BlockError } from '../util/errors.js';
import { formatShare, formatSize } from '../util/size.js';
import type { OptionSpec, ParsedOptions } from './getopt.js';
import { UsageError } from './getopt.js';
import { jsonLine, kebabNames } from './json.js';
import {
  GREEN,
  hasColour,
  isTerminal,
  lastReported,
  lineIsOpen,
  openLine,
  PLAIN,
  standardStream,
  textStream,
  write,
  writeErrors,
  writeOwn,
} from './output.js';

export interface ProgressState {
  current: number;
  total: number;
  bytesPerSecond?: number;
  etaMs?: number;
  /** The status of a job. */
  status?: string;
  /** `current` and `total` are steps, not bytes: only their share is shown. */
  steps?: true;
  /** What a bar's line says besides, the most important first. */
  notes?: readonly string[];
}

export interface ProgressView {
  /** The view writes JSON: no other text may go to standard output. */
  readonly json: boolean;
  update(state: ProgressState): void;
  /**
   * Ends the line of progress, if there is one. `outcome` is the last JSON object; `whole`: all work was done (shown as 100 %), by default where the
   * outcome's event is `completed`.
   */
  end(outcome: Record<string, unknown>, whole?: boolean): void;
}

export type ProgressKind = 'none' | 'percent' | 'bar' | 'json';

/** Whether this kind tells the rate and the time that is left. */
export function tellsTime(kind: ProgressKind): boolean {
  return kind === 'bar' || kind === 'json';
}

/** Signals that ask for the progress, as with qemu-img: without -p, each prints one line on standard error. */
const STATUS_SIGNALS = ['SIGUSR1', 'SIGINFO'] as const;
/** Clears from the cursor to the end of the line. */
const CLEAR = '\x1b[K';
const BAR_WIDTH = 28;
const MIN_BAR_WIDTH = 8;
const MIN_INTERVAL_MS = 100;

/** JSON was asked for, and the last object, with the outcome, has not been written yet. */
let outcomeIsDue = false;

/** Called before any other option is checked, so that a wrong command line gets the last JSON object, too. */
export function beginProgress(options: ParsedOptions): void {
  outcomeIsDue = options.get('progress') === 'json';
}

/** Called when the command has failed: writes the last JSON object, where it was asked for and no view has written it. */
export function failProgress(): void {
  if (!outcomeIsDue) return;
  outcomeIsDue = false;
  line({ event: 'failed', error: lastReported() ?? 'unknown' });
}

/** What `--progress` takes. */
const KINDS = ['bar', 'none', 'json'] as const satisfies readonly ProgressKind[];

/** The kind that `-p`, `-q` and `--progress` ask for. `always`: on a terminal, the default is a bar. Throws `UsageError`. */
export function progressKind(options: ParsedOptions, always = false): ProgressKind {
  const text = options.get('progress');
  const named = KINDS.find((kind) => kind === text);
  if (text !== named) {
    throw new UsageError('--progress must be used with bar, json or none as argument.');
  }
  if (named === 'json' || named === 'none') return named;
  if (options.has('quiet')) return 'none';
  const asked = named === 'bar' || options.has('bar');
  // A dumb terminal cannot draw a line again, at least not a shorter one.
  const draws = isTerminal(textStream()) && process.env['TERM'] !== 'dumb';
  if (asked && !draws) return 'percent';
  return asked || (always && isTerminal(2) && draws) ? 'bar' : 'none';
}

/** Ends the view of a command that `failure` has ended. True: the user did that. */
export function endFailed(view: ProgressView, failure: BlockError): boolean {
  const cancelled = failure.code === 'cancelled';
  view.end({ event: cancelled ? 'cancelled' : 'failed', error: failure.message });
  return cancelled;
}

/** Opens a view. With `none`, a signal (SIGUSR1, on BSD systems SIGINFO) prints the progress, until `end`. */
export function openProgress(kind: ProgressKind): ProgressView {
  const view = viewOf(kind);
  if (kind !== 'none') return view;
  let last: ProgressState = { current: 0, total: 1 };
  const show = (): void => writeErrors(`    (${percentOf(last).toFixed(2)}/100%)\n`);
  for (const signal of STATUS_SIGNALS) process.on(signal, show);
  return {
    json: view.json,
    update: (state) => {
      last = state;
      view.update(state);
    },
    end: (outcome, whole) => {
      for (const signal of STATUS_SIGNALS) process.off(signal, show);
      view.end(outcome, whole);
    },
  };
}

function viewOf(kind: ProgressKind): ProgressView {
  switch (kind) {
    case 'percent':
      return new PercentView();
    case 'bar':
      return new BarView();
    case 'json':
      return new JsonView();
    case 'none':
      return { json: false, update: () => undefined, end: () => undefined };
  }
}

/** A job that does not know its work yet has done nothing. */
function percentOf({ current, total, status }: ProgressState): number {
  if (total === 0) return status === undefined || status === 'concluded' ? 100 : 0;
  return (current / total) * 100;
}

function isCompleted(outcome: Record<string, unknown>): boolean {
  return outcome['event'] === 'completed';
}

class PercentView implements ProgressView {
  readonly json = false;
  #shown = Number.NEGATIVE_INFINITY;

  update(state: ProgressState): void {
    const percent = percentOf(state);
    if (percent < this.#shown + 1 && !(percent >= 100 && this.#shown < 100)) return;
    this.#shown = percent;
    writeOwn(`    (${percent.toFixed(2)}/100%)\r`);
    openLine(() => write('\n'));
  }

  end(outcome: Record<string, unknown>, whole = isCompleted(outcome)): void {
    if (whole) this.update({ current: 1, total: 1 });
    if (lineIsOpen()) write('\n');
    openLine(null);
  }
}

class BarView implements ProgressView {
  readonly json = false;
  #shownMs = Number.NEGATIVE_INFINITY;
  #last: ProgressState | null = null;
  #text = '';
  /** The terminal has another width: the line is drawn again at once, before something else can wrap it. */
  readonly #resized = (): void => {
    if (this.#last !== null) this.#show(this.#last);
  };

  constructor() {
    standardStream(2).on('resize', this.#resized);
  }

  update(state: ProgressState): void {
    this.#last = state;
    if (performance.now() - this.#shownMs < MIN_INTERVAL_MS) return;
    this.#show(state);
  }

  end(outcome: Record<string, unknown>, whole = isCompleted(outcome)): void {
    if (this.#last !== null) {
      const done = { ...this.#last, current: this.#last.total, etaMs: 0, status: undefined, notes: undefined };
      this.#show(whole ? done : this.#last);
    }
    standardStream(2).off('resize', this.#resized);
    openLine(null);
    standardStream(2).write('\n');
  }

  #show(state: ProgressState): void {
    this.#shownMs = performance.now();
    const text = barLine(state, standardStream(2).columns);
    if (text === this.#text && lineIsOpen()) return;
    this.#text = text;
    const drawn = hasColour() ? text.replace(/=+>?/, (bar) => `${GREEN}${bar}${PLAIN}`) : text;
    standardStream(2).write(`\r${drawn}${CLEAR}`);
    openLine(() => standardStream(2).write(`\r${CLEAR}`));
  }
}

/**
 * The bar's line, without control characters. Where it would wrap, the bar gets shorter, and then the last parts of the text are left out.
 * `columns` of 0 means that the width is not known: then nothing is left out. The bar has `widest` columns at most.
 */
export function barLine(state: ProgressState, columns = 0, widest = BAR_WIDTH): string {
  const percent = Math.min(100, percentOf(state));
  const parts = [`${String(Math.floor(percent)).padStart(3)}%`];
  if (!state.steps && state.total > 0)
    parts.push(`${formatShare(state.current, state.total)} of ${formatSize(state.total)}`);
  if (state.bytesPerSecond !== undefined) parts.push(`${formatSize(state.bytesPerSecond)}/s`);
  if (state.etaMs !== undefined) parts.push(clockTime(state.etaMs));
  if (state.status === 'paused' || state.status === 'ready') parts.push(state.status);
  parts.push(...(state.notes ?? []));
  // Some terminals wrap in the last column already; two brackets and a space are around the bar.
  const room = columns > 0 ? columns - 4 : Number.POSITIVE_INFINITY;
  while (parts.length > 1 && parts.join('  ').length + MIN_BAR_WIDTH > room) parts.pop();
  const text = parts.join('  ');
  const width = Math.min(widest, room - text.length);
  if (width < MIN_BAR_WIDTH)
    return columns > text.length || columns === 0 ? text : text.trimStart().slice(0, columns - 1);
  const filled = Math.floor((percent / 100) * width);
  return `[${`${'='.repeat(filled)}${filled < width ? '>' : ''}`.padEnd(width)}] ${text}`;
}

/** `1:02:03`, `0:04`. */
function clockTime(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

class JsonView implements ProgressView {
  readonly json = true;
  #shownMs = Number.NEGATIVE_INFINITY;
  #last: ProgressState | null = null;
  #shown: ProgressState | null = null;

  update(state: ProgressState): void {
    this.#last = state;
    const now = performance.now();
    if (now - this.#shownMs < MIN_INTERVAL_MS) return;
    this.#shownMs = now;
    this.#show(state);
  }

  #show(state: ProgressState): void {
    this.#shown = state;
    line({
      event: 'progress',
      status: state.status,
      current: state.current,
      total: state.total,
      percent: Number(percentOf(state).toFixed(2)),
      'bytes-per-second': state.bytesPerSecond === undefined ? null : Math.round(state.bytesPerSecond),
      'eta-seconds': state.etaMs === undefined ? null : Number((state.etaMs / 1000).toFixed(1)),
    });
  }

  end(outcome: Record<string, unknown>): void {
    // The last state may not have been written yet, if it came too soon after the one before.
    if (this.#last !== null && this.#last !== this.#shown) this.#show(this.#last);
    outcomeIsDue = false;
    line(kebabNames(outcome) as Record<string, unknown>);
  }
}

function line(object: Record<string, unknown>): void {
  write(`${jsonLine(object)}\n`);
}

export const PROGRESS_BAR: OptionSpec = {
  key: 'bar',
  short: 'p',
  help: 'Show progress: a bar with rate and remaining time on a terminal, otherwise percentages as qemu-img prints them.',
};
export const PROGRESS: OptionSpec = {
  key: 'progress',
  long: 'progress',
  own: true,
  argument: 'KIND',
  values: KINDS,
  help:
    'bar (as -p), none, or json: one object per line on standard output (on standard error where an image goes there). Its "event" is progress; that of the last one is completed, ' +
    'cancelled or failed. The "status" of a job is that of QMP: running, ready, ..., concluded when it has succeeded.',
};
