// map, check and info of a 64 GiB image with 2% scattered clusters, and what a command costs at all. Whole commands.

import type { DataSet } from '../lib/data.js';
import { type Case, command } from '../lib/measure.js';

export function metadataCases(data: DataSet, ours: readonly string[]): Case[] {
  const one = (name: string, words: string[]): Case => ({
    name: `metadata.${name}`,
    bytes: 0,
    ours: { name: 'diskwright', run: command(data.folder, [...ours, ...words]) },
    peers: [{ name: 'qemu-img', run: command(data.folder, ['qemu-img', ...words]) }],
  });
  return [
    one('map.scatter', ['map', '--output=json', data.scatter]),
    one('check.scatter', ['check', data.scatter]),
    one('info.scatter', ['info', data.scatter]),
    one('map.chain3', ['map', '--output=json', data.chain[2]]),
  ];
}
