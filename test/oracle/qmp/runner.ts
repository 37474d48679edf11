// One script of QMP commands, sent to qemu-storage-daemon (or, where it is about devices, to a virtual machine without anything) and to us, and what is the same in both: answers, error classes and texts, and the
// events of each job.
//
//   script --> daemon in a folder of its own --> transcript --+
//          --> ours, in another one, same files -> transcript --+--> equal but for what `filtered` takes out

import { mkdirSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../../support/cli.js';
import { type Json, StorageDaemon } from '../../support/qmp.js';
import { GUEST_EXPORT, type Guest, type GuestRequest, type Guests } from './guest/guest.js';
import { count } from './tally.js';

/** A command, an event that has to come before the script goes on, events that are not awaited any more, or something of the guest. */
export type Step =
  | { execute: string; arguments?: Json }
  | { until: string; data?: Json; ifDone?: boolean }
  | { soFar: true }
  | { guest: GuestRequest | 'answer' };

export const command = (execute: string, words?: Json): Step => ({
  execute,
  ...(words !== undefined && { arguments: words }),
});

export const until = (event: string, data?: Json): Step => ({ until: event, data });

/** The same where the command before it did not fail. */
export const untilIfDone = (event: string, data?: Json): Step => ({ until: event, data, ifDone: true });

/** The next event that is awaited is one that comes after the last answer: a filter that comes into the graph pauses a job, too. */
export const SO_FAR: Step = { soFar: true };

export const guest = (does: GuestRequest | 'answer'): Step => ({ guest: does });

/** Waits for a job's state. */
export const untilStatus = (id: string, status: string): Step => until('JOB_STATUS_CHANGE', { id, status });

interface Transcript {
  /** Each command with its answer. */
  answers: string[];
  /** Events of each job, and of everything else, in order. */
  events: Record<string, string[]>;
}

/** Members that say how far something has come, or what lies on this disk. */
const VOLATILE = ['timestamp', 'actual-size', 'busy', 'current-progress', 'offset', 'package', 'qemu', 'pty'];
/** Of devices: there, no device model holds them, and the medium could be taken out; here, each is one itself, and has an error policy at work. */
const OF_DEVICE_MODELS = ['removable', 'io-status'];

/** A machine without a processor, memory and guest. It runs at once, as we do. */
export const MACHINE: readonly string[] = ['qemu-system-x86_64', '-M', 'none', '-nodefaults', '-display', 'none'];

export const OURS = (shop: Workshop): string[] => [process.execPath, shop.bundle, 'daemon'];

export interface Setup {
  /** Makes the files of a script, in the folder that it works in. */
  files?: (shop: Workshop, folder: string) => void;
  /** Words of the daemon's command line. `DIR` stands for the folder. */
  words?: readonly string[];
  /** Words of our command line alone. */
  ourWords?: readonly string[];
  /** Whether events are compared. Default: true. */
  events?: boolean;
  /** The reference is a machine: it has devices (`--drive`). */
  machine?: boolean;
  /** The reference is a machine with a guest, and our device has one, too. */
  guests?: Guests;
  /** Takes out what may differ, and why is said beside it. */
  filter?: (text: string) => string;
}

/** For a test's body: `expectSame`. The commands are counted at once, whether the test is run or not. */
export function comparing(script: readonly Step[], setup: Setup = {}): () => Promise<void> {
  count(script);
  return () => expectSame(script, setup);
}

/** Runs `script` (in which `DIR` stands for the folder) with both daemons and compares. */
export async function expectSame(script: readonly Step[], setup: Setup = {}): Promise<void> {
  const shop = await Workshop.open();
  try {
    const { guests } = setup;
    const program = guests?.program ?? (setup.machine ? MACHINE : ['qemu-storage-daemon']);
    const theirs = await transcript(shop, 'theirs', program, script, setup, guests?.theirs);
    const own = [...OURS(shop), ...(setup.ourWords ?? [])];
    const ours = await transcript(shop, 'ours', own, script, setup, guests?.ours);
    expect(differences(ours.answers, theirs.answers)).to.equal('');
    if (setup.events !== false) expect(parting(ours.events, theirs.events)).to.equal('');
  } finally {
    shop.remove();
  }
}

const AROUND = 300;

/** Each answer that differs, theirs and ours, where they begin to differ. */
function differences(ours: readonly string[], theirs: readonly string[]): string {
  return theirs
    .flatMap((line, i) => {
      const other = ours[i];
      if (line === other) return [];
      let at = 0;
      while (line[at] === other[at]) at++;
      const from = Math.max(0, at - AROUND);
      const part = (text: string) => `${from > 0 ? '...' : ''}${text.slice(from, at + AROUND)}`;
      return [`${line.slice(0, line.indexOf(' -> '))}\n  THEIRS ${part(line)}\n  OURS   ${part(other)}`];
    })
    .join('\n');
}

/** Where the events about each thing begin to differ. */
function parting(ours: Transcript['events'], theirs: Transcript['events']): string {
  return [...new Set([...Object.keys(theirs), ...Object.keys(ours)])]
    .flatMap((about) => {
      const [mine = [], other = []] = [ours[about], theirs[about]];
      const at = Array.from({ length: Math.max(mine.length, other.length) }).findIndex((_, i) => mine[i] !== other[i]);
      if (at < 0) return [];
      const part = (events: string[]) => events.slice(Math.max(0, at - 3), at + 5).join('\n    ');
      return [`events of ${about}\n  THEIRS\n    ${part(other)}\n  OURS\n    ${part(mine)}`];
    })
    .join('\n');
}

async function transcript(
  shop: Workshop,
  name: string,
  program: readonly string[],
  script: readonly Step[],
  { files, words = [], filter = (text) => text, guests }: Setup,
  guestOf?: Guests['ours'],
): Promise<Transcript> {
  const folder = shop.path(name);
  mkdirSync(folder);
  files?.(shop, folder);
  const placed = (value: unknown) => JSON.parse(JSON.stringify(value).replaceAll('DIR', folder));
  // Where both devices have a guest, they are asked for more.
  const hidden = guests === undefined ? [...VOLATILE, ...OF_DEVICE_MODELS] : VOLATILE;
  const shown = (value: Json) => filter(JSON.stringify(filtered(value, hidden)).replaceAll(folder, 'DIR'));
  const daemon = await StorageDaemon.start(`${folder}/qmp`, [], placed([...program, ...words]) as string[]);
  const answers: string[] = [];
  const events: Json[] = [];
  const awaited = new Set<Json>();
  let user: Guest | undefined;
  let failed = false;
  try {
    user = await guestOf?.(daemon, folder);
    for (const step of script) {
      if ('guest' in step) {
        if (step.guest === 'answer') answers.push(`guest -> ${await user?.answer()}`);
        else await user?.begin(step.guest);
      } else if ('soFar' in step) events.push(...daemon.takeEvents());
      else if ('until' in step) {
        if (step.ifDone && failed) continue;
        await daemon.await(step.until, placed(step.data ?? {}) as Json, events);
        awaited.add(events[events.length - 1]);
      } else {
        const answer = await daemon.ask(placed(step) as Json);
        failed = 'error' in answer;
        answers.push(`${JSON.stringify(step)} -> ${shown(answer)}`);
      }
    }
    await daemon.quit();
    events.push(...daemon.takeEvents());
  } catch (error) {
    (error as Error).message +=
      `\nof ${program[0]}, after\n  ${[...answers.slice(-6), ...events.slice(-6).map(shown)].join('\n  ')}`;
    throw error;
  } finally {
    user?.end();
    daemon.kill();
  }
  const grouped: Record<string, string[]> = {};
  for (const event of withoutDrains(events, awaited)) {
    const data = (event['data'] ?? {}) as Json;
    // The end of a machine, and of the export that our guest has.
    if (event['event'] === 'SHUTDOWN' || data['id'] === GUEST_EXPORT) continue;
    const about = String(data['id'] ?? data['device'] ?? event['event']);
    grouped[about] ??= [];
    grouped[about].push(shown(event));
  }
  return { answers, events: grouped };
}

/**
 * Without a job's pauses that end at once: drained sections, by chance or because the reference puts a filter in. A pause that a script asked
 * for is one that it awaits.
 */
function withoutDrains(events: readonly Json[], awaited: ReadonlySet<Json>): Json[] {
  const kept: Json[] = [];
  const stateOf = (event: Json | undefined, status: string, id?: unknown): boolean => {
    const data = (event?.['data'] ?? {}) as Json;
    return (
      event?.['event'] === 'JOB_STATUS_CHANGE' && data['status'] === status && (id === undefined || data['id'] === id)
    );
  };
  for (const event of events) {
    const id = ((event['data'] ?? {}) as Json)['id'];
    // Other jobs' events may lie between.
    const last = kept.findLastIndex((earlier) => ((earlier['data'] ?? {}) as Json)['id'] === id);
    const ends = stateOf(event, 'running') && stateOf(kept[last], 'paused', id);
    if (ends && !awaited.has(kept[last])) kept.splice(last, 1);
    else kept.push(event);
  }
  return kept;
}

/** Nodes in an order that does not depend on when which of the nodes without a name came into the graph; the same of objects' properties and types. */
function inOrder(list: unknown[]): unknown[] {
  const isNode = (item: unknown): boolean =>
    typeof item === 'object' && item !== null && 'node-name' in item && ('drv' in item || 'stats' in item);
  const isProperty = (item: unknown): boolean =>
    typeof item === 'object' && item !== null && 'name' in item && ('type' in item || 'parent' in item);
  if (!list.every(isNode) && !list.every(isProperty)) return list;
  return list.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

/** Without what is hidden, members in order of their names, names that nobody gave all alike. */
export function filtered(value: unknown, hidden: readonly string[] = [...VOLATILE, ...OF_DEVICE_MODELS]): unknown {
  if (typeof value === 'string') return value.replace(/^#block\d+$/, '#block');
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return inOrder(value.map((item) => filtered(item, hidden)));
  const members = Object.entries(value).filter(([key]) => !hidden.includes(key));
  return Object.fromEntries(
    members.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, member]) => [key, filtered(member, hidden)]),
  );
}
