// Jobs as text, one line each, and as JSON.

import type { BlockJobInfo, JobStatus } from '../../schema/generated/types.js';
import { printable } from '../../util/foreign-text.js';
import { formatSize } from '../../util/size.js';
import { barLine } from '../progress.js';
import type { JobView } from './sample.js';

/** Columns that an id leaves to the rest of its line, where there are so many. */
const REST = 68;
const SHORTEST_ID = 12;

/** States that last until somebody gives the job a verb; the last two pass by themselves where the job was started so. */
const AWAITED: Readonly<Partial<Record<string, string>>> = {
  paused: 'resume',
  ready: 'complete',
  standby: 'resume',
  pending: 'finalize',
  concluded: 'dismiss',
};

/**
 * `m  mirror  running  [=====>     ]  47%  1.2 GiB of 2.5 GiB  310 MiB/s  0:04`, each at most `columns` wide (0: any width). Where there is not
 * enough room, long ids lose their middle, the bars get shorter, all to the same width, and then the last parts of a line are left out.
 */
export function jobLines(jobs: readonly JobView[], columns = 0): string[] {
  const longest = columns === 0 ? Number.POSITIVE_INFINITY : Math.max(SHORTEST_ID, columns - REST);
  const heads = inColumns(
    jobs.map(({ info: { id, type, status } }) => [shortened(printable(id), longest), type, status]),
  );
  const tails = jobs.map((job, i) => {
    const room = columns === 0 ? 0 : Math.max(1, columns - heads[i].length - 2);
    return (widest?: number): string => tail(job, room, widest);
  });
  const bars = tails.map((draw) => draw().indexOf(']') - 1).filter((width) => width > 0);
  return tails.map((draw, i) => {
    const line = `${heads[i]}  ${draw(bars.length === 0 ? undefined : Math.min(...bars))}`;
    return columns === 0 ? line : line.slice(0, columns - 1);
  });
}

/** The whole list, which says so where there are none. */
export function listed(jobs: readonly JobView[], columns = 0): string[] {
  return jobs.length === 0 ? ['No jobs.'] : jobLines(jobs, columns);
}

/** How far a job is, or why it has failed. */
function tail({ info, block, bytesPerSecond, etaMs }: JobView, room: number, widest?: number): string {
  const notes = [];
  if (block !== undefined && block['io-status'] !== 'ok') notes.push(`io-status ${block['io-status']}`);
  const error = info.error ?? block?.error;
  if (error !== undefined) notes.push(printable(error));
  const awaited = awaitedVerb(info.status, block);
  if (awaited !== undefined) notes.push(`waits for ${awaited}`);
  if (block !== undefined && block.speed > 0) notes.push(`limit ${formatSize(block.speed)}/s`);
  const [current, total] = [info['current-progress'], info['total-progress']];
  const line = barLine({ current, total, bytesPerSecond, etaMs, notes }, room, widest);
  // An error is not left out for a bar; it is cut where even alone it is too long.
  return error === undefined || line.includes(printable(error)) ? line : notes.join('  ');
}

/** The verb without which nothing goes on. */
function awaitedVerb(status: JobStatus, block: BlockJobInfo | undefined): string | undefined {
  const passes =
    (status === 'pending' && block?.['auto-finalize']) || (status === 'concluded' && block?.['auto-dismiss']);
  return passes ? undefined : AWAITED[status];
}

function shortened(id: string, longest: number): string {
  if (id.length <= longest) return id;
  const kept = longest - 3;
  return `${id.slice(0, Math.ceil(kept / 2))}...${id.slice(id.length - Math.floor(kept / 2))}`;
}

function inColumns(rows: readonly (readonly string[])[]): string[] {
  const widths = [0, 1, 2].map((column) => Math.max(0, ...rows.map((row) => row[column].length)));
  return rows.map((row) => row.map((text, column) => text.padEnd(widths[column])).join('  '));
}

/** Members have QAPI's names where QAPI has them. */
export function jobObjects(jobs: readonly JobView[]): object[] {
  return jobs.map(({ info, block, bytesPerSecond, etaMs }) => ({
    ...info,
    percent: percentOf(info['current-progress'], info['total-progress']),
    'bytes-per-second': bytesPerSecond === undefined ? null : Math.round(bytesPerSecond),
    'eta-seconds': etaMs === undefined ? null : Number((etaMs / 1000).toFixed(1)),
    ...(block !== undefined && { speed: block.speed, 'io-status': block['io-status'] }),
  }));
}

function percentOf(current: number, total: number): number {
  return total === 0 ? 100 : Number(((current / total) * 100).toFixed(2));
}
