// Images with an external data file, used in turn by Diskwright and by qemu-io: content, map, check, and the data file itself.

import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Random } from '../../src/host/sim/index.js';
import { type Image, openRealHost, Workspace } from '../../src/index.js';
import { asOurs, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const KIB = 1024;
const SIZE = 512 * KIB + 3 * 512;
const ROUNDS = 4;

interface Kind {
  title: string;
  raw: boolean;
  options: string;
  backing: boolean;
}

const KINDS: Kind[] = [
  { title: 'a data file', raw: false, options: 'cluster_size=4k', backing: false },
  { title: 'a data file and a backing file', raw: false, options: 'cluster_size=4k', backing: true },
  { title: 'a raw data file', raw: true, options: 'cluster_size=4k,data_file_raw=on', backing: false },
  { title: 'a preallocated data file', raw: false, options: 'preallocation=full', backing: false },
];

/** One change: of [offset, offset + length) to bytes of this value; 0: by zeroes that may unmap, or not, or a discard. */
interface Step {
  kind: 'write' | 'zero' | 'unmap' | 'discard';
  offset: number;
  length: number;
  value: number;
}

function randomStep(random: Random): Step {
  const kind = random.pick(['write', 'write', 'write', 'zero', 'unmap', 'discard'] as const);
  const offset = random.below(SIZE / 512 - 1) * 512;
  const length = Math.min(SIZE - offset, random.between(1, random.pick([3, 40, 300])) * 512);
  return { kind, offset, length, value: kind === 'write' ? random.between(1, 250) : 0 };
}

describe('external data files, beside qemu-img', function () {
  this.timeout(120_000);
  let shop: Workshop;
  let workspace: Workspace;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    workspace = new Workspace(await openRealHost());
  });
  after(async () => {
    await workspace.close();
    shop.remove();
  });

  async function change(image: Image, { kind, offset, length, value }: Step): Promise<void> {
    if (kind === 'write') await image.write(offset, new Uint8Array(length).fill(value));
    else if (kind === 'discard') await image.discard(offset, length);
    else await image.writeZeroes(offset, length, { mayUnmap: kind === 'unmap' });
  }

  function command({ kind, offset, length, value }: Step): string {
    if (kind === 'write') return `write -q -P ${value} ${offset} ${length}`;
    if (kind === 'discard') return `discard -q ${offset} ${length}`;
    return `write -q ${kind === 'unmap' ? '-zu' : '-z'} ${offset} ${length}`;
  }

  /** A discard changes whole clusters alone: the others are as before, which a read tells. */
  function apply(model: Buffer, { kind, offset, length, value }: Step, clusterSize: number): void {
    if (kind !== 'discard') {
      model.fill(value, offset, offset + length);
      return;
    }
    const from = Math.ceil(offset / clusterSize) * clusterSize;
    const end = offset + length;
    const to = end === SIZE ? end : Math.floor(end / clusterSize) * clusterSize;
    if (to > from) model.fill(0, from, to);
  }

  for (const [index, { title, raw, options, backing }] of KINDS.entries()) {
    for (const maker of ['ours', 'theirs'] as const) {
      it(`${title}, made by ${maker === 'ours' ? 'Diskwright' : 'qemu-img'}, is changed by both in turn`, async () => {
        const random = new Random(index + 1, maker === 'ours' ? 1 : 2);
        const [name, data, base] = ['qcow2', 'data', 'base'].map((end) => `${maker}${index}.${end}`);
        const link = backing ? ['-b', base, '-F', 'raw'] : [];
        const model = Buffer.alloc(SIZE);
        if (backing) {
          shop.must('qemu-img', 'create', '-q', '-f', 'raw', base, '200k');
          shop.must('qemu-io', '-f', 'raw', '-c', 'write -q -P 99 0 200k', base);
          model.fill(99, 0, 200 * KIB);
        }
        const args = ['create', '-q', '-f', 'qcow2', '-o', `data_file=${data},${options}`, ...link, name, `${SIZE}`];
        if (maker === 'ours') expect(shop.ours(...args)).to.deep.equal({ code: 0, stdout: '', stderr: '' });
        else shop.must('qemu-img', ...args);
        const clusterSize = options.includes('cluster_size=4k') ? 4096 : 65536;
        const cwd = process.cwd();
        process.chdir(shop.folder);
        try {
          for (let round = 0; round < ROUNDS; round++) {
            const steps = Array.from({ length: 12 }, () => randomStep(random));
            if (round % 2 === 0) {
              const image = await workspace.open(shop.path(name), { discard: 'unmap' });
              for (const step of steps) await change(image, step);
              await image.close();
            } else {
              shop.must('qemu-io', '-d', 'unmap', ...steps.flatMap((step) => ['-c', command(step)]), name);
            }
            for (const step of steps) apply(model, step, clusterSize);
            const image = await workspace.open(shop.path(name), { readOnly: true });
            expect((await image.read(0, SIZE)).equals(model), `content, round ${round}`).to.equal(true);
            await image.close();
            for (const verb of round < ROUNDS - 1
              ? []
              : [['check'], ['map', '--output=json'], ['info', '--output=json']]) {
              expect(shop.ours(...verb, name), `${verb[0]}, round ${round}`).to.deep.equal(
                asOurs(shop.qemuImg(...verb, name)),
              );
            }
            shop.must('qemu-img', 'convert', '-O', 'raw', name, 'plain');
            expect(readFileSync(shop.path('plain')).equals(model), `to QEMU, round ${round}`).to.equal(true);
            if (raw) {
              const content = readFileSync(shop.path(data)).subarray(0, SIZE);
              expect(content.equals(model), `the raw data file, round ${round}`).to.equal(true);
            }
          }
        } finally {
          process.chdir(cwd);
        }
      });
    }
  }

  it('is found by a name that both read in the same way, from every folder', () => {
    mkdirSync(shop.path('sub'), { recursive: true });
    for (const [name, data] of [
      ['here.qcow2', 'here.data'],
      ['sub/there.qcow2', 'there.data'],
      ['sub/beside.qcow2', 'sub/beside.data'],
    ]) {
      const args = ['create', '-q', '-f', 'qcow2', '-o', `data_file=${data}`, name, '1M'];
      expect(shop.ours(...args), name).to.deep.equal({ code: 0, stdout: '', stderr: '' });
      shop.must('qemu-io', '-c', 'write -q -P 7 0 64k', name);
      expect(shop.ours('map', name).stdout, name).to.equal(shop.must('qemu-img', 'map', name));
      expect(statSync(shop.path(data)).blocks, name).to.equal(128);
    }
    // QEMU writes the name that it was given, and reads it from the current folder.
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'data_file=odd.data', 'sub/odd.qcow2', '1M');
    shop.must('qemu-io', '-c', 'write -q -P 7 0 64k', 'sub/odd.qcow2');
    expect(shop.ours('map', 'sub/odd.qcow2').stdout).to.equal(shop.must('qemu-img', 'map', 'sub/odd.qcow2'));
  });

  it('is refused as qemu-img refuses it', () => {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'plain.qcow2', '1M');
    for (const args of [
      ['-o', 'data_file=n.data,compat=0.10', 'n.qcow2', '1M'],
      ['-o', 'data_file_raw=on', 'n.qcow2', '1M'],
      ['-o', 'data_file=n.data,data_file_raw=on', '-b', 'plain.qcow2', '-F', 'qcow2', 'n.qcow2'],
    ]) {
      const all = ['create', '-f', 'qcow2', ...args];
      expect(shop.ours(...all), args.join(' ')).to.deep.equal(asOurs(shop.qemuImg(...all)));
      for (const name of ['n.qcow2', 'n.data']) expect(() => statSync(shop.path(name))).to.throw();
    }
    for (const [data, words] of [
      ['self.qcow2', /cannot be the image itself/],
      ['./self.qcow2', /cannot be the image itself/],
      [join('..', 'nowhere', 'x'), /No such file or directory/],
    ] as const) {
      const { code, stderr } = shop.ours('create', '-q', '-f', 'qcow2', '-o', `data_file=${data}`, 'self.qcow2', '1M');
      expect(code, data).to.equal(1);
      expect(stderr, data).to.match(words);
      expect(() => statSync(shop.path('self.qcow2')), data).to.throw();
    }
    const over = ['-o', 'data_file=plain.qcow2', '-b', 'plain.qcow2', '-F', 'qcow2', 'over.qcow2'];
    expect(shop.ours('create', '-q', '-f', 'qcow2', ...over).stderr).to.match(/cannot be its backing file/);
    expect(shop.ours('check', '-q', 'plain.qcow2').code).to.equal(0);
  });

  it('takes copies by convert, commit, stream, mirror and backup', () => {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'data_file=src.data', 'src.qcow2', '2M');
    shop.qemuIo('src.qcow2', 'write -q -P 5 100k 700k', 'write -q -z 200k 64k');
    const same = (name: string): void => {
      shop.must('qemu-img', 'compare', '-q', 'src.qcow2', name);
      shop.must('qemu-img', 'check', '-q', name);
    };
    const done = (...args: string[]): void => {
      expect(shop.ours(...args), args.join(' ')).to.include({ code: 0, stderr: '' });
    };
    done('convert', '-O', 'qcow2', 'src.qcow2', 'plain-copy.qcow2');
    same('plain-copy.qcow2');
    done('convert', '-O', 'qcow2', '-o', 'data_file=copy.data', 'plain-copy.qcow2', 'copy.qcow2');
    same('copy.qcow2');
    done('convert', '-O', 'qcow2', '-o', 'data_file=raw.data,data_file_raw=on', 'src.qcow2', 'raw.qcow2');
    same('raw.qcow2');
    shop.must('qemu-img', 'compare', '-q', '-f', 'qcow2', '-F', 'raw', 'src.qcow2', 'raw.data');
    const overlay = ['-o', 'data_file=over.data', '-b', 'copy.qcow2', '-F', 'qcow2', 'over.qcow2'];
    done('create', '-q', '-f', 'qcow2', ...overlay);
    shop.qemuIo('over.qcow2', 'write -q -P 8 1M 300k');
    shop.qemuIo('src.qcow2', 'write -q -P 8 1M 300k');
    done('commit', '-q', 'over.qcow2');
    same('copy.qcow2');
    same('over.qcow2');
    expect(statSync(shop.path('over.data')).blocks, 'the committed space is given back').to.equal(0);
    shop.qemuIo('over.qcow2', 'write -q -P 9 0 70k');
    shop.qemuIo('src.qcow2', 'write -q -P 9 0 70k');
    done('stream', '-q', 'over.qcow2');
    same('over.qcow2');
    expect(shop.must('qemu-img', 'info', 'over.qcow2')).to.not.contain('backing');
    done('mirror', '-q', '--target=mirrored.qcow2', '--sync=full', 'over.qcow2');
    same('mirrored.qcow2');
    done('backup', '-q', '--target=saved.qcow2', '--sync=full', 'over.qcow2');
    same('saved.qcow2');
    const { code, stderr } = shop.ours(
      'convert',
      '-c',
      '-O',
      'qcow2',
      '-o',
      'data_file=c.data',
      'src.qcow2',
      'c.qcow2',
    );
    expect(code).to.equal(1);
    expect(stderr).to.match(/no compressed clusters/);
  });
});
