// `convert --bitmaps` beside qemu-img: the same words and exit codes, and the target has the same bitmaps. What qemu-img refuses after it has made or filled the target,
// we refuse before.

import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openRealHost, Workspace } from '../../src/index.js';
import { failureOf } from '../drivers/support.js';
import { asOurs, cliBundle, type Outcome } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { timeLimit } from '../support/sample.js';
import { dirtyIn, isSame, listed, makeBitmapImages, runIn, said, sideBySide } from './bitmap-images.js';
import { qemuCheck, qemuImg } from './support.js';

/** What follows `convert --bitmaps`. `good` has bitmaps b1, b2 and b3 and a snapshot; `x` is the target. */
const COMMANDS: readonly string[] = [
  '-O qcow2 good x',
  '-O qcow2 -c good x',
  '-O qcow2 -o cluster_size=512 good x',
  '-O qcow2 -o cluster_size=2M good x',
  '-O qcow2 -B base -F qcow2 good x',
  '-O qcow2 -l now good x',
  '-O qcow2 --image-opts driver=qcow2,file.filename=good x',
  '-O qcow2 disk x',
  '-q -O qcow2 disk x',
  '--skip-broken-bitmaps -O qcow2 disk x',
  '--skip-broken-bitmaps -q -O qcow2 disk x',
  '--skip-broken-bitmaps -O qcow2 base x',
  '--skip-broken-bitmaps -O raw disk x',
  '-O raw disk x',
  '-O raw base x',
  '-O raw good x',
  '-O raw -c good x',
  '-O raw -o foo=1 raw x',
  '-O bogus disk x',
  '-O qcow2 raw x',
  '-f raw -O qcow2 good x',
  '-O qcow2 two x',
  '-O qcow2 -o compat=0.10 base x',
  '-O qcow2 -o compat=0.10 disk x',
  '-O qcow2 -l none disk x',
  '-O qcow2 -l none raw x',
  '-O qcow2 gone x',
  '-n -O qcow2 good fresh',
  '-n -O qcow2 good taken',
  '-n -O qcow2 good two',
  '-n -O qcow2 good large',
  '-n -O raw good raw',
  '-n -O raw disk raw',
  '-n -O qcow2 good gone',
  '-n --target-image-opts good driver=raw,file.filename=raw',
  '-n --target-image-opts good driver=qcow2,file.filename=fresh',
];

describe('convert --bitmaps beside qemu-img', function () {
  this.timeout(timeLimit(120_000));
  let root: string;
  let origin: string;
  let bundle: string;
  let workspace: Workspace;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io', 'qemu-storage-daemon']) requirePeer(this, peer);
    root = mkdtempSync(join(tmpdir(), 'diskwright-copies-'));
    origin = join(root, 'origin');
    bundle = await cliBundle();
    workspace = new Workspace(await openRealHost());
    await makeBitmapImages(origin);
    await makeMore(workspace, origin);
  });
  after(async () => {
    await workspace?.close();
    rmSync(root, { recursive: true, force: true });
  });

  it('says and does the same', async () => {
    const work = COMMANDS.map((command, i) => ({ words: ['convert', '--bitmaps', ...command.split(' ')], i }));
    await sideBySide(work, async ({ words, i }) => {
      const folders = [join(root, `ours${i}`), join(root, `theirs${i}`)];
      for (const folder of folders) cpSync(origin, folder, { recursive: true });
      const [ours, theirs] = await Promise.all([
        runIn(process.execPath, [bundle, ...words], folders[0]),
        runIn('qemu-img', words, folders[1]),
      ]);
      const line = words.join(' ');
      expect(said(ours), line).to.equal(said(inOurWords(theirs)));
      const name = words.at(-1)!.replace('driver=qcow2,file.filename=', '');
      const [our, their] = folders.map((folder) => join(folder, name));
      if (ours.code !== 0) {
        // Nothing was touched, where qemu-img may have made it, or filled it.
        const was = join(origin, name);
        if (existsSync(was)) expect(isSame(our, was), `${line}: the target is as it was`).to.equal(true);
        else expect(existsSync(our), `${line}: there is no target`).to.equal(false);
        return;
      }
      expect(listed(our), `${line}: bitmaps`).to.deep.equal(listed(their));
      expect(await dirtyIn(workspace, our), `${line}: bits`).to.deep.equal(await dirtyIn(workspace, their));
      expect(qemuCheck(our).status, `${line}: check`).to.equal(0);
      expect(await workspace.compare(our, their)).to.have.property('identical', true);
    });
  });

  it('refuses the second option without the first', async () => {
    const words = ['convert', '--skip-broken-bitmaps', '-O', 'qcow2', 'good', 'x'];
    const [ours, theirs] = await Promise.all([
      runIn(process.execPath, [bundle, ...words], origin),
      runIn('qemu-img', words, origin),
    ]);
    expect(said(ours)).to.equal(said(asOurs(theirs)));
  });

  it('does the same from the library', async () => {
    const place = join(root, 'library');
    mkdirSync(place);
    const target = join(place, 'x.qcow2');
    await workspace.convert(join(origin, 'good'), target, { bitmaps: 'all' });
    expect(await dirtyIn(workspace, target)).to.deep.equal(await dirtyIn(workspace, join(origin, 'good')));
    const disk = join(origin, 'disk');
    await workspace.convert(disk, target, { bitmaps: 'consistent' });
    expect(Object.keys(await dirtyIn(workspace, target)).sort()).to.deep.equal(['off', 'on']);
    await workspace.convert(disk, target);
    expect(await dirtyIn(workspace, target)).to.deep.equal({});
    expect(await failureOf(workspace.convert(disk, target, { bitmaps: 'all' }))).to.have.property('code', 'bad-state');
    const raw = workspace.convert(disk, join(place, 'x.raw'), { bitmaps: 'consistent' });
    expect(await failureOf(raw)).to.have.property('code', 'unsupported');
    const now = { bitmaps: 'all', source: { snapshot: { name: 'now' } } } as const;
    const ofSnapshot = workspace.convert(join(origin, 'good'), target, now);
    expect(await failureOf(ofSnapshot)).to.have.property('code', 'invalid-argument');
  });

  it('offers no bitmaps of a disk with a snapshot of it', async () => {
    await using image = await workspace.open(join(origin, 'good'), { readOnly: true, snapshot: { name: 'now' } });
    expect(image.bitmaps).to.deep.equal([]);
  });
});

async function makeMore(workspace: Workspace, origin: string): Promise<void> {
  const path = (name: string) => join(origin, name);
  const create = (name: string) => qemuImg('create', '-q', '-f', 'qcow2', path(name), '3M');
  for (const name of ['good', 'base', 'fresh', 'taken']) create(name);
  for (const name of ['b1', 'b2', 'b3']) qemuImg('bitmap', '--add', '-g', '4k', path('good'), name);
  qemuImg('bitmap', '--disable', path('good'), 'b2');
  {
    await using image = await workspace.open(path('good'));
    await image.write(1_000_000, Buffer.alloc(100_000, 7));
  }
  qemuImg('snapshot', '-c', 'now', path('good'));
  {
    await using image = await workspace.open(path('good'));
    await image.write(2_000_000, Buffer.alloc(10_000, 8));
  }
  qemuImg('bitmap', '--add', path('taken'), 'b2');
}

function inOurWords(outcome: Outcome): Outcome {
  const ours = asOurs(outcome);
  return { ...ours, stderr: ours.stderr.replace("'qemu-img bitmap", "'diskwright bitmap") };
}
