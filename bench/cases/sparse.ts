// Peak memory on a huge sparse image: 1 TiB with data at both ends. The time says little, the peak must stay small.

import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type DataSet, once } from '../lib/data.js';
import { type Case, command } from '../lib/measure.js';

export function sparseCases(data: DataSet, ours: readonly string[]): Case[] {
  const target = join(data.folder, 'tib.out');
  const source = once(join(data.folder, 'tib.qcow2'), (path) => {
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', path, '1T']);
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -q 0 64M', '-c', 'write -q 1048512M 64M', path]);
  });
  const prepare = () => rmSync(target, { force: true });
  const words = ['convert', '-f', 'qcow2', '-O', 'qcow2', source, target];
  return [
    {
      name: 'sparse.1TiB.qcow2-qcow2',
      bytes: 0,
      ours: { name: 'diskwright', prepare, run: command(data.folder, [...ours, ...words]) },
      peers: [{ name: 'qemu-img', prepare, run: command(data.folder, ['qemu-img', ...words]) }],
    },
  ];
}
