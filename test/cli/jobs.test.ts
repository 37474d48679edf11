// The commands that change images: what they leave is what qemu-img leaves, or what QMP's job of that name would.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import { cliBundle, Workshop } from '../support/cli.js';
import { diedBy } from '../support/ended.js';

describe('command line: jobs', function () {
  this.timeout(60_000);
  let shop: Workshop;

  beforeEach(async () => {
    shop = await Workshop.open();
    const must = (...args: string[]) => shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', ...args);
    must('base.qcow2', '16M');
    shop.qemuIo('base.qcow2', 'write -P 1 0 4M', 'write -P 2 8M 1M');
    must('-b', 'base.qcow2', '-F', 'qcow2', '-o', 'cluster_size=4k', 'mid.qcow2');
    shop.qemuIo('mid.qcow2', 'write -P 3 1M 1M', 'write -z 2M 512k');
    must('-b', 'mid.qcow2', '-F', 'qcow2', 'top.qcow2', '20M');
    shop.qemuIo('top.qcow2', 'write -P 4 1500k 200k', 'write -P 5 18M 100k');
  });
  afterEach(() => shop.remove());

  /** What a guest sees. */
  const content = (image: string): Buffer => {
    shop.must('qemu-img', 'convert', '-O', 'raw', image, 'content.raw');
    return readFileSync(shop.path('content.raw'));
  };
  const backingOf = (image: string): string | undefined =>
    (JSON.parse(shop.must('qemu-img', 'info', '--output=json', image)) as Record<string, string>)['backing-filename'];
  const isClean = (image: string): void => {
    shop.must('qemu-img', 'check', '-q', image);
  };
  const succeeds = (...args: string[]): string => {
    const outcome = shop.ours(...args);
    expect(outcome, args.join(' ')).to.include({ code: 0, stderr: '' });
    return outcome.stdout;
  };

  it('create does not replace its own backing file, whatever that is called', () => {
    const before = content('base.qcow2');
    for (const name of ['base.qcow2', './base.qcow2', shop.path('base.qcow2')]) {
      const { code, stderr } = shop.ours('create', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', name);
      expect(code).to.equal(1);
      expect(stderr).to.include('the same filename as the backing file');
    }
    expect(content('base.qcow2').equals(before)).to.equal(true);
  });

  it('commit empties the overlay and leaves the same images as qemu-img', () => {
    for (const name of ['base', 'mid', 'top'])
      copyFileSync(shop.path(`${name}.qcow2`), shop.path(`their-${name}.qcow2`));
    shop.must('qemu-img', 'rebase', '-u', '-b', 'their-base.qcow2', '-F', 'qcow2', 'their-mid.qcow2');
    shop.must('qemu-img', 'rebase', '-u', '-b', 'their-mid.qcow2', '-F', 'qcow2', 'their-top.qcow2');
    shop.must('qemu-img', 'commit', '-q', 'their-top.qcow2');
    expect(succeeds('commit', 'top.qcow2')).to.equal('Image committed.\n');
    for (const name of ['base', 'mid', 'top']) {
      expect(content(`${name}.qcow2`).equals(content(`their-${name}.qcow2`)), name).to.equal(true);
      isClean(`${name}.qcow2`);
    }
    expect(shop.must('qemu-img', 'map', 'top.qcow2')).to.not.include('top.qcow2');
    expect(backingOf('top.qcow2')).to.equal('mid.qcow2');
  });

  it('commit -b writes the whole chain into the base and keeps the top', () => {
    const before = content('top.qcow2');
    expect(succeeds('commit', '-q', '-b', 'base.qcow2', 'top.qcow2')).to.equal('');
    expect(content('base.qcow2').equals(before)).to.equal(true);
    isClean('base.qcow2');
    expect(shop.must('qemu-img', 'map', 'top.qcow2')).to.include('top.qcow2');
  });

  it('stream makes an image stand alone', () => {
    const before = content('top.qcow2');
    expect(succeeds('stream', 'top.qcow2')).to.equal('Image streamed.\n');
    expect(backingOf('top.qcow2')).to.equal(undefined);
    expect(content('top.qcow2').equals(before)).to.equal(true);
    isClean('top.qcow2');
  });

  for (const words of [['--base=base.qcow2'], ['--bottom=mid.qcow2']]) {
    it(`stream ${words} drops what lies between`, () => {
      const before = content('top.qcow2');
      succeeds('stream', '-q', ...words, 'top.qcow2');
      expect(backingOf('top.qcow2')).to.equal('base.qcow2');
      expect(content('top.qcow2').equals(before)).to.equal(true);
      isClean('top.qcow2');
    });
  }

  it('stream of an image that has no backing file any more succeeds, as when it is done again', () => {
    succeeds('stream', '-q', 'top.qcow2');
    const before = content('top.qcow2');
    expect(succeeds('stream', 'top.qcow2')).to.equal('Image streamed.\n');
    expect(content('top.qcow2').equals(before)).to.equal(true);
    succeeds('stream', '-q', '--base=base.qcow2', 'mid.qcow2');
    succeeds('stream', '-q', '--base=base.qcow2', 'mid.qcow2');
    expect(backingOf('mid.qcow2')).to.equal('base.qcow2');
    isClean('mid.qcow2');
  });

  it('stream names a backing file in another folder as the header must have it', () => {
    shop.must('mkdir', 'deep');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', '../top.qcow2', '-F', 'qcow2', 'deep/leaf.qcow2');
    succeeds('stream', '-q', '--base=mid.qcow2', 'deep/leaf.qcow2');
    expect(backingOf('deep/leaf.qcow2')).to.equal('../mid.qcow2');
    expect(content('deep/leaf.qcow2').equals(content('top.qcow2'))).to.equal(true);
  });

  for (const verb of ['mirror', 'backup']) {
    it(`${verb} copies the whole chain`, () => {
      succeeds(verb, '--target=copy.qcow2', 'top.qcow2');
      expect(backingOf('copy.qcow2')).to.equal(undefined);
      expect(content('copy.qcow2').equals(content('top.qcow2'))).to.equal(true);
      isClean('copy.qcow2');
    });

    it(`${verb} --sync=top makes an overlay of the same backing file`, () => {
      succeeds(verb, '--target=copy.qcow2', '--sync=top', 'top.qcow2');
      expect(backingOf('copy.qcow2')).to.equal('mid.qcow2');
      expect(content('copy.qcow2').equals(content('top.qcow2'))).to.equal(true);
      const runs = JSON.parse(shop.must('qemu-img', 'map', '--output=json', 'copy.qcow2')) as {
        start: number;
        depth: number;
      }[];
      expect(runs.find(({ start }) => start === 0)).to.include({ depth: 2 });
    });

    it(`${verb} into an existing image of the wrong size is refused`, () => {
      shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'small.qcow2', '30M');
      const { code, stderr } = shop.ours(verb, '--target=small.qcow2', '--mode=existing', 'top.qcow2');
      expect(code).to.equal(1);
      expect(stderr).to.equal('diskwright: Source and target image have different sizes\n');
    });
  }

  for (const [format, options] of [
    ['raw', []],
    ['qcow2', []],
    ['qcow2', ['-c']],
    ['qcow2', ['-c', '-o', 'compression_type=zstd,cluster_size=4k']],
    ['qcow2', ['-S', '0']],
    ['qcow2', ['-o', 'compat=0.10,cluster_size=2M', '-m', '16', '-W']],
  ] as const) {
    it(`convert -O ${format} ${options.join(' ')} keeps the content`, () => {
      succeeds('convert', '-O', format, ...options, 'top.qcow2', 'copy');
      expect(shop.must('qemu-img', 'compare', 'top.qcow2', 'copy')).to.equal('Images are identical.\n');
      if (format === 'qcow2') isClean('copy');
    });
  }

  it('convert -B copies what the top holds alone', () => {
    succeeds('convert', '-O', 'qcow2', '-B', 'mid.qcow2', '-F', 'qcow2', 'top.qcow2', 'copy.qcow2');
    expect(shop.must('qemu-img', 'compare', 'top.qcow2', 'copy.qcow2')).to.equal('Images are identical.\n');
    expect(backingOf('copy.qcow2')).to.equal('mid.qcow2');
  });

  it('-p prints percentages as qemu-img does where there is no terminal', () => {
    const text = succeeds('convert', '-p', '-O', 'raw', 'top.qcow2', 'copy.raw');
    expect(text).to.match(/^( {4}\(\d+\.\d\d\/100%\)\r)+\n$/);
    expect(text).to.include('    (100.00/100%)\r\n');
  });

  it('--progress=json prints one object a line, the last of them the outcome', () => {
    const lines = succeeds('backup', '--progress=json', '--target=copy.qcow2', 'top.qcow2').trimEnd().split('\n');
    const objects = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(objects[0]).to.include({ event: 'progress', status: 'running' });
    expect(objects.at(-2)).to.include({ event: 'progress', status: 'concluded', percent: 100 });
    expect(objects.at(-1)).to.deep.equal({ event: 'completed', job: 'backup' });
  });

  /** Starts a slow command, interrupts it as soon as it shows progress, and says how it ended. */
  async function interrupted(...args: string[]): Promise<{ end: unknown[]; stderr: string }> {
    const child = spawn(process.execPath, [await cliBundle(), ...args, '--progress=json', '-r', '512k'], {
      cwd: shop.folder,
    });
    let stderr = '';
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString();
    });
    child.stdout.once('data', () => child.kill('SIGINT'));
    return { end: await once(child, 'close'), stderr };
  }

  it('Ctrl-C ends a stream by the signal, and the image reads as before', async () => {
    const before = content('top.qcow2');
    expect(await interrupted('stream', 'top.qcow2')).to.deep.equal({
      end: diedBy('SIGINT'),
      stderr:
        "diskwright: Cancelled. 'top.qcow2' reads as before and still needs its backing files. Run the same command again to continue.\n",
    });
    expect(backingOf('top.qcow2')).to.equal('mid.qcow2');
    expect(content('top.qcow2').equals(before)).to.equal(true);
    isClean('top.qcow2');
  });

  it('Ctrl-C ends a commit by the signal, and the overlay reads as before', async () => {
    const before = content('top.qcow2');
    const { end, stderr } = await interrupted('commit', '-b', 'base.qcow2', 'top.qcow2');
    expect(end).to.deep.equal(diedBy('SIGINT'));
    expect(stderr).to.include("'top.qcow2' reads as before");
    expect(content('top.qcow2').equals(before)).to.equal(true);
    isClean('base.qcow2');
  });

  for (const args of [
    ['convert', '-O', 'qcow2', 'top.qcow2', 'copy.qcow2'],
    ['mirror', '--target=copy.qcow2', 'top.qcow2'],
    ['backup', '--target=copy.qcow2', 'top.qcow2'],
  ]) {
    it(`Ctrl-C ends ${args[0]} by the signal and names the incomplete target`, async () => {
      const { end, stderr } = await interrupted(...args);
      expect(end).to.deep.equal(diedBy('SIGINT'));
      expect(stderr).to.include("'copy.qcow2' is incomplete: delete it or start again.");
      isClean('copy.qcow2');
    });
  }

  for (const [words, message] of [
    ['stream --base=gone top.qcow2', "Did not find 'gone' in the backing chain of 'top.qcow2'"],
    [
      'stream --base=mid.qcow2 --bottom=mid.qcow2 top.qcow2',
      "'base' and 'bottom' cannot be specified at the same time",
    ],
    [
      'stream --on-error=stop top.qcow2',
      "Parameter 'on-error' does not accept value 'stop': use one of report, ignore",
    ],
    ['mirror top.qcow2', "Parameter '--target' is missing"],
    ['mirror --target=x --format=xyz top.qcow2', "Unknown file format 'xyz'"],
    [
      'mirror --target=x --sync=dirty top.qcow2',
      "Parameter 'sync' does not accept value 'dirty': use one of full, top, none",
    ],
    ['mirror --target=x --bitmap=b top.qcow2', "option '--bitmap' is not supported yet"],
    ['backup --target=x --format=raw --compress top.qcow2', 'Compression not supported for this file format'],
    [
      'backup --target=x --format=vmdk -o subformat=monolithicFlat --compress top.qcow2',
      'Compression is not supported for this drive ',
    ],
    ['backup --target=x --max-workers=0 top.qcow2', "Parameter 'max-workers' expects a number from 1 to 64"],
    ['convert -C -S 4k -O raw top.qcow2 x', 'Cannot enable copy offloading when -S is used'],
    ['convert --progress=loud -O raw top.qcow2 x', '--progress must be used with bar, json or none as argument.'],
  ] as const) {
    it(`refuses: ${words}`, () => {
      const { code, stdout, stderr } = shop.ours(...words.split(' '));
      expect({ code, stdout, first: stderr.split('\n')[0] }).to.deep.equal({
        code: 1,
        stdout: '',
        first: `diskwright: ${message}`,
      });
    });
  }
});
