// What a machine has written and could not be brought to the folder is not lost: a flush that is put off is warned of, and at the end the disk is kept as an image.

import { appendFileSync, readdirSync, readFileSync, readlinkSync, renameSync, statSync } from 'node:fs';
import { expect } from 'chai';
import type { HostFile } from '../../../src/host/host.js';
import { BlockError } from '../../../src/util/errors.js';
import { requirePeer } from '../../support/peers.js';
import { failureOf } from '../support.js';
import { FolderLab, Machine } from './lab.js';

/** The image that the message says. */
function imageIn({ message }: Error): string {
  const name = /The disk is kept as '([^']*)', a raw image/.exec(message)?.[1];
  expect(name, message).to.match(/\/\.diskwright-[0-9a-f]{16}\.img$/);
  return name!;
}

describe('vvfat: a disk that cannot be brought to its folder', function () {
  this.timeout(60_000);
  let lab: FolderLab;
  before(function () {
    requirePeer(this, 'mcopy');
  });
  beforeEach(() => {
    lab = new FolderLab();
  });
  afterEach(() => lab.close());

  /** The two FATs of a floppy differ. */
  const breakFats = (pc: Machine) => pc.poke(512 + 2 * 512 + 300, [1]);

  it('is kept whole as an image, which its owner alone may read, and which the error names', async () => {
    lab.write('disk/file', 'of the folder');
    const pc = await Machine.start(lab, { floppy: true });
    pc.copyOver('new');
    breakFats(pc);
    await pc.flush();
    const error = await failureOf(pc.stop());
    expect(error.code).to.equal('bad-state');
    expect(error.message).to.match(/not consistent \(the two file allocation tables differ\)\. The disk is kept as/);
    const image = imageIn(error);
    const { mode, blocks, size } = statSync(image);
    expect(mode & 0o7777).to.equal(0o600);
    expect(size).to.equal(pc.disk.length);
    expect(blocks * 512).to.be.lessThan(size / 4);
    expect(Buffer.compare(readFileSync(image), pc.disk)).to.equal(0);
    expect(pc.disk.includes('what the machine has put into new')).to.equal(true);
  });

  it('is refused until the image is moved away, by name', async () => {
    lab.write('disk/file', 'of the folder');
    const pc = await Machine.start(lab, { floppy: true });
    breakFats(pc);
    await pc.write();
    const image = imageIn(await failureOf(pc.stop()));
    for (const own of [{ floppy: true }, { floppy: true, rw: true, 'read-only': false }]) {
      const error = await failureOf(lab.open(own));
      expect([error.code, error.message.includes(`'${image}'`)]).to.deep.equal(['bad-state', true], error.message);
    }
    renameSync(image, lab.path('image'));
    await lab.open({ floppy: true });
  });

  it('is kept with all that can be read still, where another program has changed files', async () => {
    lab.write('disk/file', 'of the folder');
    lab.write('disk/other', 'as it was'.repeat(10_000));
    const pc = await Machine.start(lab, { floppy: true });
    pc.copyOver('file');
    await pc.write();
    for (const name of ['file', 'other']) appendFileSync(lab.path('disk', name), 'theirs');
    const error = await failureOf(pc.stop());
    expect(error.code).to.equal('bad-state');
    expect(error.message).to.match(/file' was changed by another program.*, but not whole: .*has changed since/);
    const image = readFileSync(imageIn(error));
    expect(image.includes('what the machine has put into file')).to.equal(true);
    expect(image.length).to.equal(pc.disk.length);
    expect(readFileSync(lab.path('disk/file'), 'utf8')).to.equal('of the foldertheirs');
  });

  it('needs no more space for what the machine has written than that took already', async () => {
    const openFolder = lab.host.folders.open.bind(lab.host.folders);
    const most: number[] = [];
    lab.host.folders.open = async (path) => {
      const folder = await openFolder(path);
      const createFile = folder.createFile.bind(folder);
      const made: HostFile[] = [];
      folder.createFile = async (names) => {
        const file = await createFile(names);
        made.push(file);
        const punchHole = file.punchHole.bind(file);
        file.punchHole = async (offset, length) => {
          const infos = await Promise.all(made.map((one) => one.info()));
          most.push(infos.reduce((sum, { allocated }) => sum + allocated, 0));
          await punchHole(offset, length);
        };
        return file;
      };
      return folder;
    };
    const pc = await Machine.start(lab, { floppy: true });
    lab.write('large', Buffer.alloc(2 << 20, 'written'));
    pc.mtools('mcopy', lab.path('large'), '::/large');
    breakFats(pc);
    await pc.write();
    expect(Buffer.compare(readFileSync(imageIn(await failureOf(pc.stop()))), pc.disk)).to.equal(0);
    expect(most.length).to.be.greaterThan(30);
    expect(Math.max(...most)).to.be.lessThan(2.5 * (1 << 20));
  });

  it('is said to be lost where no image can be made', async () => {
    let fails = false;
    lab.watch((name) => {
      if (fails && name === 'createFile') throw new BlockError('no-space', 'no space for it');
    });
    const pc = await Machine.start(lab, { floppy: true });
    breakFats(pc);
    await pc.write();
    fails = true;
    expect((await failureOf(pc.stop())).message).to.match(/could not be kept as an image either.*no space for it/);
  });

  /** Files of the lab that this process has open. */
  const open = () =>
    readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).startsWith(lab.root);
      } catch {
        return false;
      }
    });

  it('leaves nothing open, also where closing a file fails', async () => {
    for (const name of ['file', 'other']) lab.write(`disk/${name}`, 'of the folder');
    const openFolder = lab.host.folders.open.bind(lab.host.folders);
    lab.host.folders.open = async (path) => {
      const folder = await openFolder(path);
      const openFile = folder.openFile.bind(folder);
      folder.openFile = async (names) => {
        const file = await openFile(names);
        const close = file.close.bind(file);
        file.close = async () => {
          await close();
          throw new BlockError('io', 'closing fails');
        };
        return file;
      };
      return folder;
    };
    const pc = await Machine.start(lab, { floppy: true });
    expect(open()).to.have.length(4);
    expect((await failureOf(pc.stop())).message).to.equal('closing fails');
    expect(open()).to.deep.equal([]);
  });

  it('leaves nothing open where it cannot be made', async () => {
    Object.defineProperty(lab.graph, 'warn', {
      get: () => {
        throw new BlockError('internal', 'no node is made');
      },
    });
    expect((await failureOf(lab.open({ floppy: true, rw: true, 'read-only': false }))).code).to.equal('internal');
    expect(open()).to.deep.equal([]);
  });

  it('is warned of at the first flush that is put off, and once more after one that was not', async () => {
    lab.write('disk/file', 'of the folder');
    const pc = await Machine.start(lab, { floppy: true });
    const whole = readFileSync(lab.path('machine.raw'));
    const text = `warning: What a machine has written is not in '${lab.path('disk')}' yet: its file system is not consistent (the two file allocation tables differ)`;
    for (const warnings of [[text], [text, text]]) {
      breakFats(pc);
      await pc.flush();
      pc.poke(pc.disk.length - 512, [warnings.length]);
      await pc.flush();
      expect(lab.warnings).to.deep.equal(warnings);
      pc.poke(0, whole);
      await pc.flush();
      expect(lab.warnings).to.deep.equal(warnings);
    }
    await pc.stop();
  });
});
