// Detached LUKS headers, which QEMU has since version 9.0, beside the tools that are there: cryptsetup reads and makes them, and an older QEMU reads and writes
// the image that header and disk become when they are joined.

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const SECRET = ['--object', 'secret,id=s,data=the password'];
const DETACHED = 'driver=luks,key-secret=s,file.filename=disk,header.filename=header';
const JOINED = 'driver=luks,key-secret=s,file.filename=joined';
const SECTOR = 512;
const PAYLOAD_OFFSET = 104;

describe('LUKS with a detached header, beside other tools', () => {
  let shop: Workshop;
  const content = Buffer.from(Array.from({ length: 1 << 20 }, (_, i) => (i * 2654435761) >>> 24));

  before(async () => {
    shop = await Workshop.open();
    writeFileSync(shop.path('plain.raw'), content);
  });
  after(() => shop.remove());

  function ours(...words: string[]): string {
    const { code, stdout, stderr } = shop.ours(...words);
    expect([code, stderr], words.join(' ')).to.deep.equal([0, '']);
    return stdout;
  }

  function cryptsetup(input: string, ...words: string[]): string {
    const done = spawnSync('/usr/sbin/cryptsetup', words, { cwd: shop.folder, input, encoding: 'utf8' });
    expect([done.status, done.stderr], words.join(' ')).to.deep.equal([0, '']);
    return done.stdout;
  }

  function makeDisk(kind: string): void {
    ours(
      'create',
      '-q',
      '-f',
      'luks',
      ...SECRET,
      '-o',
      `detached-header=true,key-secret=s,iter-time=10${kind}`,
      'header',
    );
    ours('create', '-q', '-f', 'raw', 'disk', '1M');
    ours('convert', '-n', ...SECRET, '-f', 'raw', '--target-image-opts', 'plain.raw', DETACHED);
  }

  for (const kind of ['', ',cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,hash-alg=sha1']) {
    it(`${kind || 'defaults'}: joined by hand, QEMU reads what we wrote, and we what it writes`, function () {
      requirePeer(this, 'qemu-img');
      requirePeer(this, 'qemu-io');
      makeDisk(kind);
      const header = readFileSync(shop.path('header'));
      const disk = readFileSync(shop.path('disk'));
      expect([disk.length, header.readUInt32BE(PAYLOAD_OFFSET)]).to.deep.equal([content.length, 0]);
      header.writeUInt32BE(header.length / SECTOR, PAYLOAD_OFFSET);
      writeFileSync(shop.path('joined'), Buffer.concat([header, disk]));
      const raw = 'driver=raw,file.filename=plain.raw';
      shop.must('qemu-img', 'compare', ...SECRET, '--image-opts', JOINED, raw);
      shop.must('qemu-io', ...SECRET, '-c', 'write -P 0x33 1000 5000', '--image-opts', JOINED);
      writeFileSync(shop.path('disk'), readFileSync(shop.path('joined')).subarray(header.length));
      ours('convert', ...SECRET, '--image-opts', '-O', 'raw', DETACHED, 'back.raw');
      const expected = Buffer.from(content).fill(0x33, 1000, 6000);
      expect(readFileSync(shop.path('back.raw')).equals(expected)).to.equal(true);
    });
  }

  it('cryptsetup reads our header, opens its key slot, and adds one that we open and erase', function () {
    requirePeer(this, 'cryptsetup');
    makeDisk('');
    expect(cryptsetup('', 'luksDump', 'header')).to.match(/Payload offset:\s+0\n[\s\S]*Key Slot 0: ENABLED/);
    const test = ['open', '--test-passphrase', '--key-file=-', '--header', 'header', 'disk'];
    cryptsetup('the password', ...test);
    writeFileSync(shop.path('second'), 'another one');
    const adding = ['--batch-mode', '--pbkdf-force-iterations', '1000', '--key-file=-', 'header', 'second'];
    cryptsetup('the password', 'luksAddKey', ...adding);
    const both = [...SECRET, '--object', 'secret,id=t,data=another one'];
    ours('amend', ...both, '-o', 'state=inactive,old-secret=s', '--image-opts', DETACHED.replace('=s', '=t'));
    cryptsetup('another one', ...test);
    expect(shop.ours('map', ...SECRET, '--image-opts', DETACHED).stderr).to.match(/Invalid password/);
    ours('convert', ...both, '--image-opts', '-O', 'raw', DETACHED.replace('=s', '=t'), 'back.raw');
    expect(readFileSync(shop.path('back.raw')).equals(content)).to.equal(true);
  });

  it('we open the header that cryptsetup makes, write, resize, and show it', function () {
    requirePeer(this, 'cryptsetup');
    for (const name of ['header', 'disk'])
      writeFileSync(shop.path(name), Buffer.alloc(name === 'disk' ? 1 << 20 : 2 << 20));
    const how = ['--type', 'luks1', '--batch-mode', '--pbkdf-force-iterations', '1000', '--key-file=-'];
    cryptsetup('the password', 'luksFormat', ...how, '--header', 'header', 'disk');
    ours('convert', '-n', ...SECRET, '-f', 'raw', '--target-image-opts', 'plain.raw', DETACHED);
    ours('resize', ...SECRET, '--image-opts', DETACHED, '+1M');
    expect(readFileSync(shop.path('disk')).length).to.equal(2 << 20);
    const info = JSON.parse(ours('info', '--output=json', '--image-opts', DETACHED));
    expect(info).to.deep.include({ 'virtual-size': 2 << 20, format: 'luks', encrypted: true });
    expect(info['format-specific'].data).to.include({ 'detached-header': true, 'payload-offset': 0 });
    ours('convert', ...SECRET, '--image-opts', '-O', 'raw', DETACHED, 'back.raw');
    expect(readFileSync(shop.path('back.raw')).subarray(0, content.length).equals(content)).to.equal(true);
  });
});
