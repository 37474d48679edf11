// `resize` and `amend` beside qemu-img: the same commands on the same images, one after the other.

import { cpSync, mkdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import { asOurs, type Outcome, run, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const WARNING = 'Preallocation can only be used for growing images';

const RESIZES: string[][] = [
  ['a.qcow2', '2M'],
  ['-q', 'a.qcow2', '+1M'],
  ['a.qcow2', '1M'],
  ['--shrink', 'a.qcow2', '1M'],
  ['--shrink', 'a.qcow2', '-512k'],
  ['a.qcow2', '--', '-1k'],
  ['--shrink', 'a.qcow2', '-2M'],
  ['a.qcow2', 'foo'],
  ['a.qcow2'],
  ['a.qcow2', '1G', '2G'],
  ['nofile', '1M'],
  ['a.raw', '2M'],
  ['-f', 'raw', '--preallocation=full', 'a.raw', '3M'],
  ['--preallocation=metadata', 'a.qcow2', '3M'],
  ['--preallocation=bogus', 'a.qcow2', '4M'],
  ['--preallocation=full', '--shrink', 'a.qcow2', '1M'],
  ['--preallocation=full', 'o.qcow2', '1500k'],
  ['a.qcow2', '16E'],
  ['a.qcow2', '+1.1k'],
  ['s.qcow2', '1T'],
  ['d.qcow2', '2M'],
  ['--shrink', 'd.qcow2', '300k'],
];

const AMENDMENTS: string[][] = [
  ['a.qcow2'],
  ['-o', 'foo=1', 'a.qcow2'],
  ['-o', 'cluster_size=4k', 'a.qcow2'],
  ['-f', 'raw', '-o', 'size=2M', 'a.raw'],
  ['-o', 'compat=0.10', 'a.qcow2'],
  ['-o', 'refcount_bits=8', 'a.qcow2'],
  ['-o', 'lazy_refcounts=on', 'a.qcow2'],
  ['-o', 'lazy_refcounts=on,compat=1.1', 'a.qcow2'],
  ['-o', 'compat=0.10', 'o.qcow2'],
  ['-o', 'compat=1.1,refcount_bits=1', 'o.qcow2'],
  ['-o', 'compat=0.10', 'o.qcow2'],
  ['-o', 'refcount_bits=3', 'o.qcow2'],
  ['-o', 'refcount_bits=1', 'c.qcow2'],
  ['-p', '-o', 'size=4M', 'a.qcow2'],
  ['-o', 'size=1000', 'a.qcow2'],
  ['-o', 'compat=9', 'a.qcow2'],
  ['-o', 'backing_file=x', 'o.qcow2'],
  ['-o', 'backing_file=a.qcow2,backing_fmt=qcow2', 'o.qcow2'],
  ['-o', 'data_file=x', 'a.qcow2'],
  ['-o', 'data_file_raw=on', 'd.qcow2'],
  ['-o', 'compat=0.10', 'd.qcow2'],
  ['-o', 'data_file=./d.data', 'd.qcow2'],
];

describe('resize and amend, beside qemu-img', function () {
  this.timeout(120_000);
  let shop: Workshop;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    mkdirSync(shop.path('theirs'));
    const make = (...args: string[]) => run('qemu-img', ['create', '-q', '-f', ...args], shop.path('theirs'));
    const write = (name: string, ...commands: string[]) =>
      run('qemu-io', [...commands.flatMap((one) => ['-c', one]), name], shop.path('theirs'));
    make('qcow2', 'a.qcow2', '1M');
    make('raw', 'a.raw', '1M');
    make('qcow2', '-b', 'a.qcow2', '-F', 'qcow2', 'o.qcow2');
    make('qcow2', '-o', 'cluster_size=512', 's.qcow2', '1M');
    make('qcow2', '-o', 'data_file=d.data', 'd.qcow2', '1M');
    write('a.qcow2', 'write -P 3 0 300k', 'write -zu 64k 64k');
    write('o.qcow2', 'write -z 0 128k', 'write -P 9 512k 64k', 'write -z 512k 64k');
    write('d.qcow2', 'write -P 5 200k 300k');
    run('qemu-img', ['convert', '-c', '-O', 'qcow2', 'a.qcow2', 'c.qcow2'], shop.path('theirs'));
    cpSync(shop.path('theirs'), shop.path('ours'), { recursive: true });
  });
  after(() => shop.remove());

  function both(args: string[]): [Outcome, Outcome] {
    return [
      run(process.execPath, [shop.bundle, ...args], shop.path('ours')),
      asOurs(run('qemu-img', args, shop.path('theirs'))),
    ];
  }

  /** What qemu-img says of both images is the same, but for where things lie. */
  function expectSame(name: string, after: string): void {
    const contents = ['ours', 'theirs'].map((folder) => {
      run('qemu-img', ['convert', '-O', 'raw', name, 'content'], shop.path(folder));
      return readFileSync(shop.path(`${folder}/content`));
    });
    expect(contents[0].equals(contents[1]), `${after}: content`).to.equal(true);
    for (const folder of ['ours', 'theirs']) {
      const { code, stdout, stderr } = run('qemu-img', ['check', name], shop.path(folder));
      expect(code, `${after}: ${folder}/${name}: ${stdout}${stderr}`).to.equal(0);
    }
    const [ours, theirs] = ['ours', 'theirs'].map((folder) => {
      const said = run('qemu-img', ['info', '--output=json', name], shop.path(folder)).stdout;
      const { 'actual-size': _, ...info } = JSON.parse(said);
      return info;
    });
    expect(ours, after).to.deep.equal(theirs);
  }

  for (const [verb, commands] of [
    ['resize', RESIZES],
    ['amend', AMENDMENTS],
  ] as const) {
    it(`${verb} says and does the same`, () => {
      for (const args of commands) {
        const [ours, theirs] = both([verb, ...args]);
        expect(ours, `${verb} ${args.join(' ')}`).to.deep.equal(theirs);
        const name = args.find((word) => word.endsWith('.qcow2'));
        if (theirs.code === 0 && name !== undefined) expectSame(name, `${verb} ${args.join(' ')}`);
      }
      if (verb === 'resize')
        expect(both(['resize', '--preallocation=full', 'a.qcow2', '+0'])[0].stderr).to.contain(WARNING);
    });
  }
});

const SECRETS = ['first', 'second', 'other'].flatMap((id) => ['--object', `secret,id=${id},data=password ${id}`]);
const FILL = 'state=active,iter-time=10';

/** The images are opened by the password `first`, or the one that is given. Those in front are all that qcow2, where the names have a prefix, is asked. */
const SLOTS: [options: string, more?: string[], opener?: string][] = [
  ['help'],
  [`${FILL},new-secret=second`],
  ['new-secret=second'],
  ['state=inactive,keyslot=0', [], 'second'],
  ['state=inactive,old-secret=second', ['-p'], 'second'],
  [`${FILL},new-secret=other,keyslot=1`, ['--force'], 'second'],
  [`${FILL},new-secret=first`, [], 'other'],
  [`${FILL},new-secret=second,keyslot=0`, ['-p'], 'other'],
  [`${FILL},new-secret=second,keyslot=-1`, [], 'other'],
  ['state=inactive,keyslot=-1', [], 'other'],
  [`${FILL},new-secret=none`, [], 'other'],
  [`${FILL},new-secret=second,old-secret=first`, [], 'other'],
  ['state=foo', [], 'other'],
  ['keyslot=foo', [], 'other'],
  ['key-secret=first', [], 'other'],
  ['state=inactive', [], 'other'],
  ['state=inactive,keyslot=5', [], 'other'],
  ['state=inactive,new-secret=second,keyslot=0', [], 'other'],
  ['state=inactive,old-secret=first', ['-q'], 'other'],
  ['state=inactive,keyslot=1', ['--force', '-p'], 'other'],
  [`${FILL},new-secret=second`, [], 'other'],
];

for (const format of ['luks', 'qcow2'] as const) {
  describe(`amend of the key slots of ${format}, beside qemu-img`, function () {
    this.timeout(120_000);
    let shop: Workshop;
    const prefix = format === 'luks' ? '' : 'encrypt.';
    const opening = (opener: string): string => `driver=${format},${prefix}key-secret=${opener},file.filename=image`;

    before(async function () {
      for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
      shop = await Workshop.open();
      const kind = format === 'luks' ? '' : 'encrypt.format=luks,';
      const options = `${kind}${prefix}key-secret=first,${prefix}iter-time=10`;
      for (const folder of ['theirs', 'ours']) {
        mkdirSync(shop.path(folder));
        const made = shop.ours('create', '-q', ...SECRETS, '-f', format, '-o', options, `${folder}/image`, '1M');
        expect(made).to.deep.equal({ code: 0, stdout: '', stderr: '' });
      }
    });
    after(() => shop.remove());

    const states = (folder: string): boolean[] => {
      const info = JSON.parse(run('qemu-img', ['info', '--output=json', 'image'], shop.path(folder)).stdout);
      const { data } = info['format-specific'];
      return (data.encrypt ?? data).slots.map(({ active }: { active: boolean }) => active);
    };

    it('says and does the same', () => {
      const asked = format === 'luks' ? SLOTS : SLOTS.slice(0, 6);
      for (const [options, more = [], opener = 'first'] of asked) {
        const named = options === 'help' ? options : options.replaceAll(/(^|,)/g, `$1${prefix}`);
        const args = ['amend', ...SECRETS, ...more, '-o', named, '--image-opts', opening(opener)];
        const ours = run(process.execPath, [shop.bundle, ...args], shop.path('ours'));
        const theirs = asOurs(run('qemu-img', args, shop.path('theirs')));
        // A failure is no progress here.
        if (theirs.code !== 0) theirs.stdout = theirs.stdout.replace('\r    (100.00/100%)', '');
        expect(ours, `${more.join(' ')} ${options}`).to.deep.equal(theirs);
        if (theirs.code !== 0) continue;
        expect(states('ours'), options).to.deep.equal(states('theirs'));
      }
      // Each reads with what the other has filled.
      const secret = format === 'luks' ? 'second' : 'other';
      expect(
        run('qemu-io', [...SECRETS, '-c', 'read 0 512', '--image-opts', opening(secret)], shop.path('ours')).code,
      ).to.equal(format === 'luks' ? 1 : 0);
    });
  });
}
