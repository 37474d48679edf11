// LUKS images both ways: made and written by us, read by QEMU's tools and cryptsetup; made and written by them, read and written by us.

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { asOurs, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

/** Everything but the key derivation of two seconds. */
const KINDS = [
  '',
  'cipher-alg=aes-192,hash-alg=sha512,ivgen-hash-alg=sha384',
  'cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=md5,hash-alg=sha1',
  'cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=plain,hash-alg=sha224',
  'cipher-alg=aes-128,cipher-mode=ecb,hash-alg=sha384',
  'cipher-mode=ctr,ivgen-alg=essiv',
];
const SECRET = ['--object', 'secret,id=s,data=the password'];
const opts = (name: string): string => `driver=luks,key-secret=s,file.filename=${name}`;
const createOptions = (kind: string): string =>
  ['key-secret=s', 'iter-time=10', kind].filter((part) => part !== '').join(',');

describe('LUKS, beside qemu-img', () => {
  let shop: Workshop;
  let content: Buffer;

  before(async function () {
    requirePeer(this, 'qemu-img');
    requirePeer(this, 'qemu-io');
    shop = await Workshop.open();
    content = Buffer.from(Array.from({ length: 1 << 20 }, (_, i) => (i * 2654435761) >>> 24));
    writeFileSync(shop.path('plain.raw'), content);
    // QEMU measures for some seconds, whatever time is asked for: one image of its own serves all.
    shop.must('qemu-img', 'create', '-q', '-f', 'luks', ...SECRET, '-o', createOptions(KINDS[2]), 'theirs.luks', '1M');
  });
  after(() => shop.remove());

  for (const kind of KINDS) {
    it(`${kind || 'defaults'}: QEMU reads and writes what we make`, () => {
      const ours = shop.ours('convert', ...SECRET, '-O', 'luks', '-o', createOptions(kind), 'plain.raw', 'ours.luks');
      expect([ours.code, ours.stderr]).to.deep.equal([0, '']);
      shop.must(
        'qemu-img',
        'compare',
        ...SECRET,
        '--image-opts',
        opts('ours.luks'),
        'driver=raw,file.filename=plain.raw',
      );
      shop.must('qemu-io', ...SECRET, '-c', 'write -P 0x33 1000 5000', '--image-opts', opts('ours.luks'));
      const back = shop.ours('convert', ...SECRET, '--image-opts', '-O', 'raw', opts('ours.luks'), 'back.raw');
      expect([back.code, back.stderr]).to.deep.equal([0, '']);
      const expected = Buffer.from(content).fill(0x33, 1000, 6000);
      expect(readFileSync(shop.path('back.raw')).equals(expected)).to.equal(true);
    });
  }

  it('we read what QEMU makes and writes', () => {
    shop.must('qemu-io', ...SECRET, '-c', 'write -P 0x33 1000 5000', '--image-opts', opts('theirs.luks'));
    const read = shop.ours('convert', ...SECRET, '--image-opts', '-O', 'raw', opts('theirs.luks'), 'theirs.raw');
    expect([read.code, read.stderr]).to.deep.equal([0, '']);
    const theirs = readFileSync(shop.path('theirs.raw'));
    expect(theirs.subarray(1000, 6000).equals(Buffer.alloc(5000, 0x33))).to.equal(true);
    shop.must(
      'qemu-img',
      'compare',
      ...SECRET,
      '--image-opts',
      opts('theirs.luks'),
      'driver=raw,file.filename=theirs.raw',
    );
  });

  for (const output of ['human', 'json']) {
    it(`info, ${output}: the same words`, () => {
      const [ours, theirs] = [shop.ours, shop.qemuImg].map((run) =>
        run.call(shop, 'info', `--output=${output}`, 'theirs.luks'),
      );
      expect(ours).to.deep.equal(theirs);
    });
  }

  for (const words of [
    ['create', '-f', 'luks', 'no.luks', '1M'],
    ['create', '-f', 'luks', '-o', 'key-secret=nope', 'no.luks', '1M'],
    ['create', '-f', 'luks', ...SECRET, '-o', 'key-secret=s,cipher-alg=3des', 'no.luks', '1M'],
    ['create', '-f', 'luks', ...SECRET, '-o', 'key-secret=s,ivgen-alg=essiv,ivgen-hash-alg=sha1', 'no.luks', '1M'],
    ['map', 'theirs.luks'],
    ['map', ...SECRET, '--image-opts', opts('theirs.luks')],
    ['map', '--object', 'secret,id=s,data=wrong', '--image-opts', opts('theirs.luks')],
    ['check', ...SECRET, '--image-opts', opts('theirs.luks')],
  ]) {
    it(`${words.join(' ')}: the same words and code`, () => {
      const theirs = asOurs(shop.qemuImg(...words));
      expect(shop.ours(...words)).to.deep.equal(theirs);
    });
  }

  it('refuses what no library has, by name, and touches nothing', () => {
    writeFileSync(shop.path('there.img'), 'precious');
    for (const name of ['serpent-256', 'twofish-128', 'cast5-128']) {
      const ours = shop.ours(
        'create',
        '-f',
        'luks',
        ...SECRET,
        '-o',
        `key-secret=s,cipher-alg=${name}`,
        'there.img',
        '1M',
      );
      expect([ours.code, ours.stderr]).to.deep.equal([1, `diskwright: there.img: Algorithm '${name}' not supported\n`]);
    }
    expect(readFileSync(shop.path('there.img'), 'utf8')).to.equal('precious');
    shop.must(
      'qemu-img',
      'create',
      '-q',
      '-f',
      'luks',
      ...SECRET,
      '-o',
      createOptions('cipher-alg=serpent-256'),
      's.luks',
      '1M',
    );
    const read = shop.ours('map', ...SECRET, '--image-opts', opts('s.luks'));
    expect(read.stderr).to.match(/Algorithm 'serpent-256' not supported/);
  });

  it('cryptsetup: it reads our header and opens our key slot, and we open the one that it adds', function () {
    requirePeer(this, 'cryptsetup');
    const made = shop.ours(
      'create',
      '-q',
      '-f',
      'luks',
      ...SECRET,
      '-o',
      createOptions('cipher-alg=aes-192,cipher-mode=cbc'),
      'c.luks',
      '2M',
    );
    expect(made.stderr).to.equal('');
    const cryptsetup = (input: string, ...words: string[]): string => {
      const done = spawnSync('/usr/sbin/cryptsetup', words, { cwd: shop.folder, input, encoding: 'utf8' });
      expect([done.status, done.stderr]).to.deep.equal([0, '']);
      return done.stdout;
    };
    expect(cryptsetup('', 'luksDump', 'c.luks')).to.match(/Cipher mode:\s+cbc-plain64[\s\S]*Key Slot 0: ENABLED/);
    writeFileSync(shop.path('second'), 'another one');
    cryptsetup(
      'the password',
      'luksAddKey',
      '--batch-mode',
      '--pbkdf-force-iterations',
      '1000',
      '--key-file=-',
      'c.luks',
      'second',
    );
    expect(
      shop.ours('map', '--object', 'secret,id=s,data=another one', '--image-opts', opts('c.luks')).stderr,
    ).to.match(/encrypted/);
    expect(shop.ours('map', ...SECRET, '--image-opts', opts('c.luks')).stderr).to.match(/encrypted/);
  });
});
