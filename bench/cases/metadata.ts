// map, check and info of a 64 GiB image with 2% scattered clusters; the creation of one whose tables are all there; and what a command costs at all: a small image, beside qemu-img and beside
// node with an empty program. Whole commands.

import { join } from 'node:path';
import type { DataSet } from '../lib/data.js';
import { type Case, command } from '../lib/measure.js';

export function metadataCases(data: DataSet, ours: readonly string[]): Case[] {
  const one = (name: string, words: string[], aim?: number): Case => ({
    name: `metadata.${name}`,
    bytes: 0,
    ...(aim === undefined ? {} : { aim }),
    ours: { name: 'diskwright', run: command(data.folder, [...ours, ...words]) },
    peers: [{ name: 'qemu-img', run: command(data.folder, ['qemu-img', ...words]) }],
  });
  const small = (name: string, words: string[]): Case => {
    const { peers, ...rest } = one(`small.${name}`, words);
    return {
      ...rest,
      peers: [...peers, { name: 'node -e 0', run: command(data.folder, [process.execPath, '-e', '0']) }],
    };
  };
  const made = join(data.folder, 'made.qcow2');
  return [
    one('map.scatter', ['map', '--output=json', data.scatter]),
    one('check.scatter', ['check', data.scatter]),
    one('info.scatter', ['info', data.scatter]),
    one('create.preallocated', ['create', '-f', 'qcow2', '-o', 'preallocation=metadata', made, '64G'], 3),
    one('map.chain3', ['map', '--output=json', data.chain[2]]),
    small('info', ['info', data.small]),
    small('check', ['check', data.small]),
    small('map', ['map', data.small]),
    small('create', ['create', '-f', 'qcow2', made, '1G']),
  ];
}
