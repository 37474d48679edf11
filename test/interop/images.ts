// Images of all kinds, made by qemu-img and qemu-io and, where those make none, by changing bytes.

import { closeSync, openSync, readSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import type { Workshop } from '../support/cli.js';

const WRITES = ['write -P 1 0 200k', 'write -P 3 3M 256k'];

export interface Kind {
  name: string;
  /** Makes the image; the result is its name. */
  make(shop: Workshop): string;
}

function created(shop: Workshop, name: string, options: string, size = '8M', commands = WRITES): string {
  const image = `${name}.qcow2`;
  shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', ...(options === '' ? [] : ['-o', options]), image, size);
  if (commands.length > 0) shop.qemuIo(image, ...commands);
  return image;
}

function qcow2(name: string, options = '', size?: string, commands?: string[]): Kind {
  return { name, make: (shop) => created(shop, name, options, size, commands) };
}

function compressed(name: string, options: string): Kind {
  return {
    name,
    make(shop) {
      const plain = created(shop, `${name}-plain`, '');
      shop.must('qemu-img', 'convert', '-c', '-O', 'qcow2', '-o', options, plain, `${name}.qcow2`);
      return `${name}.qcow2`;
    },
  };
}

function overlay(shop: Workshop, name: string, base: string, format: string, options: string, size = ''): string {
  const image = `${name}.qcow2`;
  const more = options === '' ? [] : ['-o', options];
  shop.must(
    'qemu-img',
    'create',
    '-q',
    '-f',
    'qcow2',
    '-b',
    base,
    '-F',
    format,
    ...more,
    image,
    ...(size === '' ? [] : [size]),
  );
  return image;
}

export const KINDS: readonly Kind[] = [
  qcow2('plain'),
  qcow2('v2', 'compat=0.10'),
  qcow2('empty', '', '8M', []),
  qcow2('size0', '', '0', []),
  qcow2('odd-size', '', '1000000', ['write -P 1 0 999936']),
  qcow2('cluster512', 'cluster_size=512', '4M', ['write -P 1 0 2k', 'write -P 2 1M 100k']),
  qcow2('cluster4k', 'cluster_size=4k'),
  qcow2('cluster2m', 'cluster_size=2M', '64M'),
  ...[1, 2, 4, 8, 32, 64].map((bits) => qcow2(`refcount${bits}`, `refcount_bits=${bits}`)),
  qcow2('zeroes', '', '8M', ['write -z 0 1M', 'write -P 1 2M 1M', 'write -z 2M 256k', 'write -z -u 5M 64k']),
  qcow2('discarded', '', '8M', ['write -P 1 0 2M', 'discard 512k 512k']),
  qcow2(
    'scattered',
    '',
    '64M',
    Array.from({ length: 40 }, (_, i) => `write -P ${i + 1} ${((i * 37) % 64) * 1024}k 64k`),
  ),
  qcow2('terabyte', '', '1T', ['write -P 7 900G 64k', 'write -P 8 5G 128k']),
  qcow2('preallocated', 'preallocation=falloc', '4M', ['write -P 1 1M 64k']),
  compressed('zlib', 'compression_type=zlib'),
  compressed('zstd', 'compression_type=zstd'),
  compressed('zlib4k', 'cluster_size=4k'),
  {
    name: 'mixed compression',
    make(shop) {
      const image = created(shop, 'mixed', '', '8M', ['write -P 1 0 192k']);
      shop.qemuIo(image, 'write -c -P 9 1M 64k', 'write -c -P 10 1088k 64k', 'write -P 11 1152k 64k');
      return image;
    },
  },
  {
    name: 'chain',
    make(shop) {
      const base = created(shop, 'chain-base', 'cluster_size=4k', '6M');
      const middle = overlay(shop, 'chain-middle', base, 'qcow2', 'compat=0.10');
      shop.qemuIo(middle, 'write -P 20 1M 100k', 'write -P 0 128k 64k');
      const top = overlay(shop, 'chain-top', middle, 'qcow2', 'cluster_size=1M', '9M');
      shop.qemuIo(top, 'write -P 30 5M 1M', 'write -z 0 64k', 'write -P 31 8M 64k');
      return top;
    },
  },
  {
    name: 'chain with shorter layers',
    make(shop) {
      const base = created(shop, 'short-base', '', '8M');
      const middle = overlay(shop, 'short-middle', base, 'qcow2', '', '1M');
      shop.qemuIo(middle, 'write -P 20 512k 100k');
      return overlay(shop, 'short-top', middle, 'qcow2', '', '5M');
    },
  },
  {
    name: 'over raw',
    make(shop) {
      const raw = rawImage(shop, 'under.raw');
      const top = overlay(shop, 'over-raw', raw, 'raw', '');
      shop.qemuIo(top, 'write -P 20 512k 100k');
      return top;
    },
  },
  { name: 'raw', make: (shop) => rawImage(shop, 'plain.raw') },
  {
    name: 'raw, empty',
    make(shop) {
      writeFileSync(shop.path('empty.raw'), '');
      return 'empty.raw';
    },
  },
  {
    name: 'strange name',
    make(shop) {
      const name = 'é "a",b 𝄞.raw';
      writeFileSync(shop.path(name), Buffer.alloc(4096, 1));
      return name;
    },
  },
];

function rawImage(shop: Workshop, name: string): string {
  shop.must('qemu-img', 'create', '-q', '-f', 'raw', name, '4M');
  shop.must('qemu-io', '-f', 'raw', '-c', 'write -P 5 1M 100k', '-c', 'write -P 6 3M 1M', name);
  return name;
}

/** The tables of an image, opened for changing its bytes. */
export class Surgery {
  readonly #fd: number;
  readonly #path: string;
  readonly l1: number;
  readonly l2: number;
  readonly refcountTable: number;
  readonly refcountBlock: number;

  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(path, 'r+');
    this.l1 = Number(this.entry(40));
    this.refcountTable = Number(this.entry(48));
    this.l2 = Number(this.entry(this.l1) & 0x00fffffffffffe00n);
    this.refcountBlock = Number(this.entry(this.refcountTable));
  }

  entry(offset: number): bigint {
    const bytes = Buffer.alloc(8);
    readSync(this.#fd, bytes, 0, 8, offset);
    return bytes.readBigUInt64BE();
  }

  setEntry(offset: number, value: bigint): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(BigInt.asUintN(64, value));
    writeSync(this.#fd, bytes, 0, 8, offset);
  }

  setRefcount(cluster: number, value: number): void {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16BE(value);
    writeSync(this.#fd, bytes, 0, 2, this.refcountBlock + 2 * cluster);
  }

  truncate(bytes: number): void {
    truncateSync(this.#path, bytes);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

const COPIED = 1n << 63n;
const COMPRESSED = 1n << 62n;

/** Damage to the tables of an image of 64 KiB clusters, and what it is called. */
export const DAMAGES: readonly (readonly [name: string, operate: (on: Surgery) => void, options?: string])[] = [
  ['a refcount that is too high', (on) => on.setRefcount(6, 2)],
  ['a refcount that is too low', (on) => on.setRefcount(6, 0)],
  ['a header without refcount', (on) => on.setRefcount(0, 0)],
  ['an L2 table without refcount', (on) => on.setRefcount(4, 0)],
  ['a leaked cluster', (on) => on.setEntry(on.l2, 0n)],
  [
    'many leaks and wrong counts',
    (on) => {
      for (const cluster of [10, 11, 12]) on.setRefcount(cluster, 300);
      for (const index of [0, 1, 2]) on.setEntry(on.l2 + 8 * index, 0n);
    },
  ],
  ['a missing copied flag (data)', (on) => on.setEntry(on.l2, on.entry(on.l2) & ~COPIED)],
  ['a missing copied flag (L2 table)', (on) => on.setEntry(on.l1, on.entry(on.l1) & ~COPIED)],
  ['an unaligned data cluster', (on) => on.setEntry(on.l2 + 8, on.entry(on.l2 + 8) + 512n)],
  ['an unaligned zero cluster', (on) => on.setEntry(on.l2 + 8, (on.entry(on.l2 + 8) + 512n) | 1n)],
  ['data behind the end of the file', (on) => on.setEntry(on.l2 + 8, COPIED | (1n << 30n))],
  ['data far behind the end', (on) => on.setEntry(on.l2 + 8, COPIED | (1n << 50n))],
  ['one cluster used twice', (on) => on.setEntry(on.l2 + 8, on.entry(on.l2))],
  ['one cluster used twice, counts of one bit', (on) => on.setEntry(on.l2 + 8, on.entry(on.l2)), 'refcount_bits=1'],
  ['data in the L2 table', (on) => on.setEntry(on.l2 + 8, COPIED | BigInt(on.l2))],
  ['reserved bits in an L2 entry', (on) => on.setEntry(on.l2 + 8, on.entry(on.l2 + 8) | 0x1en)],
  ['a high reserved bit in an L2 entry', (on) => on.setEntry(on.l2 + 8, on.entry(on.l2 + 8) | (1n << 58n))],
  ['a high reserved bit in an L1 entry', (on) => on.setEntry(on.l1, on.entry(on.l1) | (1n << 60n))],
  ['a file with an unused tail', (on) => on.truncate(40 * 65536)],
  ['reserved bits in an L1 entry that points nowhere', (on) => on.setEntry(on.l1 + 8, 0x1ffn)],
  ['reserved bits in an L1 entry', (on) => on.setEntry(on.l1, on.entry(on.l1) | 5n)],
  ['an unaligned L2 table', (on) => on.setEntry(on.l1, on.entry(on.l1) + 512n)],
  ['an L2 table behind the end', (on) => on.setEntry(on.l1, COPIED | (1n << 30n))],
  ['an unaligned refcount block', (on) => on.setEntry(on.refcountTable, BigInt(on.refcountBlock + 512))],
  ['a refcount block behind the end', (on) => on.setEntry(on.refcountTable, 1n << 30n)],
  ['a second refcount block behind the end', (on) => on.setEntry(on.refcountTable + 8, 1n << 30n)],
  ['a refcount table without blocks', (on) => on.setEntry(on.refcountTable, 0n)],
  ['a refcount block in the L2 table', (on) => on.setEntry(on.refcountTable + 8, BigInt(on.l2))],
  ['a refcount table that counts itself', (on) => on.setEntry(on.refcountTable + 8, BigInt(on.refcountTable))],
  ['reserved bits in the refcount table', (on) => on.setEntry(on.refcountTable, BigInt(on.refcountBlock | 3))],
  ['a compressed cluster behind the end', (on) => on.setEntry(on.l2 + 8, COMPRESSED | (1n << 40n))],
  ['a compressed cluster over data', (on) => on.setEntry(on.l2 + 8, COMPRESSED | (3n << 54n) | 0x50000n)],
  ['a compressed cluster that is copied', (on) => on.setEntry(on.l2 + 8, COPIED | COMPRESSED | 0x50000n)],
  ['a file cut within the data', (on) => on.truncate(0x60000 + 100)],
  ['a file cut within the L2 table', (on) => on.truncate(0x40000 + 30_000)],
  ['the corrupt bit', (on) => on.setEntry(72, 2n)],
];
