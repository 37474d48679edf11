// compare: images that are the same, so that all of both is read, out of the page cache. Whole commands. Two times the same qcow2 file is as much work as two
// copies of it.

import type { DataSet } from '../lib/data.js';
import { type Case, command } from '../lib/measure.js';

const GIB = 1 << 30;
const AIM = 2;

export function compareCases(data: DataSet, ours: readonly string[]): Case[] {
  const one = (name: string, ...words: string[]): Case => ({
    name: `compare.${name}`,
    bytes: GIB,
    aim: AIM,
    ours: { name: 'diskwright', run: command(data.folder, [...ours, 'compare', ...words]) },
    peers: [{ name: 'qemu-img', run: command(data.folder, ['qemu-img', 'compare', ...words]) }],
  });
  const rawQcow2 = ['-f', 'raw', '-F', 'qcow2'];
  const qcow2Qcow2 = ['-f', 'qcow2', '-F', 'qcow2'];
  return [
    one('fs.raw-qcow2', ...rawQcow2, data.fsRaw, data.fsQcow2),
    one('fs.qcow2-qcow2', ...qcow2Qcow2, data.fsQcow2, data.fsQcow2),
    one('mixed.raw-qcow2', ...rawQcow2, data.mixedRaw, data.mixedQcow2),
    one('mixed.qcow2-qcow2', ...qcow2Qcow2, data.mixedQcow2, data.mixedQcow2),
  ];
}
