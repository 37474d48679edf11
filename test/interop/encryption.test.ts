// Encrypted qcow2 images both ways: made and written by us, checked, read and written by QEMU's tools, and the other way round.

import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { asOurs, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const SECRET = ['--object', 'secret,id=s,data=the password'];
const LUKS = 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10';
const AES = 'encrypt.format=aes,encrypt.key-secret=s';
const opts = (name: string): string => `driver=qcow2,encrypt.key-secret=s,file.filename=${name}`;

const KINDS = [
  LUKS,
  `${LUKS},compat=0.10,cluster_size=4096`,
  `${LUKS},cluster_size=512,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.cipher-alg=aes-128`,
  'encryption=on,encrypt.key-secret=s,compat=0.10,cluster_size=512',
  `${LUKS},data_file=o.data`,
  `${LUKS},data_file=o.data,data_file_raw=on,cluster_size=4096`,
  `${AES},data_file=o.data,data_file_raw=on`,
];

describe('encrypted qcow2, beside qemu-img', () => {
  let shop: Workshop;
  let content: Buffer;

  before(async function () {
    requirePeer(this, 'qemu-img');
    requirePeer(this, 'qemu-io');
    shop = await Workshop.open();
    content = Buffer.from(Array.from({ length: 1 << 20 }, (_, i) => (i * 2654435761) >>> 24)).fill(0, 300_000, 500_000);
    writeFileSync(shop.path('plain.raw'), content);
    // QEMU measures for some seconds, whatever time is asked for.
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', ...SECRET, '-o', LUKS, 'luks.qcow2', '1M');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', ...SECRET, '-o', AES, 'aes.qcow2', '1M');
  });
  after(() => shop.remove());

  const same = (image: string, raw: string): string =>
    shop.must('qemu-img', 'compare', ...SECRET, '--image-opts', opts(image), `driver=raw,file.filename=${raw}`);
  const ours = (...words: string[]): string => {
    const { code, stdout, stderr } = shop.ours(...words);
    expect([code, stderr]).to.deep.equal([0, '']);
    return stdout;
  };

  for (const kind of KINDS) {
    it(`${kind}: QEMU checks, reads and writes what we make, and we what it wrote`, () => {
      ours('convert', ...SECRET, '-O', 'qcow2', '-o', kind, 'plain.raw', 'o.qcow2');
      shop.must('qemu-img', 'check', ...SECRET, '--image-opts', opts('o.qcow2'));
      same('o.qcow2', 'plain.raw');
      const writes = ['-c', 'write -P 0x33 1000 70000', '-c', 'write -z 600000 300000', '-c', 'write -P 9 350000 5'];
      shop.must('qemu-io', ...SECRET, ...writes, '--image-opts', opts('o.qcow2'));
      ours('check', ...SECRET, '--image-opts', opts('o.qcow2'));
      ours('convert', ...SECRET, '--image-opts', '-O', 'raw', opts('o.qcow2'), 'back.raw');
      const expected = Buffer.from(content)
        .fill(0x33, 1000, 71_000)
        .fill(0, 600_000, 900_000)
        .fill(9, 350_000, 350_005);
      expect(readFileSync(shop.path('back.raw')).equals(expected)).to.equal(true);
      for (const file of kind.includes('data_file') ? ['o.qcow2', 'o.data'] : ['o.qcow2']) {
        expect(readFileSync(shop.path(file)).includes(Buffer.alloc(64, 0x33)), file).to.equal(false);
      }
      if (kind.includes('compat=0.10')) return;
      // What is new reads as zeroes, however it was made.
      ours('resize', '-q', ...SECRET, '--image-opts', opts('o.qcow2'), '1100288');
      ours('resize', '-q', ...SECRET, '--preallocation=metadata', '--image-opts', opts('o.qcow2'), '2M');
      writeFileSync(shop.path('grown.raw'), Buffer.concat([expected], 2 << 20));
      same('o.qcow2', 'grown.raw');
    });
  }

  for (const name of ['luks.qcow2', 'aes.qcow2']) {
    it(`${name}: we write what QEMU made, and it checks and reads that`, () => {
      ours('convert', ...SECRET, '-n', '--target-image-opts', 'plain.raw', opts(name));
      shop.must('qemu-img', 'check', ...SECRET, '--image-opts', opts(name));
      same(name, 'plain.raw');
    });

    it(`${name}: the same words and code`, () => {
      const other = name === 'aes.qcow2' ? 'luks' : 'aes';
      for (const words of [
        ['info', name],
        ['info', '--output=json', name],
        ['info', '--image-opts', `driver=qcow2,encrypt.format=${other},file.filename=${name}`],
        ['map', '--image-opts', opts(name)],
        ['map', ...SECRET, '--output=json', '--image-opts', opts(name)],
        ['map', ...SECRET, '--image-opts', opts(name)],
        ['check', name],
        ['check', '--object', 'secret,id=s,data=wrong', '--image-opts', opts(name)],
      ]) {
        expect(shop.ours(...words), words.join(' ')).to.deep.equal(asOurs(shop.qemuImg(...words)));
      }
    });
  }

  it('refuses in the same words', () => {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'none.qcow2', '1M');
    for (const words of [
      ['create', '-f', 'qcow2', '-o', 'encrypt.format=luks', 'no.qcow2', '1M'],
      ['create', '-f', 'qcow2', ...SECRET, '-o', 'encrypt.key-secret=s', 'no.qcow2', '1M'],
      ['create', '-f', 'qcow2', ...SECRET, '-o', 'encryption=on,encrypt.key-secret=s', 'yes.qcow2', '1M'],
      ['create', '-f', 'qcow2', '-o', 'encryption=on', 'no.qcow2', '1M'],
      ['create', '-f', 'qcow2', '-o', 'encrypt.format=luks,encrypt.key-secret=nope', 'no.qcow2', '1M'],
      ['create', '-f', 'qcow2', ...SECRET, '-o', `encryption=on,${LUKS}`, 'no.qcow2', '1M'],
      ['convert', '-c', '-O', 'qcow2', ...SECRET, '-o', LUKS, 'plain.raw', 'no.qcow2'],
      ['map', ...SECRET, '--image-opts', 'driver=qcow2,encrypt.key-secret=s,file.filename=none.qcow2'],
    ]) {
      expect(shop.ours(...words), words.join(' ')).to.deep.equal(asOurs(shop.qemuImg(...words)));
    }
  });

  it('reads the compressed clusters that QEMU puts into an encrypted image as it does: they are not encrypted', () => {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', ...SECRET, '-o', AES, 'c.qcow2', '1M');
    shop.must(
      'qemu-io',
      ...SECRET,
      '-c',
      'write -c -P 7 64k 64k',
      '-c',
      'write -P 8 0 64k',
      '--image-opts',
      opts('c.qcow2'),
    );
    ours('convert', ...SECRET, '--image-opts', '-O', 'raw', opts('c.qcow2'), 'c.raw');
    same('c.qcow2', 'c.raw');
    const refused = shop.ours('convert', '-c', '-n', ...SECRET, '--target-image-opts', 'plain.raw', opts('c.qcow2'));
    expect(refused.stderr).to.match(/Compression and encryption not supported at the same time/);
  });

  it('stands over an encrypted backing file, whose password the user names', () => {
    shop.must(
      'qemu-img',
      'create',
      '-q',
      '-f',
      'qcow2',
      '-u',
      '-b',
      'luks.qcow2',
      '-F',
      'qcow2',
      ...SECRET,
      '-o',
      AES,
      'top.qcow2',
      '1M',
    );
    const both = `${opts('top.qcow2')},backing.driver=qcow2,backing.file.filename=luks.qcow2,backing.encrypt.key-secret=s`;
    shop.must('qemu-io', ...SECRET, '-c', 'write -P 5 100 100', '--image-opts', both);
    ours('convert', ...SECRET, '--image-opts', '-O', 'raw', both, 'top.raw');
    shop.must('qemu-img', 'compare', ...SECRET, '--image-opts', both, 'driver=raw,file.filename=top.raw');
    const expected = Buffer.from(content).fill(5, 100, 200);
    expect(readFileSync(shop.path('top.raw')).equals(expected)).to.equal(true);
  });
});
