// measure, with qemu-img: command lines from a seed, good ones and bad ones, say the same.

import { truncateSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Random } from '../../src/host/sim/random.js';
import { different, runBeside } from '../support/beside.js';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { repeats, seedOf, timeLimit } from '../support/sample.js';

const SEED = seedOf(7);
const COMMANDS = repeats(20, 3000);
/** qemu-img takes a second of a processor, and often many, to measure what LUKS encrypts: it makes the keys. In a short run such command lines lack the secret. */
const KEY = repeats(0, 1) === 1 ? 's' : 'no';
const SECRET = 'secret,id=s,data=abc';
const SIZES = [
  '0',
  '1',
  '511',
  '512',
  '1000',
  '1M',
  '10M',
  '1000001',
  '1G',
  '33G',
  '1T',
  '100T',
  '2P',
  '1x',
  '-1',
  '3.5G',
  '1k',
  '',
];
const IMAGES = [
  'plain',
  'v2',
  'small',
  'raw',
  'odd',
  'overlay',
  'longer',
  'luks',
  'snap',
  'extended',
  'crypt',
  'gone',
  '.',
];
const WRONG = [
  'size=5G',
  'foo=1',
  'cluster_size=3000',
  'cluster_size=4M',
  'refcount_bits=3',
  'preallocation=foo',
  'help=',
  'size=x',
  ',a',
  'lazy_refcounts=maybe',
  'compat=0.9',
];

/** `--image-opts` of an encrypted one. */
const CRYPT = {
  luks: 'driver=luks,key-secret=s,file.filename=luks',
  crypt: 'driver=qcow2,encrypt.key-secret=s,file.filename=crypt',
};

function optionsFor(random: Random, format: string): string[] {
  const options: string[] = [];
  const some = (chance: number, values: readonly string[]): void => {
    if (random.below(100) < chance) options.push(values[random.below(values.length)]);
  };
  if (format === 'qcow2') {
    some(
      60,
      [9, 10, 12, 14, 15, 16, 16, 18, 21].map((bits) => `cluster_size=${2 ** bits}`),
    );
    some(20, ['compat=0.10', 'compat=1.1']);
    some(25, ['extended_l2=on', 'extended_l2=off']);
    some(
      30,
      [1, 2, 8, 16, 32, 64].map((bits) => `refcount_bits=${bits}`),
    );
    some(30, ['preallocation=off', 'preallocation=metadata', 'preallocation=falloc', 'preallocation=full']);
    some(20, [
      `encrypt.format=luks,encrypt.key-secret=${KEY},encrypt.iter-time=10`,
      'encrypt.format=luks',
      'encrypt.format=aes,encrypt.key-secret=s',
      'encryption=on,encrypt.key-secret=s',
      'encrypt.format=luks,encrypt.key-secret=no',
      `encrypt.format=luks,encrypt.key-secret=${KEY},encrypt.iter-time=10,encrypt.cipher-alg=aes-128`,
    ]);
    some(15, ['backing_file=gone,backing_fmt=qcow2', 'backing_file=gone', 'data_file=gone', 'lazy_refcounts=on']);
  } else if (format === 'luks') {
    some(90, [
      `key-secret=${KEY},iter-time=10`,
      `key-secret=${KEY},iter-time=10`,
      `key-secret=${KEY},iter-time=10,cipher-alg=aes-128`,
      `key-secret=${KEY},iter-time=10,cipher-alg=aes-192,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256`,
      'key-secret=no',
    ]);
  } else {
    some(30, ['preallocation=full', 'preallocation=off', 'preallocation=falloc']);
  }
  some(8, WRONG);
  return options;
}

function commandFor(random: Random): string[] {
  const format = ['qcow2', 'qcow2', 'qcow2', 'qcow2', 'raw', 'luks', 'foo', 'nbd'][
    random.below(random.below(5) === 0 ? 8 : 6)
  ];
  const words = ['measure', '--object', SECRET];
  if (format !== 'raw' || random.below(2) === 0) words.push('-O', format);
  const options = optionsFor(random, format);
  if (options.length > 0) words.push('-o', options.join(','));
  if (random.below(2) === 0) words.push('--output=json');
  if (random.below(3) === 0) words.push('--size', SIZES[random.below(SIZES.length)]);
  if (!words.includes('--size') || random.below(12) === 0) {
    const image = IMAGES[random.below(IMAGES.length)];
    if (image === 'luks' || image === 'crypt') words.push('--image-opts', CRYPT[image]);
    else words.push(image);
    if (random.below(10) === 0) words.push('-f', ['raw', 'qcow2', 'foo'][random.below(3)]);
    if (random.below(image === 'snap' ? 2 : 12) === 0)
      words.push('-l', ['one', '1', 'none', 'snapshot.name=one', 'snapshot.id=1', 'snapshot.x=1'][random.below(6)]);
    if (random.below(8) === 0) words.push('-U');
  }
  return words;
}

describe('measure, beside qemu-img', function () {
  this.timeout(timeLimit(120_000));
  let shop: Workshop;

  before(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
    const create = (...words: string[]): string => shop.must('qemu-img', 'create', '-q', '--object', SECRET, ...words);
    const made = (format: string, options: string, name: string): void => {
      const { code, stderr } = shop.ours('create', '-q', '--object', SECRET, '-f', format, '-o', options, name, '3M');
      expect(code, stderr).to.equal(0);
    };
    create('-f', 'qcow2', 'plain', '64M');
    shop.qemuIo('plain', 'write 0 1M', 'write 5M 64k', 'write -z 8M 1M', 'write 60000k 3000');
    for (const [name, granularity] of [
      ['a', '64k'],
      ['long-name', '512'],
    ])
      shop.must('qemu-img', 'bitmap', '--add', '-g', granularity, 'plain', name);
    create('-f', 'qcow2', '-o', 'compat=0.10', 'v2', '10M');
    create('-f', 'qcow2', '-o', 'cluster_size=512', 'small', '4000k');
    shop.qemuIo('small', 'write 1k 1k', 'write 100k 33k', 'write -z 64k 10k', 'write 3999k 512');
    create('-f', 'raw', 'raw', '10M');
    shop.qemuIo('raw', 'write 4k 8k', 'write 1M 64k');
    writeFileSync(shop.path('odd'), 'x');
    truncateSync(shop.path('odd'), 1_000_001);
    create('-f', 'qcow2', '-b', 'plain', '-F', 'qcow2', 'overlay');
    shop.qemuIo('overlay', 'write 10M 1M', 'write -z 0 128k');
    create('-f', 'qcow2', '-b', 'small', '-F', 'qcow2', 'longer', '1G');
    shop.qemuIo('longer', 'write 900M 4k');
    made('luks', 'key-secret=s,iter-time=10', 'luks');
    made('qcow2', 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10', 'crypt');
    create('-f', 'qcow2', 'snap', '12M');
    shop.qemuIo('snap', 'write 0 3M');
    shop.must('qemu-img', 'snapshot', '-c', 'one', 'snap');
    shop.qemuIo('snap', 'write 4M 3M');
    shop.must('qemu-img', 'bitmap', '--add', 'snap', 'b');
    create('-f', 'qcow2', '-o', 'extended_l2=on', 'extended', '8M');
    shop.qemuIo('extended', 'write 4k 4k', 'write 4M 2k', 'write -z 1M 2k');
  });
  after(() => shop?.remove());

  it(`${COMMANDS} command lines say the same (seed ${SEED})`, async () => {
    const random = new Random(SEED);
    const commands = Array.from({ length: COMMANDS }, () => {
      const words = commandFor(random);
      return { ours: words, theirs: words };
    });
    const pairs = await runBeside(shop, commands);
    expect(different(pairs)).to.deep.equal([]);
  });
});
