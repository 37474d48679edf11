// Jobs as text, one line each, and as JSON.

import { printable } from '../../util/foreign-text.js';
import { formatSize } from '../../util/size.js';
import { barLine } from '../progress.js';
import type { JobView } from './sample.js';

/** `m  mirror  running  [=====>     ]  47%  1.2 GiB of 2.5 GiB  310 MiB/s  0:04`, each at most `columns` wide (0: any width). */
export function jobLines(jobs: readonly JobView[], columns = 0): string[] {
  const heads = inColumns(jobs.map(({ info: { id, type, status } }) => [printable(id), type, status]));
  return jobs.map((job, i) => {
    const { info, block, bytesPerSecond, etaMs } = job;
    const state = { current: info['current-progress'], total: info['total-progress'], bytesPerSecond, etaMs };
    const room = columns === 0 ? 0 : Math.max(1, columns - heads[i].length - 2);
    const notes = [];
    if (block !== undefined && block.speed > 0) notes.push(`limit ${formatSize(block.speed)}/s`);
    if (block !== undefined && block['io-status'] !== 'ok') notes.push(`io-status ${block['io-status']}`);
    const error = info.error ?? block?.error;
    if (error !== undefined) notes.push(printable(error));
    const line = [`${heads[i]}  ${barLine(state, room)}`, ...notes].join('  ');
    return columns === 0 ? line : line.slice(0, columns - 1);
  });
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
