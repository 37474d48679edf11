// The images that the cases name, in one folder: made once by Debian's tools, copied for each command that may change one.

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../support/cli.js';

/** An image and the images that it is opened with. */
const NEEDS: Readonly<Record<string, readonly string[]>> = {
  'b.qcow2': ['a.qcow2'],
  'c.qcow2': ['b.qcow2'],
  'over-raw.qcow2': ['a.raw'],
  'longer.qcow2': ['a.qcow2'],
  'shorter.qcow2': ['a.qcow2'],
  'sub/relative.qcow2': ['a.qcow2'],
  sub: ['sub/relative.qcow2'],
  'ext-over.qcow2': ['a.qcow2'],
  'data.qcow2': ['data.raw'],
  'data-raw.qcow2': ['data2.raw'],
};

export const SECRET = 'secret,id=s,data=geheim';
const FUTURE_BIT = Buffer.from([0, 0, 0, 0, 0, 1, 0, 0]);
const INCOMPATIBLE_OFFSET = 72;

export class Images {
  readonly folder = mkdtempSync(join(tmpdir(), 'diskwright-oracle-'));
  readonly #names: string[] = [];

  private constructor() {
    this.#make();
  }

  static make(): Images {
    return new Images();
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  has(name: string): boolean {
    return this.#names.includes(name);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** A folder with copies of the images that `words` name, and of those that these need. */
  copyFor(words: readonly string[]): string {
    const folder = mkdtempSync(join(tmpdir(), 'diskwright-oracle-case-'));
    mkdirSync(join(folder, 'sub'));
    const wanted = new Set<string>();
    const want = (name: string): void => {
      if (wanted.has(name)) return;
      wanted.add(name);
      for (const other of NEEDS[name] ?? []) want(other);
    };
    const text = words.join(' ');
    for (const name of this.#names) if (text.includes(name)) want(name);
    for (const name of wanted) cpSync(this.path(name), join(folder, name), { recursive: true });
    return folder;
  }

  #img(...words: string[]): void {
    must('qemu-img', words, this.folder);
  }

  #create(name: string, ...words: string[]): void {
    this.#names.push(name);
    this.#img('create', '-q', ...words.map((word) => (word === '@' ? name : word)));
  }

  #io(name: string, ...commands: string[]): void {
    must('qemu-io', [...commands.flatMap((command) => ['-c', command]), name], this.folder);
  }

  #copy(from: string, to: string): void {
    this.#names.push(to);
    cpSync(this.path(from), this.path(to));
  }

  #make(): void {
    mkdirSync(this.path('sub'));
    this.#names.push('sub');
    this.#create('a.qcow2', '-f', 'qcow2', '@', '10M');
    this.#io('a.qcow2', 'write -P 1 0 192k', 'write -z 1M 64k', 'write -P 3 3M 256k');
    this.#create('b.qcow2', '-f', 'qcow2', '-b', 'a.qcow2', '-F', 'qcow2', '@');
    this.#io('b.qcow2', 'write -P 4 64k 64k', 'write -z 3M 64k');
    this.#create(
      'c.qcow2',
      '-f',
      'qcow2',
      '-b',
      'b.qcow2',
      '-F',
      'qcow2',
      '-o',
      'compat=0.10,cluster_size=4k',
      '@',
      '12M',
    );
    this.#io('c.qcow2', 'write -P 5 4k 4k', 'write -P 6 11M 12k');
    this.#copy('a.qcow2', 'd.qcow2');
    this.#io('d.qcow2', 'write -P 9 3100k 1k');
    this.#create('empty.qcow2', '-f', 'qcow2', '@', '4M');
    this.#create('nothing.qcow2', '-f', 'qcow2', '@', '0');
    this.#create('longer.qcow2', '-f', 'qcow2', '-b', 'a.qcow2', '-F', 'qcow2', '@', '16M');
    this.#create('shorter.qcow2', '-f', 'qcow2', '-b', 'a.qcow2', '-F', 'qcow2', '@', '2M');
    this.#create('a.raw', '-f', 'raw', '@', '1234567');
    must('qemu-io', ['-f', 'raw', '-c', 'write -P 7 64k 10k', 'a.raw'], this.folder);
    this.#create('b.raw', '-f', 'raw', '@', '2M');
    this.#create('empty', '-f', 'raw', '@', '0');
    this.#create('over-raw.qcow2', '-f', 'qcow2', '-b', 'a.raw', '-F', 'raw', '@');
    this.#create('lost.qcow2', '-f', 'qcow2', '-u', '-b', 'gone.qcow2', '-F', 'qcow2', '@', '1M');
    this.#create('sub/relative.qcow2', '-f', 'qcow2', '-u', '-b', '../a.qcow2', '-F', 'qcow2', '@', '1M');
    this.#create('v2.qcow2', '-f', 'qcow2', '-o', 'compat=0.10', '@', '3M');
    this.#io('v2.qcow2', 'write -P 2 100k 100k');
    this.#create('ext.qcow2', '-f', 'qcow2', '-o', 'extended_l2=on,cluster_size=64k', '@', '4M');
    this.#io('ext.qcow2', 'write -P 2 2k 6k', 'write -z 128k 4k', 'write -P 8 1M 64k');
    this.#create('ext-over.qcow2', '-f', 'qcow2', '-b', 'a.qcow2', '-F', 'qcow2', '-o', 'extended_l2=on', '@');
    this.#io('ext-over.qcow2', 'write -P 2 2k 6k', 'write -z 128k 4k');
    this.#create('lazy.qcow2', '-f', 'qcow2', '-o', 'lazy_refcounts=on,refcount_bits=8', '@', '4M');
    this.#create('small.qcow2', '-f', 'qcow2', '-o', 'cluster_size=512,refcount_bits=1', '@', '333k');
    this.#io('small.qcow2', 'write -P 1 1k 7k', 'write -P 2 300k 3k');
    this.#create('pre.qcow2', '-f', 'qcow2', '-o', 'preallocation=metadata', '@', '2M');
    this.#names.push('packed.qcow2');
    this.#img('convert', '-c', '-O', 'qcow2', 'a.qcow2', 'packed.qcow2');
    this.#create('snaps.qcow2', '-f', 'qcow2', '@', '4M');
    this.#io('snaps.qcow2', 'write -P 1 0 128k');
    this.#img('snapshot', '-c', 'one', 'snaps.qcow2');
    this.#io('snaps.qcow2', 'write -P 2 64k 128k');
    this.#img('snapshot', '-c', 'two words', 'snaps.qcow2');
    this.#io('snaps.qcow2', 'write -P 3 1M 64k');
    this.#create('maps.qcow2', '-f', 'qcow2', '@', '4M');
    this.#img('bitmap', '--add', '-g', '128k', 'maps.qcow2', 'x');
    this.#img('bitmap', '--add', '--disable', 'maps.qcow2', 'off');
    this.#io('maps.qcow2', 'write -P 1 512k 200k');
    this.#create('data.qcow2', '-f', 'qcow2', '-o', 'data_file=data.raw', '@', '2M');
    this.#io('data.qcow2', 'write -P 5 64k 64k');
    this.#create('data-raw.qcow2', '-f', 'qcow2', '-o', 'data_file=data2.raw,data_file_raw=on', '@', '2M');
    this.#io('data-raw.qcow2', 'write -P 5 64k 64k');
    this.#create('leaks.qcow2', '-f', 'qcow2', '@', '2M');
    this.#io('leaks.qcow2', 'write -P 5 64k 128k');
    this.#leak('leaks.qcow2');
    this.#copy('a.qcow2', 'errors.qcow2');
    // Entry 48 of the first L2 table points behind the end of the file.
    this.#write('errors.qcow2', this.#l2('errors.qcow2') + 48 * 8, Buffer.from([0x80, 0, 0, 0, 0x7f, 0, 0, 0]));
    const secret = ['--object', SECRET];
    this.#names.push('luks.qcow2', 'disk.luks');
    this.#img(
      'create',
      '-q',
      ...secret,
      '-f',
      'qcow2',
      '-o',
      'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10',
      'luks.qcow2',
      '1M',
    );
    this.#img('create', '-q', ...secret, '-f', 'luks', '-o', 'key-secret=s,iter-time=10', 'disk.luks', '1M');
    this.#names.push('short.qcow2', 'future.qcow2', 'text', 'data.raw', 'data2.raw');
    this.#copy('a.qcow2', 'short.qcow2');
    truncateSync(this.path('short.qcow2'), 100);
    this.#create('future.qcow2', '-f', 'qcow2', '@', '1M');
    this.#write('future.qcow2', INCOMPATIBLE_OFFSET, FUTURE_BIT);
    writeFileSync(this.path('text'), 'not an image\n');
  }

  #write(name: string, offset: number, bytes: Uint8Array): void {
    const content = readFileSync(this.path(name));
    content.set(bytes, offset);
    writeFileSync(this.path(name), content);
  }

  /** Offset of the first L2 table. */
  #l2(name: string): number {
    const content = readFileSync(this.path(name));
    return Number(content.readBigUInt64BE(Number(content.readBigUInt64BE(40))) & 0xfffffffffffe00n);
  }

  /** Unmaps a data cluster, whose refcount stays. */
  #leak(name: string): void {
    this.#write(name, this.#l2(name) + 8, Buffer.alloc(8));
  }
}

function must(program: string, words: readonly string[], folder: string): void {
  const { code, stderr } = run(program, words, folder);
  if (code !== 0) throw new Error(`${program} ${words.join(' ')} ended with ${code}: ${stderr}`);
}
