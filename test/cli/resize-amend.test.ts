// `resize` and `amend` beside qemu-img: the same commands on the same images, one after the other.

import { copyFileSync, cpSync, mkdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import { outcomeOf } from '../support/beside.js';
import { asOurs, type Outcome, run, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { DAY, SOAK } from '../support/sample.js';

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
      asOurs(run('qemu-img', args, shop.path('theirs')), args[0]),
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

interface SlotCase {
  options: string;
  more?: readonly string[];
  /** The password that opens the image. Default: `first`. */
  opener?: string;
  /** qemu-img takes more than a second of a processor to fill a slot: in a short run it fills none here, but goes on with the image that we have filled. */
  fills?: true;
}

/** One after the other on the same image. qcow2, where the names have a prefix, is asked only the first ones; a short run does half of the long row of refusals, by the day. */
const SLOTS: readonly SlotCase[] = [
  { options: 'help' },
  { options: `${FILL},new-secret=second`, fills: true },
  { options: 'new-secret=second' },
  { options: 'state=inactive,keyslot=0', opener: 'second' },
  { options: 'state=inactive,old-secret=second', more: ['-p'], opener: 'second' },
  { options: `${FILL},new-secret=other,keyslot=1`, more: ['--force'], opener: 'second', fills: true },
  { options: `${FILL},new-secret=first`, opener: 'other', fills: true },
  { options: `${FILL},new-secret=second,keyslot=0`, more: ['-p'], opener: 'other' },
  { options: `${FILL},new-secret=second,keyslot=-1`, opener: 'other' },
  { options: 'state=inactive,keyslot=-1', opener: 'other' },
  { options: `${FILL},new-secret=none`, opener: 'other' },
  { options: `${FILL},new-secret=second,old-secret=first`, opener: 'other' },
  { options: 'state=foo', opener: 'other' },
  { options: 'keyslot=foo', opener: 'other' },
  { options: 'key-secret=first', opener: 'other' },
  { options: 'state=inactive', opener: 'other' },
  { options: 'state=inactive,keyslot=5', opener: 'other' },
  { options: 'state=inactive,new-secret=second,keyslot=0', opener: 'other' },
  { options: 'state=inactive,old-secret=first', more: ['-q'], opener: 'other' },
  { options: 'state=inactive,keyslot=1', more: ['--force', '-p'], opener: 'other' },
  { options: `${FILL},new-secret=second`, opener: 'other' },
];
const FEW = SOAK ? 6 : 4;
const REFUSALS = [10, 18] as const;
const isSkipped = (index: number): boolean =>
  !SOAK && index >= REFUSALS[0] && index < REFUSALS[1] && (index + DAY) % 2 === 0;
/** The passwords that open what is left at the end. */
const LEFT = { luks: [] as string[], qcow2: SOAK ? ['other'] : ['second'] };

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
      mkdirSync(shop.path('theirs'));
      const made = shop.ours('create', '-q', ...SECRETS, '-f', format, '-o', options, 'theirs/image', '1M');
      expect(made).to.deep.equal({ code: 0, stdout: '', stderr: '' });
      cpSync(shop.path('theirs'), shop.path('ours'), { recursive: true });
    });
    after(() => shop.remove());

    const states = (folder: string): boolean[] => {
      const info = JSON.parse(run('qemu-img', ['info', '--output=json', 'image'], shop.path(folder)).stdout);
      const { data } = info['format-specific'];
      return (data.encrypt ?? data).slots.map(({ active }: { active: boolean }) => active);
    };

    /** What both say; `filled` where only we were asked to fill a slot. */
    async function both(args: readonly string[], filled: boolean): Promise<[Outcome, Outcome]> {
      const ours = outcomeOf(process.execPath, [shop.bundle, ...args], shop.path('ours'));
      if (!filled) {
        const [own, its] = await Promise.all([ours, outcomeOf('qemu-img', args, shop.path('theirs'))]);
        return [own, asOurs(its, 'amend')];
      }
      const said = await ours;
      copyFileSync(shop.path('ours/image'), shop.path('theirs/image'));
      return [said, { code: 0, stdout: '', stderr: '' }];
    }

    it('says and does the same', async () => {
      const bytes = () => ['ours', 'theirs'].map((folder) => readFileSync(shop.path(`${folder}/image`)));
      for (const [index, { options, more = [], opener = 'first', fills }] of SLOTS.entries()) {
        if ((format === 'qcow2' && index >= FEW) || isSkipped(index)) continue;
        const named = options === 'help' ? options : options.replaceAll(/(^|,)/g, `$1${prefix}`);
        const args = ['amend', ...SECRETS, ...more, '-o', named, '--image-opts', opening(opener)];
        const asked = `${more.join(' ')} ${options}`;
        const before = bytes();
        const [ours, theirs] = await both(args, fills === true && !SOAK);
        // A failure is no progress here.
        if (theirs.code !== 0) theirs.stdout = theirs.stdout.replace('\r    (100.00/100%)', '');
        expect(ours, asked).to.deep.equal(theirs);
        if (theirs.code === 0) expect(states('ours'), asked).to.deep.equal(states('theirs'));
        else
          expect(
            bytes().map((now, i) => now.equals(before[i])),
            asked,
          ).to.deep.equal([true, true]);
      }
      // qemu-io opens what is left, by the password that is left.
      for (const secret of ['first', 'second', 'other']) {
        const args = [...SECRETS, '-c', 'read 0 512', '--image-opts', opening(secret)];
        const { code } = run('qemu-io', args, shop.path('ours'));
        expect(code, secret).to.equal(LEFT[format].includes(secret) ? 0 : 1);
      }
    });
  });
}
