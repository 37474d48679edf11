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
  /** A command that is over at once takes at most 1.35 times as long as node does for nothing. */
  const small = (name: string, words: string[], program = 'qemu-img'): Case => ({
    ...one(`small.${name}`, words),
    peers: [
      { name: 'node -e 0', run: command(data.folder, [process.execPath, '-e', '0']), aim: 0.74 },
      { name: program, run: command(data.folder, [program, ...(program === 'qemu-io' ? words.slice(1) : words)]) },
    ],
  });
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
    small('snapshot', ['snapshot', '-l', data.small]),
    small('measure', ['measure', '-O', 'qcow2', data.small]),
    small('io', ['io', '-c', 'quit', data.small], 'qemu-io'),
    small('help', ['--help']),
    small('version', ['--version']),
  ];
}
