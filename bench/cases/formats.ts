// convert from raw and back, for each format that images are made in and that QEMU's tools have, too: hot cache, and O_DIRECT. Whole commands.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { allDrivers } from '../../src/block/registry.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { type DataSet, inFormat, once, qemuImg } from '../lib/data.js';
import { type Case, command } from '../lib/measure.js';

const GIB = 1 << 30;
const DIRECT = ['-t', 'none', '-T', 'none'];
/** raw, qcow2 and luks have cases of their own; qemu-img has no cow. */
const LEFT_OUT = ['raw', 'qcow2', 'luks', 'cow'];
const STREAM = ['-O', 'vmdk', '-o', 'subformat=streamOptimized'];

export function formatCases(data: DataSet, ours: readonly string[]): Case[] {
  registerDrivers();
  const formats = [...allDrivers()]
    .filter(({ name, kind, create }) => kind === 'format' && create !== undefined && !LEFT_OUT.includes(name))
    .map(({ name }) => name)
    .sort();
  const target = join(data.folder, 'out.img');
  const prepare = () => rmSync(target, { force: true });
  const oneCase = (name: string, aim: number, words: readonly string[], source: string, bytes = GIB): Case => {
    const run = (...program: string[]) => command(data.folder, [...program, 'convert', ...words, source, target]);
    return {
      name: `formats.${name}`,
      bytes,
      aim,
      ours: { name: 'diskwright', prepare, run: run(...ours) },
      peers: [{ name: 'qemu-img', prepare, run: run('qemu-img') }],
    };
  };
  const stream = once(join(data.folder, 'fs256.stream.vmdk'), (path) =>
    qemuImg('convert', '-f', 'raw', ...STREAM, data.fs256Raw, path),
  );
  const streams = [
    oneCase('vmdk.raw-stream', 2, ['-f', 'raw', ...STREAM], data.fs256Raw, GIB / 4),
    oneCase('vmdk.stream-raw', 2, ['-f', 'vmdk', '-O', 'raw'], stream, GIB / 4),
  ];
  const plain = formats.flatMap((format) => {
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
  return [...plain, ...streams];
}
