// Invents command lines of qemu-img from the option tables of the verbs.
//
//   operands of the verb   +   0 to 3 of its options   ->   perhaps one mistake   ->   a case
//                              good and bad values          order, abbreviation, repetition, what is missing or foreign
//
// Nothing here takes long or much space, as long as both programs take the same command lines.

import type { OptionSpec } from '../../../src/cli/getopt.js';
import type { Verb } from '../../../src/cli/verb.js';
import { VERBS, verbCalled } from '../../../src/cli/verb-table.js';
import type { Random } from '../../../src/host/sim/random.js';
import type { Case } from './cases.js';

const IMAGES = [
  ...['a.qcow2', 'b.qcow2', 'c.qcow2', 'd.qcow2', 'empty.qcow2', 'nothing.qcow2', 'longer.qcow2', 'shorter.qcow2'],
  ...['over-raw.qcow2', 'v2.qcow2', 'ext.qcow2', 'ext-over.qcow2', 'lazy.qcow2', 'small.qcow2', 'pre.qcow2'],
  ...['packed.qcow2', 'snaps.qcow2', 'maps.qcow2', 'data.qcow2', 'a.raw', 'b.raw', 'leaks.qcow2'],
];
const ODD_IMAGES = [
  ...['gone', 'sub', '', 'text', 'empty', 'lost.qcow2', 'errors.qcow2', 'future.qcow2', 'disk.luks', 'luks.qcow2'],
  ...['raw:a.qcow2', 'file:a.qcow2', 'foo:a.qcow2', './a.qcow2', 'sub/../a.qcow2', 'json:{}', 'nbd:', 'short.qcow2'],
  'json:{"driver":"qcow2","file":{"driver":"file","filename":"a.qcow2"}}',
];
const BY_OPTIONS = [
  ...['driver=qcow2,file.filename=a.qcow2', 'driver=raw,file.filename=a.raw', 'driver=raw', 'file.filename=a.qcow2'],
  ...['driver=qcow2,file.driver=file,file.filename=c.qcow2', 'a.qcow2', '', 'driver=foo', 'driver=qcow2,foo=1'],
];
/** Sizes that both programs take, none beyond a few MiB. */
const SIZES = ['0', '512', '1000', '4k', '64k', '64K', '100k', '1M', '1.5M', '0x10000', '2M', '3m', '131072', '.5M'];
/** Sizes that one could think of. Those that are taken are small, or too large to be made. */
const ODD_SIZES = [
  ...['', 'x', '-1', '+1', '1b', '1B', '1kb', '1.5', '1.5k', '010', '1e3', '0x', '0x1k', '0x1.8', '1 ', ' 1', '1,5'],
  ...[
    '8E',
    '16E',
    '9223372036854775807',
    '9223372036854775808',
    '99999999999999999999',
    '1M1',
    'k',
    'inf',
    'nan',
    '1.',
    '.',
  ],
];
const COUNTS = ['1', '2', '3', '7'];
const ODD_COUNTS = ['0', '', 'x', '-1', '1k', '010', '0x4', '1.5', '2147483648', '99999999999999999999', ' 3', '+2'];
const CREATE_OPTIONS = [
  ...['size=1M', 'cluster_size=4k', 'cluster_size=64k', 'compat=0.10', 'compat=1.1', 'lazy_refcounts=on'],
  ...['refcount_bits=1', 'refcount_bits=64', 'preallocation=metadata', 'preallocation=off', 'preallocation=falloc'],
  ...['extended_l2=on', 'compression_type=zstd', 'compression_type=zlib', 'encryption=off', 'backing_fmt=qcow2'],
  ...['cluster_size=512', 'backing_file=a.qcow2', 'data_file=y.raw', 'data_file_raw=on', 'cluster_size=1M'],
];
const ODD_CREATE_OPTIONS = [
  ...['size=x', 'size=', 'size', 'cluster_size=3', 'cluster_size=0', 'cluster_size=4M', 'cluster_size=100', 'foo=1'],
  ...['compat=v3', 'compat=2', 'lazy_refcounts=maybe', 'refcount_bits=3', 'refcount_bits=x', 'preallocation=foo', ''],
  ...[
    'extended_l2',
    'noextended_l2',
    'compression_type=foo',
    '=1',
    ',',
    'backing_file=',
    'backing_fmt=foo',
    'help',
    '?',
  ],
  ...['encrypt.format=luks', 'encrypt.format=foo', 'key-secret=s', 'cluster_size=-1', 'refcount_bits=-1', 'size=-1'],
];
const FORMATS = ['qcow2', 'qcow2', 'raw'];
const ODD_FORMATS = ['xyz', '', 'QCOW2', 'file', 'luks', 'qcow2 ', 'nbd'];
const OBJECTS = ['secret,id=s,data=geheim', 'secret,id=t,data=x'];
const ODD_OBJECTS = [
  'foo,id=x',
  'secret',
  '',
  'secret,id=s',
  'secret,id=1,data=x',
  'id=x',
  '{"qom-type":"secret","id":"s","data":"x"}',
  '{',
  'secret,id=s,foo=1',
  'help',
];
const SNAPSHOTS = [
  'one',
  'two words',
  '1',
  '2',
  'snapshot.id=1',
  'snapshot.name=one',
  'snapshot.id=2,snapshot.name=two words',
];
const ODD_SNAPSHOTS = [
  'three',
  '',
  'snapshot.foo=1',
  'snapshot.id=',
  'snapshot.id=1,snapshot.name=x',
  'snapshot.name=three',
  '3',
];
const NAMES = ['x', 'off', 'new'];
const ODD_NAMES = ['', 'gone', 'a b', '-x', 'x'.repeat(1100)];
const PREALLOCATIONS = ['off', 'metadata', 'falloc', 'full'];

interface Pool {
  good: readonly string[];
  odd: readonly string[];
}

/** Pools by `verb key`, or by key alone. */
const POOLS: Readonly<Record<string, Pool>> = {
  format: { good: FORMATS, odd: ODD_FORMATS },
  'output-format': { good: FORMATS, odd: ODD_FORMATS },
  'backing-format': { good: FORMATS, odd: ODD_FORMATS },
  'source-format': { good: FORMATS, odd: ODD_FORMATS },
  format2: { good: FORMATS, odd: ODD_FORMATS },
  backing: { good: ['a.qcow2', 'b.qcow2', 'd.qcow2', 'empty.qcow2', ''], odd: ODD_IMAGES },
  base: { good: ['a.qcow2', 'b.qcow2'], odd: ODD_IMAGES },
  source: { good: ['maps.qcow2', 'a.qcow2'], odd: ODD_IMAGES },
  sparse: { good: ['0', '4k', '64k', '512'], odd: ODD_SIZES },
  speed: {
    good: ['1G', '500M'],
    odd: ODD_SIZES.filter((size) => !/^[+.\d ]+[kKbB]?$/.test(size) && !/^0x1/.test(size) && size !== '1e3'),
  },
  parallel: { good: COUNTS, odd: [...ODD_COUNTS, '16', '17'] },
  snapshot: { good: SNAPSHOTS, odd: ODD_SNAPSHOTS },
  apply: { good: ['one', '1', '2', 'two words'], odd: ODD_SNAPSHOTS },
  delete: { good: ['one', '1', '2', 'two words'], odd: ODD_SNAPSHOTS },
  'snapshot create': { good: ['one', 'new', 'a b'], odd: ['', '1', 'x'.repeat(300)] },
  start: { good: SIZES, odd: ODD_SIZES },
  length: { good: SIZES, odd: ODD_SIZES },
  size: { good: SIZES, odd: ODD_SIZES },
  granularity: { good: ['512', '64k', '1M'], odd: ODD_SIZES },
  merge: { good: NAMES, odd: ODD_NAMES },
  preallocation: { good: PREALLOCATIONS, odd: ['', 'foo', 'OFF', 'on'] },
  object: { good: OBJECTS, odd: ODD_OBJECTS },
  output: { good: ['human', 'json'], odd: ['', 'xml', 'JSON'] },
  repair: { good: ['leaks', 'all'], odd: ['', 'foo', 'ALL'] },
  cache: { good: ['none', 'writeback', 'unsafe'], odd: ['', 'foo', 'NONE', 'write'] },
  'source-cache': { good: ['none', 'writeback', 'writethrough', 'directsync', 'unsafe'], odd: ['', 'foo', 'NONE'] },
  'bench count': { good: COUNTS, odd: ['', 'x', '-1', '1k', '1.5', '99999999999999999999', '010', '+2'] },
  'bench depth': { good: COUNTS, odd: ['', 'x', '-1', '1k', '1.5', '99999999999999999999', '+2'] },
  'bench bytes': { good: ['512', '4k', '64k', '1000'], odd: ODD_SIZES },
  'bench step': { good: ['0', '512', '4k', '64k', '1000'], odd: ODD_SIZES },
  'bench offset': { good: ['0', '512', '4k', '64k', '1M'], odd: ODD_SIZES },
  'flush-interval': { good: COUNTS, odd: ODD_COUNTS },
  pattern: { good: ['0', '1', '255', '0x41'], odd: ['', '256', '-1', 'x', '010'] },
  aio: { good: ['threads', 'io_uring'], odd: ['', 'foo'] },
};

/** Verbs that qemu-img has. */
const NAMES_OF_VERBS = Object.keys(VERBS).filter((name) => VERBS[name].ofQemuImg);

export class Inventor {
  readonly #random: Random;
  readonly #verbs: readonly Verb[];
  /** Of all verbs: each is foreign to some. */
  readonly #words: readonly string[];

  private constructor(random: Random, verbs: readonly Verb[]) {
    this.#random = random;
    this.#verbs = verbs;
    const all = verbs.flatMap(({ options }) => options);
    const words = all.flatMap(({ short, long }) => [short && `-${short}`, long && `--${long}`]);
    this.#words = [...new Set(words.filter((word) => word !== undefined))].sort();
  }

  static async of(random: Random): Promise<Inventor> {
    return new Inventor(random, await Promise.all(NAMES_OF_VERBS.map(verbCalled)));
  }

  /** One command line, as a case. */
  next(): Case {
    const words = this.#command();
    return { text: words.map(quoted).join(' '), commands: [words], reason: null };
  }

  #command(): string[] {
    const random = this.#random;
    const verb = random.pick(this.#verbs);
    const byOptions = random.chance(0.08);
    let options = this.#needed(verb);
    const choice = verb.options.filter(({ own, key }) => own !== true && key !== 'help' && key !== 'image-opts');
    const count = random.pick([0, 1, 1, 2, 2, 2, 3]);
    for (let i = 0; i < count; i++) {
      const spec = random.pick(choice);
      options.push(this.#spelled(verb, spec));
      // The last one of several counts.
      if (random.chance(0.06)) options.push(this.#spelled(verb, spec));
    }
    if (byOptions) options.push(['--image-opts']);
    if (random.chance(0.3)) options = this.#shuffled(options);
    let operands = this.#operands(verb, byOptions);
    if (random.chance(0.06)) operands.splice(random.below(operands.length + 1), 1);
    if (random.chance(0.04)) operands.push(random.pick([...IMAGES, ...ODD_SIZES]));
    if (random.chance(0.03)) operands = this.#shuffled(operands);
    if (random.chance(0.05)) options.push([random.pick(this.#words)]);
    if (random.chance(0.03)) options.push([random.pick(['-Z', '--foo', '--', '-', '-\u00e9', '--=x', '---', '-hq'])]);
    if (random.chance(0.03)) options.splice(random.below(options.length + 1), 0, ['--']);
    const behind = random.chance(0.15);
    const words = behind ? [...operands, ...options.flat()] : [...options.flat(), ...operands];
    if (random.chance(0.03)) words.splice(random.below(words.length), 1);
    return [verb.name, ...words];
  }

  /** Options without which a verb would say no more than that they are missing, or take long. */
  #needed({ name }: Verb): string[][] {
    const random = this.#random;
    if (name === 'bench') return [['-c', random.pick(COUNTS)]];
    if (random.chance(0.1)) return [];
    if (name === 'convert' && random.chance(0.8)) return [['-O', random.pick(FORMATS)]];
    if (name === 'create' && random.chance(0.8)) return [['-f', random.pick(FORMATS)]];
    if (name === 'dd' && random.chance(0.7)) return [['-O', random.pick(FORMATS)]];
    if (name === 'amend') return [['-o', this.#createOptions()]];
    if (name === 'rebase' && random.chance(0.8))
      return [
        ['-b', random.pick(['a.qcow2', 'd.qcow2', ''])],
        ['-F', 'qcow2'],
      ];
    if (name === 'snapshot') return [[random.pick(['-l', '-c', '-a', '-d']), random.pick(SNAPSHOTS)].slice(0, 2)];
    if (name === 'bitmap') return [[`--${random.pick(['add', 'remove', 'clear', 'enable', 'disable'])}`]];
    if (name === 'measure' && random.chance(0.7)) return [['-O', random.pick(FORMATS)]];
    return [];
  }

  #operands({ name }: Verb, byOptions: boolean): string[] {
    const random = this.#random;
    const image = byOptions ? random.pick(BY_OPTIONS) : this.#image();
    if (name === 'convert')
      return [
        image,
        ...(random.chance(0.1) ? [this.#image()] : []),
        random.pick(['x', 'x', 'x', 'd.qcow2', 'b.raw', 'sub']),
      ];
    if (name === 'create') {
      const size = random.chance(0.7) ? random.pick(SIZES) : random.pick(ODD_SIZES);
      return random.chance(0.8) ? [random.pick(['x', 'x', 'x', 'a.qcow2', '', 'sub', 'foo:x']), size] : ['x'];
    }
    if (name === 'resize')
      return [image, random.pick(['', '+', '-']) + (random.chance(0.7) ? random.pick(SIZES) : random.pick(ODD_SIZES))];
    if (name === 'compare') return [image, this.#image()];
    if (name === 'bitmap')
      return [
        random.chance(0.6) ? 'maps.qcow2' : image,
        random.chance(0.8) ? random.pick(NAMES) : random.pick(ODD_NAMES),
      ];
    if (name === 'snapshot') return [random.chance(0.6) ? 'snaps.qcow2' : image];
    if (name === 'dd') return this.#blocks(image);
    if (name === 'measure' && random.chance(0.25)) return [];
    if ((name === 'rebase' || name === 'commit') && random.chance(0.7))
      return [random.pick(['b.qcow2', 'c.qcow2', 'over-raw.qcow2', 'ext-over.qcow2', 'longer.qcow2', 'shorter.qcow2'])];
    if (name === 'bench' && random.chance(0.9))
      return [random.pick(['a.qcow2', 'b.qcow2', 'ext.qcow2', 'v2.qcow2', 'b.raw'])];
    return [image];
  }

  #blocks(image: string): string[] {
    const random = this.#random;
    const number = (): string =>
      random.chance(0.7) ? random.pick(['1', '2', '100', '1k', '64k']) : random.pick(ODD_SIZES);
    const words = [`if=${image}`, 'of=x'];
    if (random.chance(0.5))
      words.push(`bs=${random.chance(0.7) ? random.pick(['512', '4k', '64k', '1M', '100']) : random.pick(ODD_SIZES)}`);
    if (random.chance(0.4)) words.push(`count=${number()}`);
    if (random.chance(0.4)) words.push(`skip=${number()}`);
    if (random.chance(0.08))
      words.push(random.pick(['foo=1', 'bs', '=', 'seek=1', 'if=b.qcow2', 'conv=x', 'bs=', 'of=y']));
    return random.chance(0.2) ? this.#shuffled(words) : words;
  }

  #image(): string {
    return this.#random.chance(0.85) ? this.#random.pick(IMAGES) : this.#random.pick(ODD_IMAGES);
  }

  #createOptions(): string {
    const random = this.#random;
    const count = random.pick([1, 1, 1, 2, 2, 3]);
    const one = (): string => (random.chance(0.7) ? random.pick(CREATE_OPTIONS) : random.pick(ODD_CREATE_OPTIONS));
    return Array.from({ length: count }, one).join(',');
  }

  /** The words of an option: `-f raw`, `-fraw`, `--output=json`, `--outp json`; rarely without its value, or with one that it does not take. */
  #spelled({ name }: Verb, spec: OptionSpec): string[] {
    const random = this.#random;
    const { short, argument } = spec;
    // Its long form may be ours alone.
    const long = spec.own === 'long' ? undefined : spec.long;
    const asLong = short === undefined || (long !== undefined && random.chance(0.5));
    let word = `-${short}`;
    if (asLong) word = `--${random.chance(0.2) ? long!.slice(0, random.between(1, long!.length)) : long}`;
    if (argument === undefined) return [asLong && random.chance(0.04) ? `${word}=${random.pick(['', 'x'])}` : word];
    if (random.chance(0.03)) return [word];
    const value = this.#value(name, spec.key);
    if (random.chance(0.6)) return [word, value];
    return [asLong ? `${word}=${value}` : `${word}${value}`];
  }

  #value(verb: string, key: string): string {
    const random = this.#random;
    if (key === 'options') return this.#createOptions();
    const pool = POOLS[`${verb} ${key}`] ?? POOLS[key];
    if (pool === undefined) throw new Error(`there are no values to invent for ${key} of ${verb}`);
    return random.chance(0.7) ? random.pick(pool.good) : random.pick(pool.odd);
  }

  #shuffled<T>(items: readonly T[]): T[] {
    const rest = [...items];
    const found: T[] = [];
    while (rest.length > 0) found.push(...rest.splice(this.#random.below(rest.length), 1));
    return found;
  }
}

/** As it would be typed. */
function quoted(word: string): string {
  return /^[\w.,:=/+-]+$/.test(word) ? word : `'${word}'`;
}
