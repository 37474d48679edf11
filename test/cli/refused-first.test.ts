// Whatever is wrong with a command line is told before its target is touched: a file that is there keeps its bytes, none is left that was not.

import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';

const PRECIOUS = 'precious bytes';

/** Command lines whose target is `%`: a file that is there, and a name that is not. `top` lies over `base`. */
const REFUSED: readonly (readonly [line: string, words: RegExp])[] = [
  ['backup --target= top', /'--target' expects the name of a file/],
  ['mirror --target=% --granularity=3 top', /granularity/],
  ['mirror --target=% --granularity=5000 top', /granularity.*power of 2/],
  ['mirror --target=% --format=nosuch top', /Unknown file format/],
  ['mirror --target=% -o cluster_size=3000 top', /Cluster size/],
  ['mirror --target=% --format=raw --sync=top top', /needs a target format with backing files/],
  ['mirror --target=% -o size=512 top', /has the size of the source/],
  ['mirror --target=% -o backing_file=base,backing_fmt=qcow2 top', /option 'backing_file' cannot be given/],
  ['mirror --target=% --sync=top -o backing_fmt=qcow2 top', /option 'backing_fmt' cannot be given/],
  ['backup --target=% -o size=512 top', /has the size of the source/],
  ['backup --target=% -o backing_file=base top', /option 'backing_file' cannot be given/],
  ['mirror --target=% -r -1 top', /rate limit/],
  ['mirror --target=% --on-source-error=stop top', /on-source-error/],
  ['backup --target=% --max-chunk=1 top', /max-chunk/],
  ['backup --target=% --max-chunk=64k -o cluster_size=1M top', /max-chunk.*1048576/],
  ['backup --target=% --max-workers=100 top', /max-workers/],
  ['backup --target=% --format=raw --compress top', /Compression/],
  ['convert -O qcow2 -o cluster_size=3000 top %', /Cluster size/],
  ['convert -O qcow2 -o size=512 top %', /smaller than input/],
  ['convert -O qcow2 -o compat=7 top %', /version/],
  ['convert -O raw -B base -F qcow2 top %', /Backing file not supported/],
  ['convert -O qcow2 -B gone -F raw top %', /Could not open '%': Could not open backing file: Could not open 'gone'/],
  ['convert -O qcow2 -B base -F nosuch top %', /backing-fmt/],
  ['convert -O nosuch top %', /Unknown file format/],
  ['create -f qcow2 -o cluster_size=3000 % 1M', /Cluster size/],
  ['create -f qcow2 -o compat=0.10,refcount_bits=8 % 1M', /refcount/i],
  ['create -f qcow2 -o cluster_size=512 % 1P', /too large for file format/],
  ['create -f raw -o preallocation=metadata % 1M', /preallocation mode: metadata/],
  ['create -f qcow2 -b gone -F qcow2 %', /Could not open 'gone'/],
  ...['monolithicSparse', 'streamOptimized', 'twoGbMaxExtentSparse', 'monolithicFlat', 'twoGbMaxExtentFlat'].flatMap(
    (subformat) =>
      [
        [`create -f vmdk -o subformat=${subformat} % 0`, /A disk of 0 bytes has no extents/],
        [`convert -f raw -O vmdk -o subformat=${subformat} empty %`, /A disk of 0 bytes has no extents/],
      ] as const,
  ),
];

describe('a refused command line', () => {
  let shop: Workshop;
  before(async () => {
    shop = await Workshop.open();
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'base', '1M');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base', '-F', 'qcow2', 'top');
    writeFileSync(shop.path('there'), PRECIOUS);
    writeFileSync(shop.path('empty'), '');
  });
  after(() => shop.remove());

  for (const [line, words] of REFUSED) {
    it(`leaves its target alone: ${line}`, () => {
      for (const target of ['there', 'absent']) {
        const { code, stderr } = shop.ours(...line.split(' ').map((word) => word.replace('%', target)));
        expect(stderr).to.match(new RegExp(words.source.replace('%', target), words.flags));
        expect(code).to.equal(1);
      }
      expect(readFileSync(shop.path('there'), 'utf8')).to.equal(PRECIOUS);
      expect(existsSync(shop.path('absent'))).to.equal(false);
    });
  }

  for (const verb of ['mirror', 'backup']) {
    it(`names no option that the ${verb} help does not list`, () => {
      const { code, stdout } = shop.ours(verb, '--target=q.qcow2', '-o', 'help');
      expect(code).to.equal(0);
      expect(stdout)
        .to.include('cluster_size=')
        .and.not.match(/backing_|^ *size=/m);
    });
  }

  it('that can be refused only later takes what it made with it', () => {
    // The target is made, and then the job finds that it cannot hold the source: another image of another size is there.
    truncateSync(shop.path('there'), 512);
    const { code } = shop.ours('backup', '--target=there', '--mode=existing', '--format=raw', 'top');
    expect(code).to.equal(1);
    expect(readFileSync(shop.path('there'), 'utf8').slice(0, PRECIOUS.length)).to.equal(PRECIOUS);
  });
});
