// `--follow`: shows the jobs of a monitor until all of them have ended.
//
//   a timer, and each event  -->  sample  -->  terminal: the lines are drawn again in their place; a line for each job that is over stays
//                                              JSON: one object a line
//                                              anything else: a line for each state that a job takes

import type { Client } from '../../qmp/client/client.js';
import type { JobStatus } from '../../schema/generated/types.js';
import { later } from '../../util/settle.js';
import { Waiters } from '../../util/waiters.js';
import type { End } from '../end.js';
import { jsonLine } from '../json.js';
import { isTerminal, openLine, reportError, shown, standardStream, write } from '../output.js';
import type { JobSampler, JobView } from './sample.js';
import { jobObjects, listed } from './show.js';

const INTERVAL_MS = 200;
/** Clears from the cursor to the end of the screen. */
const CLEAR_BELOW = '\x1b[J';

interface View {
  show(jobs: readonly JobView[]): void;
  /** A job has taken a state, as an event says; `failed`: it has not done its work. */
  state(id: string, status: JobStatus, failed: boolean): void;
  end(): void;
}

/**
 * Resolves with the exit code once no job is left but concluded ones: 1 where one has failed or was cancelled, 0 otherwise. Rejects with `closed`
 * where the process goes before that, and as `Client.execute`. `begin` may start jobs: it is called when nothing that they do is missed any more.
 */
export async function follow(
  client: Client,
  sampler: JobSampler,
  end: End,
  json: boolean,
  begin?: () => Promise<unknown>,
): Promise<number> {
  const view: View = json ? new JsonView() : isTerminal(1) ? new TerminalView() : new LineView(begin === undefined);
  const outcomes = new Outcomes();
  const ticks = new Waiters();
  /** Jobs that had not ended when they were heard of last. */
  const underWay = new Set<string>();
  let gone = false;
  const stop = client.on('any', (event) => {
    if (event.event === 'JOB_STATUS_CHANGE') {
      const { id, status } = event.data;
      view.state(id, status, outcomes.haveFailed(id));
      if (hasEnded(status)) underWay.delete(id);
      else underWay.add(id);
    }
    if (event.event === 'BLOCK_JOB_COMPLETED') outcomes.completed(event.data.device, event.data.error);
    if (event.event === 'BLOCK_JOB_CANCELLED') outcomes.failed(event.data.device, 'cancelled');
    ticks.wake();
  });
  const timer = setInterval(() => ticks.wake(), INTERVAL_MS);
  void end.reached.then(() => ticks.wake());
  void client.ended.then(() => {
    gone = true;
    ticks.wake();
  });
  try {
    // After an interrupt nobody waits for the answer.
    if (begin !== undefined) await Promise.race([later(begin()), end.reached]);
    while (!end.over) {
      // Waiting begins before the jobs are asked for: what happens meanwhile is looked at again.
      const tick = ticks.wait();
      const jobs = await sampler.sample();
      view.show(jobs);
      underWay.clear();
      for (const { info } of jobs) {
        if (hasEnded(info.status)) outcomes.completed(info.id, info.error);
        else underWay.add(info.id);
      }
      if (end.over || underWay.size === 0) break;
      await tick;
      // Where the process has gone, and had jobs, the next sample says so.
      if (end.over || (gone && underWay.size === 0)) break;
    }
  } finally {
    clearInterval(timer);
    stop();
    view.end();
  }
  return outcomes.report();
}

/** Nothing more happens to it, but that it is dismissed. */
function hasEnded(status: JobStatus): boolean {
  return status === 'concluded' || status === 'null';
}

/** How the jobs that have ended did. */
class Outcomes {
  readonly #failures = new Map<string, string>();

  completed(id: string, error: string | undefined): void {
    if (error !== undefined) this.failed(id, error);
  }

  failed(id: string, why: string): void {
    this.#failures.set(id, why);
  }

  /** So far. */
  haveFailed(id: string): boolean {
    return this.#failures.has(id);
  }

  /** Says which have failed. The exit code. */
  report(): number {
    for (const [id, why] of this.#failures) reportError(`job '${shown(id)}': ${shown(why)}`);
    return this.#failures.size > 0 ? 1 : 0;
  }
}

class TerminalView implements View {
  /** Lines that are drawn again. */
  #lines = 0;
  /** What stays above them, and has not been written yet. */
  #completed: string[] = [];
  #anyIsOver = false;

  show(jobs: readonly JobView[]): void {
    // A terminal that does not know its size says 0.
    const { columns, rows } = standardStream(1);
    // Where a job was followed to its end, that is what the list comes to.
    const lines = jobs.length === 0 && this.#anyIsOver ? [] : listed(jobs, columns);
    const room = Math.max(1, (rows || Number.POSITIVE_INFINITY) - 1);
    const drawn =
      lines.length <= room ? lines : [...lines.slice(0, room - 1), `... and ${lines.length - room + 1} more`];
    const text = [...this.#completed, ...drawn].map((line) => `${line}\n`).join('');
    standardStream(1).write(`${this.#home()}${text}`);
    this.#completed = [];
    this.#lines = drawn.length;
    openLine(() => undefined);
  }

  state(id: string, status: JobStatus, failed: boolean): void {
    if (status !== 'null') return;
    this.#anyIsOver = true;
    // A failure is said at the end, with its reason.
    if (!failed) this.#completed.push(`${shown(id)}  completed`);
  }

  end(): void {
    openLine(null);
  }

  #home(): string {
    return this.#lines === 0 ? '' : `\x1b[${this.#lines}A\r${CLEAR_BELOW}`;
  }
}

class JsonView implements View {
  #last = '';

  show(jobs: readonly JobView[]): void {
    const line = jsonLine({ jobs: jobObjects(jobs) });
    if (line !== this.#last) write(`${line}\n`);
    this.#last = line;
  }

  state(): void {}
  end(): void {}
}

class LineView implements View {
  #first: boolean;

  /** `lists`: the jobs that are there already have a line each, before all else. */
  constructor(lists: boolean) {
    this.#first = lists;
  }

  show(jobs: readonly JobView[]): void {
    if (this.#first) for (const line of listed(jobs)) write(`${line}\n`);
    this.#first = false;
  }

  state(id: string, status: string): void {
    // A job that is dismissed is no more.
    if (status !== 'null') write(`${shown(id)}  ${status}\n`);
  }

  end(): void {}
}
