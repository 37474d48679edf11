// How far a command is, in one of three forms:
//
//   percent   "    (12.34/100%)" and a carriage return on standard output, as qemu-img's -p
//   bar       [=======>      ]  47%  1.2 GiB of 2.5 GiB  310 MiB/s  0:04   on a terminal
//   json      one object a line on standard output, for programs

import { formatSize } from '../util/size.js';
import type { OptionSpec, ParsedOptions } from './getopt.js';
import { UsageError } from './getopt.js';
import { jsonLine } from './json.js';
import { lastReported, lineIsOpen, openLine, write, writeErrors } from './output.js';

export interface ProgressState {
  current: number;
  total: number;
  bytesPerSecond?: number;
  etaMs?: number;
  /** A job's. */
  status?: string;
}

export interface ProgressView {
  /** Nothing but progress (and the outcome) may go to standard output. */
  readonly json: boolean;
  update(state: ProgressState): void;
  /** Ends the line, if there is one. `outcome` is the last word for programs; `whole`: all of it was done, by default where it is `completed`. */
  end(outcome: Record<string, unknown>, whole?: boolean): void;
}

export type ProgressKind = 'none' | 'percent' | 'bar' | 'json';

/** As qemu-img has them: without -p, each prints one line on standard error. */
const ASKING_SIGNALS = ['SIGUSR1', 'SIGINFO'] as const;
/** To the end of the line. */
const CLEAR = '\x1b[K';
const BAR_WIDTH = 28;
const MIN_BAR_WIDTH = 8;
const MIN_INTERVAL_MS = 100;

/** A program that asked for JSON gets one last object, whatever comes of it. */
let owesOutcome = false;

/** Before anything of the command line is looked at, so that the object comes where that is wrong, too. */
export function beginProgress(options: ParsedOptions): void {
  owesOutcome = options.get('progress') === 'json';
}

/** The command is over; where nobody has said so in JSON, and it was asked for, it failed before its work began, or after it. */
export function failProgress(): void {
  if (!owesOutcome) return;
  owesOutcome = false;
  line({ event: 'failed', error: lastReported() ?? 'unknown' });
}

/** What `-p`, `-q` and `--progress` ask for. `always`: a terminal gets a bar without being asked. */
export function progressKind(options: ParsedOptions, always = false): ProgressKind {
  const named = options.get('progress');
  if (named !== undefined && named !== 'bar' && named !== 'json' && named !== 'none') {
    throw new UsageError('--progress must be used with bar, json or none as argument.');
  }
  if (named === 'json' || named === 'none') return named;
  if (options.has('quiet')) return 'none';
  const asked = named === 'bar' || options.has('bar');
  if (asked && !process.stdout.isTTY) return 'percent';
  return asked || (always && process.stderr.isTTY && process.stdout.isTTY) ? 'bar' : 'none';
}

/** Until `end`, a signal that asks for it (SIGUSR1, on BSD systems SIGINFO) shows the state too, where nothing else does. */
export function openProgress(kind: ProgressKind): ProgressView {
  const view = viewOf(kind);
  if (kind !== 'none') return view;
  let last: ProgressState = { current: 0, total: 1 };
  const show = (): void => writeErrors(`    (${percentOf(last).toFixed(2)}/100%)\n`);
  for (const signal of ASKING_SIGNALS) process.on(signal, show);
  return {
    json: view.json,
    update: (state) => {
      last = state;
      view.update(state);
    },
    end: (outcome, whole) => {
      for (const signal of ASKING_SIGNALS) process.off(signal, show);
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

function percentOf({ current, total }: ProgressState): number {
  return total === 0 ? 100 : (current / total) * 100;
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
    write(`    (${percent.toFixed(2)}/100%)\r`);
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

  update(state: ProgressState): void {
    this.#last = state;
    if (performance.now() - this.#shownMs < MIN_INTERVAL_MS) return;
    this.#show(state);
  }

  end(outcome: Record<string, unknown>, whole = isCompleted(outcome)): void {
    if (this.#last !== null) {
      this.#show(whole ? { ...this.#last, current: this.#last.total, etaMs: 0 } : this.#last);
    }
    openLine(null);
    process.stderr.write('\n');
  }

  #show(state: ProgressState): void {
    this.#shownMs = performance.now();
    process.stderr.write(`\r${barLine(state, process.stderr.columns)}${CLEAR}`);
    openLine(() => process.stderr.write(`\r${CLEAR}`));
  }
}

/**
 * One line of the bar, without control characters. Where it would wrap, the bar gets shorter, and then what stands last is left out; `columns` that
 * are 0 or not known are as many as it takes.
 */
export function barLine(state: ProgressState, columns = 0): string {
  const percent = Math.min(100, percentOf(state));
  const parts = [
    `${String(Math.floor(percent)).padStart(3)}%`,
    `${formatSize(state.current)} of ${formatSize(state.total)}`,
  ];
  if (state.bytesPerSecond !== undefined) parts.push(`${formatSize(state.bytesPerSecond)}/s`);
  if (state.etaMs !== undefined) parts.push(clockTime(state.etaMs));
  if (state.status === 'paused' || state.status === 'ready') parts.push(state.status);
  // In the last column some terminals wrap already; brackets and a space stand around the bar.
  const room = columns > 0 ? columns - 4 : Number.POSITIVE_INFINITY;
  while (parts.length > 1 && parts.join('  ').length + MIN_BAR_WIDTH > room) parts.pop();
  const text = parts.join('  ');
  const width = Math.min(BAR_WIDTH, room - text.length);
  if (width < MIN_BAR_WIDTH) return text;
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
    // A change that came too soon after the one before is reported at last.
    if (this.#last !== null && this.#last !== this.#shown) this.#show(this.#last);
    owesOutcome = false;
    line(outcome);
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
  argument: 'KIND',
  help:
    'bar (as -p), none, or json: one object a line on standard output, with "event" progress and at last completed, cancelled or ' +
    'failed.',
};
