// Commands that change an image in place where the file system has no byte left.

import { expect } from 'chai';
import { type Outcome, Workshop } from '../support/cli.js';
import { leaveOut } from '../support/needs.js';
import { Place, type PlaceKind } from './place.js';

const NO_SPACE = "diskwright: compact failed: 'disk': No space left on device\ndiskwright: 'disk' reads as before.\n";

/** What is in the image before: the commands of `io` that make it. */
const CASES: readonly (readonly [what: string, commands: readonly string[], said: Partial<Outcome>])[] = [
  [
    'is done where it drops zeroes first, which gives space',
    ['write -P 0 0 6M', 'write -P 3 20M 4M'],
    { code: 0, stderr: '', stdout: 'Freed 6 MiB of 10.3 MiB, dropped 6 MiB, moved 4 MiB.\n' },
  ],
  [
    'fails with one reason where data would have to move into holes, and nothing is lost',
    ['write -P 2 0 6M', 'write -P 3 20M 4M', 'discard 0 6M'],
    { code: 1, stderr: NO_SPACE, stdout: '' },
  ],
];

for (const kind of ['ext4', 'tmpfs'] satisfies PlaceKind[]) {
  describe(`changes in place on a full ${kind}`, function () {
    this.timeout(60_000);
    let shop: Workshop;
    let place: Place | undefined;

    before(async function () {
      if (process.getuid?.() !== 0 || !Place.possible()) leaveOut(this, 'mount name spaces');
      shop = await Workshop.open();
    });
    beforeEach(() => {
      place = Place.make(kind, 24 << 20);
    });
    afterEach(() => place?.remove());
    after(() => shop?.remove());

    it('other commands fail in the words of the system, and leave the content as it was', () => {
      const { folder } = place as Place;
      const ours = (...words: string[]): Outcome =>
        shop.run('sh', '-c', `cd ${folder} && exec "$0" "$@"`, process.execPath, shop.bundle, ...words);
      expect(ours('create', '-q', '-f', 'qcow2', 'disk', '40M').code).to.equal(0);
      expect(ours('io', '-c', 'write -P 1 0 6M', 'disk').code).to.equal(0);
      expect(ours('convert', '-O', 'raw', 'disk', shop.path('before')).code).to.equal(0);
      place?.fill();
      const why = 'No space left on device';
      for (const [line, words] of [
        ['snapshot -c s disk', `Could not create snapshot 's': -28 (disk: ${why})`],
        ['bitmap --add disk b', `disk: Could not store the new persistent bitmaps 'b': ${why}`],
        ['amend -o refcount_bits=64 disk', `disk: ${why}`],
        ['resize -q disk 400G', `disk: ${why}`],
      ]) {
        expect(ours(...line.split(' ')), line).to.deep.equal({ code: 1, stdout: '', stderr: `diskwright: ${words}\n` });
      }
      expect(ours('compare', 'disk', shop.path('before')).stdout).to.equal('Images are identical.\n');
      // Leaks at worst.
      expect(ours('check', '-q', 'disk').code).to.be.oneOf([0, 3]);
    });

    for (const [what, commands, said] of CASES) {
      it(`compact ${what}`, () => {
        const { folder } = place as Place;
        const ours = (...words: string[]): Outcome =>
          shop.run('sh', '-c', `cd ${folder} && exec "$0" "$@"`, process.execPath, shop.bundle, ...words);
        expect(ours('create', '-q', '-f', 'qcow2', 'disk', '40M').code).to.equal(0);
        expect(ours('io', ...commands.flatMap((command) => ['-c', command]), 'disk').code).to.equal(0);
        expect(ours('convert', '-O', 'raw', 'disk', shop.path('before')).code).to.equal(0);
        place?.fill();
        expect(place?.free()).to.equal(0);
        expect(ours('compact', 'disk')).to.deep.include(said);
        expect(ours('compare', 'disk', shop.path('before')).stdout).to.equal('Images are identical.\n');
        expect(ours('check', 'disk').stdout).to.match(/^No errors were found on the image\.\n/);
        // With space again, it does what is left.
        place?.relieve();
        expect(ours('compact', '-q', 'disk')).to.deep.equal({ code: 0, stdout: '', stderr: '' });
        expect(ours('compare', 'disk', shop.path('before')).stdout).to.equal('Images are identical.\n');
      });
    }
  });
}
