// `diskwright salvage` at a shell: exit codes, the list for people and for programs, and images that qemu-img has made.

import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { openRealHost, Workspace } from '../../src/index.js';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

describe('diskwright salvage', function () {
  this.timeout(60_000);
  let shop: Workshop;
  const writes = ['write -q -P 1 0 1M', 'write -q -P 2 3M 300k', 'write -q -z 5M 200k', 'write -q -P 7 7M 1M'];
  /** Writes a damaged copy of an image; `damage` gets its bytes. */
  const damaged = (from: string, to: string, damage: (file: Buffer) => void): void => {
    const file = readFileSync(shop.path(from));
    damage(file);
    writeFileSync(shop.path(to), file);
  };
  const pointer = (file: Buffer, at: number): number => Number(file.readBigUInt64BE(at) & 0x00ff_ffff_ffff_fe00n);

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'disk', '8M');
    shop.qemuIo('disk', ...writes);
  });
  after(() => shop.remove());

  const OPTIONS = [
    'cluster_size=512',
    'cluster_size=2M',
    'compat=0.10',
    'extended_l2=on',
    'refcount_bits=1',
    'preallocation=metadata',
    'preallocation=falloc',
    'lazy_refcounts=on',
    'data_file=data',
    'data_file=data,data_file_raw=on',
  ];
  it('reads all of what qemu-img has made', async () => {
    const workspace = new Workspace(openRealHost());
    try {
      for (const options of OPTIONS) {
        shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options, 'made', '8M');
        shop.qemuIo('made', ...writes, 'discard -q 512k 128k');
        // Data files are named as seen from the folder of the image.
        const report = await workspace.salvage(shop.path('made'), shop.path('saved'), 'qcow2');
        const { lost, doubtful, assumptions, orphans, notes } = report;
        expect([lost, doubtful, assumptions, orphans, notes], options).to.deep.equal([[], [], [], [], []]);
        shop.must('qemu-img', 'compare', 'made', 'saved');
      }
    } finally {
      await workspace.close();
    }
  });

  it('reads compressed and encrypted images, overlays and snapshots of qemu-img', () => {
    shop.must('qemu-img', 'convert', '-c', '-O', 'qcow2', 'disk', 'packed');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'packed', '-F', 'qcow2', 'top');
    shop.qemuIo('top', 'write -q -P 9 2M 100k');
    shop.must('qemu-img', 'snapshot', '-c', 'first', 'top');
    shop.qemuIo('top', 'write -q -P 10 2M 50k');
    expect(shop.ours('salvage', 'top', 'saved').code).to.equal(0);
    shop.must('qemu-img', 'compare', '-F', 'raw', 'top', 'saved');
    expect(shop.ours('salvage', '-l', 'first', 'top', 'saved').code).to.equal(0);
    shop.must('qemu-img', 'convert', '-l', 'first', '-O', 'raw', 'top', 'first.raw');
    expect(readFileSync(shop.path('saved')).equals(readFileSync(shop.path('first.raw')))).to.equal(true);
    const secret = ['--object', 'secret,id=s,data=word'];
    const luks = 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10';
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', ...secret, '-o', luks, 'crypt', '8M');
    const opened = 'driver=qcow2,encrypt.key-secret=s,file.filename=';
    shop.must('qemu-io', ...secret, '--image-opts', `${opened}crypt`, ...writes.flatMap((write) => ['-c', write]));
    damaged('crypt', 'headless', (file) => file.fill(0, 0, 65536));
    expect(shop.ours('salvage', ...secret, '--image-opts', `${opened}crypt`, 'saved').code).to.equal(0);
    expect(readFileSync(shop.path('saved')).equals(rawOf('disk'))).to.equal(true);
    const named = `${opened.replace('encrypt', 'encrypt.format=luks,encrypt')}headless`;
    expect(shop.ours('salvage', ...secret, '--size=8M', '--image-opts', named, 'saved').code).to.equal(2);
    expect(readFileSync(shop.path('saved')).equals(rawOf('disk'))).to.equal(true);
    expect(shop.ours('salvage', 'crypt', 'saved')).to.include({ code: 1 });
  });

  function rawOf(image: string): Buffer {
    shop.must('qemu-img', 'convert', '-O', 'raw', image, `${image}.raw`);
    return readFileSync(shop.path(`${image}.raw`));
  }

  it('lists what is lost for people and for programs, with an exit code of its own, and leaves the image as it is', () => {
    let table = 0;
    damaged('disk', 'broken', (file) => {
      table = pointer(file, pointer(file, 40));
      file.writeBigUInt64BE(0x8000_0000_0000_0000n | BigInt(table), table + 8 * 3);
      file.writeBigUInt64BE(0x8000_0001_0000_0000n, table + 8 * 5);
    });
    const before = statSync(shop.path('broken'), { bigint: true }).mtimeNs;
    const { code, stdout, stderr } = shop.ours('salvage', 'broken', 'saved');
    expect([code, stderr]).to.deep.equal([2, "diskwright: 'broken': 2 ranges (128 KiB) lost\n"]);
    expect(stdout.split('\n').slice(-4)).to.deep.equal([
      `196608-262143 (64 KiB) lost: the table entry points into metadata (${table} of the file)`,
      '327680-393215 (64 KiB) lost: it lies beyond the end of the file (4294967296 of the file)',
      'broken: 128 KiB of 8 MiB lost, 0 B doubtful',
      '',
    ]);
    const json = shop.ours('salvage', '--output=json', 'broken', 'saved');
    expect(json.code).to.equal(2);
    const report = JSON.parse(json.stdout);
    expect(report).to.deep.include({
      filename: 'broken',
      size: 8 << 20,
      'lost-bytes': 131072,
      doubtful: [],
      orphans: [],
    });
    expect(report.lost[0]).to.deep.equal({
      offset: 196608,
      length: 65536,
      reason: 'in-metadata',
      'host-offset': table,
    });
    const lines = shop.ours('salvage', '--progress=json', 'broken', 'saved').stdout.trim().split('\n');
    expect(JSON.parse(lines[0])).to.include({ event: 'progress', status: 'survey' });
    expect(JSON.parse(lines.at(-2)!)).to.include({ event: 'progress', status: 'copy', percent: 100 });
    expect(JSON.parse(lines.at(-1)!)).to.deep.include({ event: 'completed', 'lost-bytes': 131072 });
    expect(shop.ours('salvage', '-q', 'broken', 'saved').stdout).to.equal('');
    expect(statSync(shop.path('broken'), { bigint: true }).mtimeNs).to.equal(before);
    const expected = rawOf('disk').fill(0, 196608, 262144).fill(0, 327680, 393216);
    expect(readFileSync(shop.path('saved')).equals(expected)).to.equal(true);
  });

  it('reads as much as qemu-img convert --salvage, and more where that gives up', () => {
    damaged('disk', 'wild', (file) => {
      const table = pointer(file, pointer(file, 40));
      file.writeBigUInt64BE(0x8000_0000_0000_0200n, table + 8 * 4);
    });
    const theirs = shop.qemuImg('convert', '--salvage', '-O', 'raw', 'wild', 'theirs');
    expect(shop.ours('salvage', 'wild', 'saved').code).to.equal(2);
    const expected = rawOf('disk').fill(0, 4 * 65536, 5 * 65536);
    expect(readFileSync(shop.path('saved')).equals(expected)).to.equal(true);
    if (theirs.code === 0) expect(readFileSync(shop.path('theirs')).equals(expected)).to.equal(true);
    damaged('disk', 'headless', (file) => file.fill(0, 0, 512));
    expect(shop.qemuImg('convert', '--salvage', '-f', 'qcow2', '-O', 'raw', 'headless', 'theirs').code).to.equal(1);
    expect(shop.ours('salvage', 'headless', 'saved').code).to.equal(2);
    expect(readFileSync(shop.path('saved')).equals(rawOf('disk'))).to.equal(true);
  });

  it('refuses what cannot be, before anything is written', () => {
    const said = (...words: string[]): [number | null, string] => {
      const { code, stderr } = shop.ours('salvage', ...words);
      return [code, stderr.split('\n')[0]];
    };
    const file = readFileSync(shop.path('disk'));
    expect(said('disk', 'disk')[0]).to.equal(1);
    expect(readFileSync(shop.path('disk')).equals(file)).to.equal(true);
    expect(said('disk')).to.deep.equal([1, 'diskwright: Expecting the damaged image and the new one']);
    expect(said('disk', '')).to.deep.equal([1, 'diskwright: The new image needs a name']);
    expect(said('-f', 'raw', 'disk', 'new')[1]).to.contain("Images of the format 'raw' cannot be salvaged");
    expect(said('--l2-table=5', 'disk', 'new')[1]).to.contain('OFFSET=BYTES');
    expect(said('--output=json', '-p', 'disk', 'new')[1]).to.contain('mutually exclusive');
    expect(said('-O', 'qcow2', '-o', 'backing_file=disk,backing_fmt=qcow2', 'disk', 'new')[1]).to.contain('no backing');
    expect(said('-l', 'none', 'disk', 'new')[1]).to.contain("Can't find snapshot");
    writeFileSync(shop.path('noise'), Buffer.alloc(1 << 20, 'noise'));
    expect(said('noise', 'new')[1]).to.contain('no L1 table was found');
    expect(() => statSync(shop.path('new'))).to.throw();
  });
});
