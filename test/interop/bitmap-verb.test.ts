// The same `bitmap` command line to qemu-img and to us, each in a folder of its own with the same images: the same words, the same exit code, and images whose
// bitmaps are the same, in name, granularity, flags and bits.

import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Random } from '../../src/host/sim/index.js';
import { openRealHost, Workspace } from '../../src/index.js';
import { asOurs, cliBundle } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { DAY, SOAK, seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { dirtyIn, isSame, listed, makeBitmapImages, runIn, said, sideBySide } from './bitmap-images.js';

const SEEDS = seedsOf({ fixed: 3, daily: 1, soak: 2000 });

const IMAGES = ['disk', 'other', 'large', 'two', 'small'] as const;
const NAMES = ['on', 'off', 'old', 'new', 'from', 'none'] as const;

/** What is typed, word by word. */
const COMMANDS: readonly string[] = [
  '',
  'disk',
  'disk on',
  '--add',
  '--add disk',
  '--add disk on off',
  '--add disk on',
  '--add --add disk new',
  '--add --disable --remove --add --disable --enable disk new',
  'disk new --add',
  '--add -- disk -dash',
  '--add=5 disk new',
  '--merge on disk',
  '--add --merge on --merge none disk new',
  '--add --merge new disk new',
  '--merge none disk gone',
  '--remove --add disk on',
  '--remove --add --merge off -g 4k disk on',
  '--remove --remove disk on',
  '-g x disk on',
  '-g -1 --add disk new',
  '-g 8E --add disk new',
  '-g 1000 --add disk on',
  '-g 256 --add disk new',
  '-g 0 --add disk new',
  '-g 64k --clear disk on',
  '-g 512 --add --remove -g 1M --add disk new',
  '-g',
  '-b',
  '-F raw --merge on disk on',
  '-F raw -g 4k --clear disk on',
  '-b gone --clear disk on',
  '-b gone --add --merge on disk new',
  '-b gone --merge on gone2 on',
  '-b raw --merge on disk on',
  '-b raw -F qcow2 --merge on disk on',
  '-b raw -F bogus --merge on disk on',
  '-b disk --merge on disk on',
  '-b other --merge from --merge on disk on',
  '-b other -F qcow2 --add --merge from disk new',
  '-b large --add --merge from disk new',
  '-b overlay --merge on disk on',
  '-b json:x --merge on disk on',
  '--image-opts --merge from -b other driver=qcow2,file.filename=disk on',
  '--image-opts --merge from -b driver=qcow2,file.filename=other driver=qcow2,file.filename=disk on',
  '--image-opts -f qcow2 --add disk new',
  '--image-opts --add disk new',
  '-f raw --add disk new',
  '-f bogus --add disk new',
  '-f qcow2 --add raw new',
  '--add raw new',
  '-f raw --clear raw new',
  '--add gone new',
  '--add two new',
  '--clear two new',
  '--remove two new',
  '--add overlay new',
  '-U --add disk new',
  '--frob disk on',
  '--object secret,id=x,data=y --add disk new',
  '--object frob,id=x --add disk new',
  '--clear disk old',
  '--remove --add disk old',
  '--merge old disk on',
  '--merge on disk old',
  '-b other --merge old disk on',
];

describe('the verb bitmap beside qemu-img', function () {
  this.timeout(timeLimit(120_000));
  let root: string;
  let bundle: string;
  let workspace: Workspace;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io', 'qemu-storage-daemon']) requirePeer(this, peer);
    root = mkdtempSync(join(tmpdir(), 'diskwright-bitmap-'));
    bundle = await cliBundle();
    workspace = new Workspace(await openRealHost());
    await makeBitmapImages(join(root, 'origin'));
  });
  after(async () => {
    await workspace?.close();
    rmSync(root, { recursive: true, force: true });
  });

  /** Runs a command in both folders, copied from `origin`, and compares what it said, and what became of the images. */
  async function compare(name: string, words: readonly string[], images: readonly string[]): Promise<void> {
    const place = join(root, name);
    const folders = { ours: join(place, 'ours'), theirs: join(place, 'theirs') };
    for (const folder of Object.values(folders)) cpSync(join(root, 'origin'), folder, { recursive: true });
    const [ours, theirs] = await Promise.all([
      runIn(process.execPath, [bundle, 'bitmap', ...words], folders.ours),
      runIn('qemu-img', ['bitmap', ...words], folders.theirs),
    ]);
    const line = `bitmap ${words.join(' ')}`;
    // One command has both images open: there is no other process.
    const lockWords = /^Is another process using the image \[(.*)\]\?$/m;
    const expected = said(asOurs(theirs, 'bitmap')).replace(lockWords, "This program has '$1' open already");
    expect(said(ours), line).to.equal(expected);
    for (const image of images) {
      const [was, our, their] = ['origin', `${name}/ours`, `${name}/theirs`].map((folder) => join(root, folder, image));
      if (isSame(was, our) && isSame(was, their)) continue;
      expect(listed(our), `${line}: the bitmaps of ${image}`).to.deep.equal(listed(their));
      expect(await dirtyIn(workspace, our), `${line}: the bits of ${image}`).to.deep.equal(
        await dirtyIn(workspace, their),
      );
      const { corruptions, checkErrors } = await workspace.check(our);
      expect(corruptions + checkErrors, `${line}: faults of ${image}`).to.equal(0);
    }
    rmSync(place, { recursive: true });
  }

  it('says and does the same, right command lines and wrong ones', async () => {
    // A short run does a third of them, by the day.
    const work = COMMANDS.map((command, i) => ({ name: `command${i}`, command })).filter(
      (_, i) => SOAK || (i + DAY) % 3 === 0,
    );
    await sideBySide(work, ({ name, command }) => {
      const words = command.split(' ').filter((word) => word !== '');
      return compare(name, words, words.includes('two') ? ['disk', 'two'] : ['disk']);
    });
  });

  it(`says and does the same, command lines at random; ${spanOf(SEEDS)}`, async () => {
    await sideBySide(SEEDS, async (seed) => {
      const { words, image } = drawCommand(new Random(seed));
      await compare(`seed${seed}`, words, [image]).catch((error: Error) => {
        throw new Error(`seed ${seed}: ${error.message}`);
      });
    });
  });
});

/** A command with some actions, most of them possible. */
function drawCommand(random: Random): { words: string[]; image: string } {
  const image = random.pick(['disk', 'disk', 'disk', 'small', 'small', 'other', 'two']);
  const source = random.chance(0.2) ? random.pick(IMAGES) : null;
  const words: string[] = [];
  const name = random.pick(NAMES);
  if (random.chance(0.5)) words.push(random.chance(0.7) ? '--add' : '--remove');
  for (let count = random.between(random.chance(0.95) ? 1 : 0, 5); count > 0; count--) {
    const action = random.pick(['add', 'remove', 'clear', 'enable', 'disable', 'merge', 'merge', 'merge', 'clear']);
    words.push(`--${action}`);
    if (action === 'merge') words.push(random.pick(NAMES));
  }
  if (random.chance(0.4))
    words.push('-g', random.pick(['512', '1k', '4K', '64k', '1M', '16M', '0', '513', '256', '3k', 'k']));
  if (source !== null) words.push('-b', source);
  if (source !== null && random.chance(0.5)) words.push('-F', random.pick(['qcow2', 'qcow2', 'raw']));
  if (random.chance(0.3)) words.push('-f', random.pick(['qcow2', 'qcow2', 'raw']));
  words.splice(random.between(0, 1) * words.length, 0, image, name);
  return { words, image };
}
