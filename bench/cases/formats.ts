// convert from raw and back, for each format that images are made in and that QEMU's tools have, too: hot cache, and O_DIRECT. Whole commands.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { allDrivers } from '../../src/block/registry.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { type DataSet, inFormat } from '../lib/data.js';
import { type Case, command } from '../lib/measure.js';

const GIB = 1 << 30;
const DIRECT = ['-t', 'none', '-T', 'none'];
/** They have cases of their own. */
const ELSEWHERE = ['raw', 'qcow2', 'luks'];

export function formatCases(data: DataSet, ours: readonly string[]): Case[] {
  registerDrivers();
  const formats = [...allDrivers()]
    .filter(({ name, kind, create }) => kind === 'format' && create !== undefined && !ELSEWHERE.includes(name))
    .map(({ name }) => name)
    .sort();
  const target = join(data.folder, 'out.img');
  const prepare = () => rmSync(target, { force: true });
  const oneCase = (name: string, aim: number, words: readonly string[], source: string): Case => {
    const run = (...program: string[]) => command(data.folder, [...program, 'convert', ...words, source, target]);
    return {
      name: `formats.${name}`,
      bytes: GIB,
      aim,
      ours: { name: 'diskwright', prepare, run: run(...ours) },
      peers: [{ name: 'qemu-img', prepare, run: run('qemu-img') }],
    };
  };
  return formats.flatMap((format) => {
    const image = inFormat(data, format);
    const [to, from] = [
      ['-f', 'raw', '-O', format],
      ['-f', format, '-O', 'raw'],
    ];
    return [
      oneCase(`${format}.raw-${format}`, 1.3, to, data.fsRaw),
      oneCase(`${format}.${format}-raw`, 1.3, from, image),
      oneCase(`${format}.raw-${format}.direct`, 1.5, [...DIRECT, ...to], data.fsRaw),
      oneCase(`${format}.${format}-raw.direct`, 1.5, [...DIRECT, ...from], image),
    ];
  });
}
