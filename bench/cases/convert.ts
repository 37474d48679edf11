// convert: raw and qcow2 both ways, hot cache and O_DIRECT, and compressed clusters both ways. Whole commands. Then `convert IMAGE -`, into a pipe that `cat` reads and
// writes to a file, beside what takes its place with qemu-img: a copy in a file, and `cat` of that.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { DataSet } from '../lib/data.js';
import { type Case, type Contender, command } from '../lib/measure.js';

interface Shape {
  name: string;
  source: (data: DataSet) => string;
  words: string[];
  bytes: number;
  aim: number;
  /** Also against `-W -m 16`, the peer's best, with this aim. */
  parallel?: number;
}

const GIB = 1 << 30;
const RAW_QCOW2 = ['-f', 'raw', '-O', 'qcow2'];
const QCOW2_RAW = ['-f', 'qcow2', '-O', 'raw'];
const QCOW2_QCOW2 = ['-f', 'qcow2', '-O', 'qcow2'];
const DIRECT = ['-t', 'none', '-T', 'none'];
const ZSTD = ['-c', '-o', 'compression_type=zstd'];

const SHAPES: Shape[] = [
  { name: 'fs.raw-qcow2', source: (d) => d.fsRaw, words: RAW_QCOW2, bytes: GIB, aim: 1.5, parallel: 1.25 },
  { name: 'fs.qcow2-raw', source: (d) => d.fsQcow2, words: QCOW2_RAW, bytes: GIB, aim: 1.5, parallel: 1.25 },
  { name: 'fs.qcow2-qcow2', source: (d) => d.fsQcow2, words: QCOW2_QCOW2, bytes: GIB, aim: 1.5, parallel: 1.25 },
  { name: 'mixed.raw-qcow2', source: (d) => d.mixedRaw, words: RAW_QCOW2, bytes: GIB, aim: 2, parallel: 1.25 },
  { name: 'mixed.qcow2-raw', source: (d) => d.mixedQcow2, words: QCOW2_RAW, bytes: GIB, aim: 2, parallel: 1.25 },
  { name: 'mixed.qcow2-qcow2', source: (d) => d.mixedQcow2, words: QCOW2_QCOW2, bytes: GIB, aim: 2, parallel: 1.25 },
  {
    name: 'scatter.qcow2-qcow2',
    source: (d) => d.scatter,
    words: QCOW2_QCOW2,
    bytes: 20971 * 65536,
    aim: 1.5,
    parallel: 1.25,
  },
  { name: 'chain3.qcow2-qcow2', source: (d) => d.chain[2], words: QCOW2_QCOW2, bytes: GIB, aim: 1.5 },
  {
    name: 'chain10.qcow2-qcow2',
    source: (d) => d.chain10[9],
    words: QCOW2_QCOW2,
    bytes: GIB,
    aim: 1.5,
    parallel: 1.25,
  },
  {
    name: 'fs.raw-qcow2.direct',
    source: (d) => d.fsRaw,
    words: [...DIRECT, ...RAW_QCOW2],
    bytes: GIB,
    aim: 1,
    parallel: 1,
  },
  {
    name: 'fs.qcow2-qcow2.direct',
    source: (d) => d.fsQcow2,
    words: [...DIRECT, ...QCOW2_QCOW2],
    bytes: GIB,
    aim: 1,
    parallel: 1,
  },
  {
    name: 'compress.zlib',
    source: (d) => d.fs256Raw,
    words: ['-c', ...RAW_QCOW2],
    bytes: GIB / 4,
    aim: 2,
    parallel: 1.25,
  },
  {
    name: 'compress.zstd',
    source: (d) => d.fs256Raw,
    words: [...ZSTD, ...RAW_QCOW2],
    bytes: GIB / 4,
    aim: 1,
    parallel: 1,
  },
  { name: 'decompress.zlib', source: (d) => d.fs256Zlib, words: QCOW2_RAW, bytes: GIB / 4, aim: 1.5, parallel: 1.25 },
  { name: 'decompress.zstd', source: (d) => d.fs256Zstd, words: QCOW2_RAW, bytes: GIB / 4, aim: 1.5, parallel: 1.25 },
];

export function convertCases(data: DataSet, ours: readonly string[]): Case[] {
  const target = join(data.folder, 'out.img');
  const prepare = () => rmSync(target, { force: true });
  return SHAPES.map(({ name, source, words, bytes, aim, parallel }) => {
    const run = (...program: string[]) => command(data.folder, [...program, 'convert', ...words, source(data), target]);
    const parallelWords = ['qemu-img', 'convert', '-W', '-m', '16', ...words, source(data), target];
    return {
      name: `convert.${name}`,
      bytes,
      aim,
      ours: { name: 'diskwright', prepare, run: run(...ours) },
      peers: [
        { name: 'qemu-img', prepare, run: run('qemu-img') },
        ...(parallel === undefined
          ? []
          : [{ name: 'qemu-img -W -m 16', aim: parallel, prepare, run: command(data.folder, parallelWords) }]),
      ],
    };
  });
}

const STREAMED: { name: string; source: (data: DataSet) => string; format: string }[] = [
  { name: 'fs.raw', source: (d) => d.fsQcow2, format: 'raw' },
  { name: 'fs.qcow2', source: (d) => d.fsQcow2, format: 'qcow2' },
  { name: 'mixed.raw', source: (d) => d.mixedQcow2, format: 'raw' },
  { name: 'mixed.qcow2', source: (d) => d.mixedQcow2, format: 'qcow2' },
];

/** A line of a shell: its words are `$1`, `$2`, ... */
function shellLine(data: DataSet, line: string, ...words: string[]): Contender['run'] {
  return command(data.folder, ['bash', '-c', `set -e -o pipefail; ${line}`, 'bash', ...words]);
}

/** `convert IMAGE -`. */
export function streamedCases(data: DataSet, ours: readonly string[]): Case[] {
  const [target, copy] = [join(data.folder, 'out.img'), join(data.folder, 'out.copy')];
  const prepare = () => {
    for (const path of [target, copy]) rmSync(path, { force: true });
  };
  return STREAMED.map(({ name, source, format }) => {
    const image = source(data);
    const piped = 'to=$1 from=$2 format=$3; shift 3; "$@" convert -f qcow2 -O "$format" "$from" - | cat > "$to"';
    const copied =
      'to=$1 from=$2 format=$3 copy=$4; qemu-img convert -f qcow2 -O "$format" "$from" "$copy"; cat "$copy" | cat > "$to"; rm "$copy"';
    return {
      name: `convert-out.${name}`,
      bytes: GIB,
      aim: 1,
      ours: { name: 'diskwright', prepare, run: shellLine(data, piped, target, image, format, ...ours) },
      peers: [{ name: 'qemu-img, then cat', prepare, run: shellLine(data, copied, target, image, format, copy) }],
    };
  });
}
