// The list of internal snapshots, as qemu-img prints it.

import type { SnapshotInfo } from '../schema/generated/types.js';
import { encodeName } from '../util/name-bytes.js';
import { formatSize } from '../util/size.js';
import { shown } from './output.js';

/** Order of the members of a snapshot in qemu-img's JSON. */
export const SNAPSHOT_KEYS: readonly string[] = [
  'icount',
  'vm-clock-nsec',
  'name',
  'date-sec',
  'date-nsec',
  'vm-clock-sec',
  'id',
  'vm-state-size',
];

/** The list with its headings, one line each; empty where there are no snapshots. */
export function snapshotList(snapshots: readonly SnapshotInfo[]): string[] {
  if (snapshots.length === 0) return [];
  return ['Snapshot list:', line('ID', 'TAG', 'VM SIZE', 'DATE', 'VM CLOCK', 'ICOUNT'), ...snapshots.map(snapshotLine)];
}

function snapshotLine(info: SnapshotInfo): string {
  const { id, name, icount } = info;
  const size = formatSize(info['vm-state-size']);
  const count = icount === undefined ? '' : String(icount);
  return line(shown(id), shown(name), size, localTime(info['date-sec']), clock(info), count);
}

function line(id: string, tag: string, size: string, date: string, time: string, count: string): string {
  return `${padded(id, 9)} ${padded(tag, 16)} ${size.padStart(8)}${date.padStart(20)}${time.padStart(13)}${count.padStart(11)}`;
}

/** Columns are counted in bytes. */
function padded(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - encodeName(text).length));
}

function localTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')}`;
}

function clock(info: SnapshotInfo): string {
  const seconds = info['vm-clock-sec'];
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const milliseconds = Math.floor(info['vm-clock-nsec'] / 1_000_000);
  return `${parts.map(two).join(':')}.${String(milliseconds).padStart(3, '0')}`;
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}
