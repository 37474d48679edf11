// Invents images and sessions of qemu-io.

import type { Random } from '../../../src/host/sim/random.js';

const KiB = 1024;
const MiB = KiB * KiB;

export interface Setting {
  /** Command lines of qemu-img and qemu-io that make the images, `disk` the top one. */
  make: string[][];
  /** Options of the session. */
  args: string[];
  /** Size of the disk, bytes. */
  size: number;
  /** Bytes. */
  cluster: number;
  /** Clusters have subclusters. */
  extended: boolean;
  /** Zeroes are written to whole clusters, so that both programs allocate the same. */
  exact: boolean;
  /** Nothing lies in the image yet: what is not written to in the session is not allocated. */
  empty: boolean;
}

const QCOW2: readonly (readonly [options: string, cluster: number])[] = [
  ['cluster_size=64k', 64 * KiB],
  ['cluster_size=4k', 4 * KiB],
  ['cluster_size=512', 512],
  ['extended_l2=on,cluster_size=64k', 64 * KiB],
  ['extended_l2=on,cluster_size=16k', 16 * KiB],
  ['compat=0.10', 64 * KiB],
  ['lazy_refcounts=on,refcount_bits=64', 64 * KiB],
  ['compression_type=zstd', 64 * KiB],
  ['preallocation=metadata,cluster_size=32k', 32 * KiB],
];

/** An image, with a backing chain or without. */
export function randomSetting(random: Random): Setting {
  const size = random.pick([1 * MiB, 3 * MiB, 2 * MiB + 1536, 512 * KiB]);
  const args = random.chance(0.15) ? ['-t', random.pick(['none', 'writethrough', 'unsafe', 'directsync'])] : [];
  if (random.chance(0.15)) args.push('-d', random.pick(['on', 'off', 'unmap', 'ignore']));
  if (random.chance(0.1)) args.push('-s');
  if (random.chance(0.05)) args.push('-m');
  if (random.chance(0.2)) {
    return {
      make: [['qemu-img', 'create', '-q', '-f', 'raw', 'disk', String(size)]],
      args: ['-f', 'raw', ...args, 'disk'],
      size,
      // Of the temporary overlay.
      cluster: args.includes('-s') ? 64 * KiB : 4 * KiB,
      extended: false,
      exact: true,
      empty: false,
    };
  }
  const [options, cluster] = random.pick(QCOW2);
  const make: string[][] = [];
  const layers = random.chance(0.4) ? random.between(1, 2) : 0;
  let below: string | null = null;
  let belowFormat = 'qcow2';
  for (let layer = 0; layer <= layers; layer++) {
    const isTop = layer === layers;
    const name = isTop ? 'disk' : `base${layer}`;
    const isRaw = layer === 0 && !isTop && random.chance(0.3);
    const layerSize = isTop ? size : random.pick([size, size - 512, 512 * KiB]);
    const own = isTop ? options : random.pick(QCOW2)[0];
    const backing = below === null ? [] : ['-b', below, '-F', belowFormat];
    const format = isRaw ? 'raw' : 'qcow2';
    const how = isRaw ? [] : ['-o', backing.length > 0 ? own.replace(/preallocation=\w+,/, '') : own];
    make.push(['qemu-img', 'create', '-q', '-f', format, ...how, ...backing, name, String(layerSize)]);
    const bytes = random.between(1, layerSize / 512 - 1) * 512;
    const fill = `write -P ${random.between(1, 255)} ${random.between(0, (layerSize - bytes) / 512) * 512} ${bytes}`;
    if (random.chance(0.7)) make.push(['qemu-io', '-f', format, '-c', fill, name]);
    [below, belowFormat] = [name, format];
  }
  if (layers > 0 && random.chance(0.2)) args.push('-C');
  const empty = make.at(-1)![0] === 'qemu-img' && !options.includes('preallocation') && !args.includes('-C');
  return {
    make,
    args: ['-f', 'qcow2', ...args, 'disk'],
    size,
    cluster: args.includes('-s') ? Math.max(cluster, 64 * KiB) : cluster,
    extended: options.includes('extended'),
    exact: !options.includes('0.10') && random.chance(0.6),
    empty,
  };
}

/** Sessions without answers that come as they like: each request that is begun is waited for. */
export class SessionMaker {
  readonly #random: Random;
  readonly #setting: Setting;
  #compressedClusters = 0;

  constructor(random: Random, setting: Setting) {
    this.#random = random;
    this.#setting = setting;
  }

  lines(count: number): string[] {
    const lines: string[] = [];
    while (lines.length < count) lines.push(...this.#some());
    return lines;
  }

  #some(): string[] {
    const random = this.#random;
    const roll = random.below(100);
    if (roll < 22) return [this.#read(random.pick(['read', 'read', 'readv', 'r']))];
    if (roll < 50) return [this.#write(random.pick(['write', 'write', 'write', 'writev', 'w']))];
    if (roll < 58) return [this.#discard()];
    if (roll < 66) return this.#aio();
    if (roll < 72) return [random.pick(['flush', 'length', 'info', 'l', 'i'])];
    if (!this.#setting.exact && roll < 80) return [];
    if (roll < 76) return [random.pick(['map', 'alloc 0 1G'])];
    if (roll < 80)
      return [this.#line('alloc', '', random.chance(0.7) ? [this.#offset(), this.#length()] : [this.#offset()])];
    if (roll < 82) return [this.#truncate()];
    if (roll < 84 && !this.#setting.args.includes('-s')) return [this.#reopen()];
    const wrong = this.#wrong();
    return wrong.startsWith('aio_') ? [wrong, 'aio_flush'] : [wrong];
  }

  #read(name: string): string {
    const random = this.#random;
    let options = this.#flags(name === 'readv' ? 'Cqv' : 'Cqvp');
    const lengths = name === 'readv' ? this.#lengths() : [this.#length()];
    if (random.chance(0.5)) {
      options += ` -P ${random.chance(0.7) ? this.#byte() : random.pick(['0', '0x0', '205'])}`;
      if (name !== 'readv' && random.chance(0.3)) options += ` -s ${random.pick(['0', '5', '512', '1k', '64k'])}`;
      if (name !== 'readv' && random.chance(0.3)) options += ` -l ${random.pick(['0', '5', '512', '1k', '64k'])}`;
    } else if (name !== 'readv' && random.chance(0.05)) options += ' -b';
    // A dump of megabytes takes long.
    if (options.includes('v'))
      return this.#line(name, options, [this.#offset(), ...lengths.map(() => String(random.between(0, 70)))]);
    return this.#line(name, options, [this.#offset(), ...lengths]);
  }

  #write(name: string): string {
    const random = this.#random;
    if (name === 'writev')
      return this.#line(name, `${this.#flags('Cfq')}${this.#pattern()}`, [this.#offset(), ...this.#lengths()]);
    const roll = random.below(10);
    if (roll < 4) return this.#line(name, `${this.#flags('Cfqp')}${this.#pattern()}`, [this.#offset(), this.#length()]);
    if (roll < 7) return this.#zeroes(name, 'Cfqun');
    if (roll < 8) return this.#compressed();
    if (roll < 9) return this.#line(name, '-s pattern', [this.#offset(), this.#length()]);
    return this.#line(name, `${this.#flags('bCfpqu', 0.25)}${this.#pattern()}`, [this.#offset(), this.#length()]);
  }

  #zeroes(name: string, flags: string): string {
    const { size, cluster, exact } = this.#setting;
    const random = this.#random;
    // What has to be written out with -n is another question for each program.
    if (!exact) return this.#line(name, `-z${this.#flags(flags.replace('n', ''))}`, [this.#offset(), this.#length()]);
    const at = random.below(Math.max(1, Math.floor(size / 2 / cluster))) * cluster;
    return `${name} -z${this.#flags(flags)} ${at} ${random.between(1, 3) * cluster}`;
  }

  /** In the last quarter of an empty image, which nothing else is written to: qemu-io has an error for a cluster that is there already. */
  #compressed(): string {
    const { size, cluster, empty } = this.#setting;
    const at = Math.ceil((size * 3) / 4 / cluster + this.#compressedClusters) * cluster;
    if (!empty || at + cluster > size - 600 * 512) return cluster > 1024 ? 'write -c 512 1024' : 'length';
    this.#compressedClusters++;
    return `write -c${this.#pattern()} ${at} ${cluster}`;
  }

  /** Where there are subclusters, we discard those, too, and qemu-io whole clusters alone. */
  #discard(): string {
    const { size, cluster, extended } = this.#setting;
    if (!extended) return this.#line('discard', this.#flags('Cq'), [this.#offset(), this.#length()]);
    const at = this.#random.below(Math.floor(size / cluster)) * cluster;
    return `discard${this.#flags('Cq')} ${at} ${this.#random.between(1, 3) * cluster}`;
  }

  #aio(): string[] {
    const random = this.#random;
    const request = random.chance(0.5)
      ? this.#line('aio_read', `${this.#flags('Cqi', 0.15)}${random.chance(0.3) ? ` -P ${this.#byte()}` : ''}`, [
          this.#offset(),
          ...this.#lengths(),
        ])
      : random.chance(0.5)
        ? this.#line('aio_write', `${this.#flags('Cfqi', 0.15)}${this.#pattern()}`, [
            this.#offset(),
            ...this.#lengths(),
          ])
        : this.#zeroes('aio_write', 'Cfqu');
    return [request, 'aio_flush'];
  }

  #truncate(): string {
    const { size: start, cluster, empty } = this.#setting;
    // In whole clusters: where a disk is cut within one and grows again, qemu-io brings the old data back.
    const unit = Math.max(512, cluster);
    const least = empty ? 0 : -8;
    const size = Math.max(1, Math.ceil(start / unit) + this.#random.between(least, 8)) * unit;
    return this.#line(
      'truncate',
      this.#random.chance(0.2) ? `-m ${this.#random.pick(['off', 'metadata', 'full', 'falloc', 'x'])}` : '',
      [String(size)],
    );
  }

  #reopen(): string {
    return `reopen ${this.#random.pick(['-r', '-w', '-w', '-w', '', '-c none', '-c writeback', '-c foo', '-r -w', '-o foo=bar', '-c unsafe', '-x'])}`;
  }

  #wrong(): string {
    const random = this.#random;
    const number = (): string =>
      random.pick([
        '0',
        '512',
        'x',
        '-1',
        '1.5',
        '1.5k',
        '0x10k',
        '8E',
        '7E',
        '3G',
        '2G',
        '16E',
        '1e3',
        '',
        '5',
        '+5',
        '010',
        '1M',
        '4k',
        '0x',
        '1kb',
        '.5k',
        '1.',
        '99999999999999999999',
      ]);
    const name = random.pick([
      ...(this.#setting.exact ? ['alloc', 'map'] : []),
      'read',
      'readv',
      'aio_read',
      'write',
      'writev',
      'aio_write',
      'discard',
      'length',
      'flush',
      'info',
      'truncate',
      'break',
      'resume',
      'remove_break',
      'wait_brake',
      'help',
      'sleep',
      'sigraise',
      'foo',
      'open',
      '?',
      'aio_flush',
      'READ',
      'reopen',
    ]);
    const words = Array.from({ length: random.below(5) }, () =>
      random.chance(0.3)
        ? `-${random.pick([...(this.#setting.exact ? 'bCfpqulsPvixZ5-rw' : 'bCfpquzlsPvixZ5-rw')])}`
        : number(),
    );
    // What would end the program, or take long.
    if (name === 'sigraise' && words.join(' ').match(/^\+?[1-9]/)) words[0] = 'x';
    if (name === 'sigraise' && /^\s*(5|010)/.test(words.join(' '))) words[0] = 'x';
    if (name === 'sleep') words.splice(0, words.length, random.pick(['1', 'x', '-1', '1k', '0x', '1 1', '']));
    // An operand that is missing is read from nowhere; sizes are for `#truncate`.
    if (name === 'truncate' && words.some((word) => word.startsWith('-') || /^[7\d]+E?$/.test(word)))
      return 'truncate -x';
    // Memory for that is not to be had here; and many MiB that are dumped take long.
    const line = [name, ...words].join(' ');
    return / -\w*v/.test(line) ? line.replace(/ (1M|4k|1\.5k|2G)/g, ' 64') : line.replace(/ (2G)\b/g, ' 3G');
  }

  #line(name: string, options: string, operands: readonly string[]): string {
    const random = this.#random;
    const words = [name, options.trim(), ...operands].filter((word) => word !== '');
    if (random.chance(0.03)) words.splice(random.between(1, words.length - 1), 1);
    if (random.chance(0.02)) words.push(random.pick(['512', 'x', '-x']));
    if (random.chance(0.05)) return words.join('  ');
    return words.join(' ');
  }

  #flags(letters: string, chance = 0.12): string {
    const taken = [...letters].filter((letter) =>
      this.#random.chance(letter === 'q' || letter === 'C' ? 0.08 : chance),
    );
    return taken.map((letter) => ` -${letter}`).join('');
  }

  #pattern(): string {
    return this.#random.chance(0.7) ? ` -P ${this.#byte()}` : '';
  }

  #byte(): string {
    return this.#random.chance(0.05)
      ? this.#random.pick(['256', '-1', 'x', '0xff', '077', '08'])
      : String(this.#random.between(1, 255));
  }

  #offset(): string {
    const random = this.#random;
    const { cluster } = this.#setting;
    const size = this.#setting.empty ? Math.floor(this.#setting.size / 1024) * 512 : this.#setting.size;
    const roll = random.below(20);
    if (roll < 8) return String(random.below(Math.ceil(size / cluster)) * cluster);
    if (roll < 12) return String(random.below(size / 512) * 512);
    if (roll < 17) return String(random.below(size));
    if (roll < 18) return String(size - random.below(2048));
    if (roll < 19) return random.pick(['64k', '0x10000', '1.5k', '512', '128k', '0']);
    return random.pick(['5G', '-1', 'x', '7E', '8E', '1.5']);
  }

  #length(): string {
    const random = this.#random;
    const { cluster } = this.#setting;
    const size = this.#setting.empty ? Math.floor(this.#setting.size / 4096) * 512 : this.#setting.size;
    const roll = random.below(20);
    if (roll < 6) return String(random.between(1, 4) * cluster);
    if (roll < 11) return String(random.between(1, 200) * 512);
    if (roll < 16) return String(random.below(5000));
    if (roll < 18) return random.pick(['512', '64k', '1k', '4096', '0', '1']);
    if (roll < 19) return String(random.below(size));
    return random.pick(['3G', '-5', 'x', '8E', '2147483647', '0.5']);
  }

  #lengths(): string[] {
    return Array.from({ length: this.#random.between(1, 3) }, () => this.#length());
  }
}
