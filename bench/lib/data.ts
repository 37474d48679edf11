// Seeded data sets, made once and kept in the bench's folder. The content is of the kind that file systems hold:
// text of a small vocabulary, records with counters, and incompressible stretches, so that codecs have real work.
//
//   fs       1 GiB, nearly all data              mixed    1 GiB, half zeroes in runs of 4 KiB to 4 MiB
//   scatter  64 GiB qcow2, 2% of the clusters    chain    fs with two overlays of 64 MiB each
//   small    64 MiB qcow2, nearly empty

import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import { basename, join } from 'node:path';

export const SEED = 20261120;
const MIB = 1 << 20;

/** sfc32: small, quick, good enough for data. */
export function prng(seed: number): () => number {
  let a = seed | 0;
  let b = 0x9e3779b9;
  let c = 0x243f6a88;
  let d = 1;
  const next = (): number => {
    const t = (a + b + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + t;
    return t >>> 0;
  };
  for (let i = 0; i < 16; i++) next();
  return next;
}

/** One MiB of mixed content. */
function fillBlock(block: Buffer, random: () => number): void {
  let at = 0;
  while (at < block.length) {
    const length = Math.min(block.length - at, 4096 << (random() % 5));
    const kind = random() % 10;
    const part = block.subarray(at, at + length);
    if (kind < 5) fillText(part, random);
    else if (kind < 7) fillRecords(part, random);
    else if (kind < 9) fillCode(part, random);
    else for (let i = 0; i + 4 <= length; i += 4) part.writeUInt32LE(random(), i);
    at += length;
  }
}

const WORDS = Array.from({ length: 600 }, (_, i) => {
  const random = prng(i + 1);
  return Array.from({ length: 2 + (random() % 9) }, () => String.fromCharCode(97 + (random() % 26))).join('');
});

function fillText(part: Buffer, random: () => number): void {
  let at = 0;
  while (at < part.length) {
    const word = WORDS[Math.floor((random() / 2 ** 32) ** 2 * WORDS.length)];
    at += part.write(word, at, 'latin1');
    if (at < part.length) part[at++] = random() % 12 === 0 ? 10 : 32;
  }
}

function fillRecords(part: Buffer, random: () => number): void {
  const base = random();
  for (let at = 0, n = 0; at + 32 <= part.length; at += 32, n++) {
    part.fill(0, at, at + 32);
    part.writeUInt32LE((base + n) >>> 0, at);
    part.writeUInt32LE(random() % 5000, at + 4);
    part.writeUInt32LE(0x5f000000 + (random() % 65536), at + 8);
    part.writeUInt16LE(random() & 0xffff, at + 16);
  }
}

function fillCode(part: Buffer, random: () => number): void {
  const opcodes = [0x48, 0x89, 0x8b, 0xe8, 0x0f, 0x85, 0x74, 0x24, 0x10, 0xc3, 0x55, 0x5d, 0x83, 0xec];
  for (let at = 0; at < part.length; at++) {
    part[at] = random() % 3 === 0 ? random() & 0xff : opcodes[random() % opcodes.length];
  }
}

/** What is to be made, in order. */
const parts = new Map<string, (path: string) => void>();

/** `path`, which `makeData` makes by `make` unless it is there; a half-made file never counts. */
export function once(path: string, make: (path: string) => void): string {
  parts.set(path, make);
  return path;
}

/** Makes all that `once` was told of. */
export function makeData(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const [path, make] of parts) {
    if (existsSync(path)) continue;
    console.error(`making ${path}`);
    make(`${path}.part`);
    renameSync(`${path}.part`, path);
  }
}

/** Writes `sizeMib` MiB; `zeroPart` of it are holes. */
function writeRaw(path: string, sizeMib: number, zeroPart: number, seed: number): void {
  const random = prng(seed);
  const blocks = Array.from({ length: 48 }, () => {
    const block = Buffer.alloc(MIB);
    fillBlock(block, random);
    return block;
  });
  const fd = openSync(path, 'w');
  ftruncateSync(fd, sizeMib * MIB);
  const end = sizeMib * MIB;
  let at = 0;
  let written = 0;
  while (at < end) {
    const length = Math.min(end - at, 4096 << (random() % 11));
    const zero = zeroPart > 0 && (at - written) / Math.max(at, 1) < zeroPart;
    if (!zero) {
      for (let done = 0; done < length; done += MIB) {
        const block = blocks[random() % blocks.length];
        block.writeUInt32LE(random(), (random() % 255) * 4096);
        writeSync(fd, block, 0, Math.min(MIB, length - done), at + done);
      }
      written += length;
    }
    at += length;
  }
  closeSync(fd);
}

export function qemuImg(...words: string[]): void {
  const { status, stderr } = spawnSync('qemu-img', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`qemu-img ${words.join(' ')}: ${stderr}`);
}

/** `commands` go to one qemu-io. */
function qemuIo(image: string, commands: string[]): void {
  const { status, stderr } = spawnSync('qemu-io', ['-f', 'qcow2', '-d', 'unmap', image], {
    encoding: 'utf8',
    input: `${commands.join('\n')}\nq\n`,
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(`qemu-io ${image}: ${stderr}`);
}

export interface DataSet {
  folder: string;
  fsRaw: string;
  fsQcow2: string;
  mixedRaw: string;
  mixedQcow2: string;
  scatter: string;
  fs256Raw: string;
  fs256Zlib: string;
  fs256Zstd: string;
  /** base <- mid <- top */
  chain: [string, string, string];
  /** qcow2 of 64 MiB, of which 256 KiB are written. */
  small: string;
  /** The same base, with nine overlays of 32 MiB each. */
  chain10: string[];
  /** The first 64 and 256 MiB of `fs`. */
  heads: { mib: number; path: string }[];
}

/** `fs` in another format, as qemu-img makes it. */
export function inFormat({ folder, fsRaw }: DataSet, format: string): string {
  return once(join(folder, `fs.${format}`), (path) => qemuImg('convert', '-f', 'raw', '-O', format, fsRaw, path));
}

/** The data sets below `folder`: where they are once `makeData` has made them. */
export function dataIn(folder: string): DataSet {
  const file = (name: string) => join(folder, name);
  const fsRaw = once(file('fs.raw'), (path) => writeRaw(path, 1024, 0, SEED));
  const mixedRaw = once(file('mixed.raw'), (path) => writeRaw(path, 1024, 0.5, SEED + 1));
  const fs256Raw = once(file('fs256.raw'), (path) => writeRaw(path, 256, 0, SEED + 2));
  const toQcow2 =
    (source: string, ...words: string[]) =>
    (path: string) =>
      qemuImg('convert', '-f', 'raw', '-O', 'qcow2', ...words, source, path);
  const scatter = once(file('scatter.qcow2'), (path) => {
    qemuImg('create', '-q', '-f', 'qcow2', path, '64G');
    const random = prng(SEED + 3);
    const clusters = new Set<number>();
    while (clusters.size < 20971) clusters.add(random() % (1 << 20));
    qemuIo(
      path,
      [...clusters].map((cluster) => `write -q -P ${1 + (cluster % 250)} ${cluster * 65536} 65536`),
    );
  });
  const small = once(file('small.qcow2'), (path) => {
    qemuImg('create', '-q', '-f', 'qcow2', path, '64M');
    qemuIo(path, ['write -q -P 7 1M 256k']);
  });
  const base = once(file('base.qcow2'), toQcow2(fsRaw));
  const overlay = (name: string, backing: string, seed: number, writes = 256) =>
    once(file(name), (path) => {
      qemuImg('create', '-q', '-f', 'qcow2', '-b', backing, '-F', 'qcow2', path);
      const random = prng(seed);
      qemuIo(
        path,
        Array.from(
          { length: writes },
          () => `write -q -P ${1 + (random() % 250)} ${(random() % 4095) * 262144} 262144`,
        ),
      );
    });
  const mid = overlay('mid.qcow2', 'base.qcow2', SEED + 4);
  const top = overlay('top.qcow2', 'mid.qcow2', SEED + 5);
  const overlays = (below: string, count: number): string[] => {
    const chain = [below];
    for (let i = 1; i <= count; i++) chain.push(overlay(`ten${i}.qcow2`, basename(chain[i - 1]), SEED + 5 + i, 128));
    return chain;
  };
  /** `mib` MiB of `fs`: its own size, not a part of a larger one. */
  const head = (mib: number) => (path: string) => {
    const raw = { driver: 'raw', size: mib * MIB, file: { driver: 'file', filename: fsRaw } };
    qemuImg('convert', '-O', 'qcow2', `json:${JSON.stringify(raw)}`, path);
  };
  return {
    folder,
    fsRaw,
    fsQcow2: base,
    mixedRaw,
    mixedQcow2: once(file('mixed.qcow2'), toQcow2(mixedRaw)),
    scatter,
    fs256Raw,
    fs256Zlib: once(file('fs256.zlib.qcow2'), toQcow2(fs256Raw, '-c', '-W', '-m', '16')),
    fs256Zstd: once(file('fs256.zstd.qcow2'), toQcow2(fs256Raw, '-c', '-W', '-m', '16', '-o', 'compression_type=zstd')),
    chain: [base, mid, top],
    small,
    chain10: overlays(base, 9),
    heads: [64, 256].map((mib) => ({ mib, path: once(file(`fs${mib}.qcow2`), head(mib)) })),
  };
}
