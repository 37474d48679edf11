// A folder that is open: what lies in it, and that nothing outside of it is reached, whatever lies there meanwhile.

import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { expect } from 'chai';
import type { HostFolder } from '../../src/host/host.js';
import { createSimHost } from '../../src/host/sim/index.js';
import { failureOf } from '../drivers/support.js';
import { overEngines } from './engines.js';

overEngines('folders', (bench) => {
  const content = async (names: string[]): Promise<string> => {
    const folder = await bench.host.folders.open(bench.path('folder'));
    try {
      const file = await folder.openFile(names);
      const bytes = new Uint8Array(await file.size());
      await file.read(0, bytes);
      await file.close();
      return Buffer.from(bytes).toString();
    } finally {
      await folder.close();
    }
  };

  before(() => {
    mkdirSync(bench.path('folder/sub'), { recursive: true });
    mkdirSync(bench.path('outside/sub'), { recursive: true });
    for (const name of ['folder/file', 'folder/sub/file', 'outside/file', 'outside/sub/file']) {
      writeFileSync(bench.path(name), name);
    }
    writeFileSync(Buffer.concat([Buffer.from(bench.path('folder/')), Buffer.from([0x61, 0xff])]), 'bytes');
    symlinkSync('../outside/file', bench.path('folder/link'));
    symlinkSync('../outside', bench.path('folder/linked'));
  });

  it('say what lies in them, links as links', async () => {
    const folder = await bench.host.folders.open(bench.path('folder'));
    const found = await folder.entries([], 100);
    expect(found.map(({ name, kind }) => `${name} ${kind}`).sort()).to.deep.equal(
      ['a\udcff file', 'file file', 'link link', 'linked link', 'sub folder'].sort(),
    );
    const [file] = await folder.entries(['sub'], 1);
    expect(file).to.deep.equal(await folder.info(['sub', 'file']));
    expect([file.size, file.mtimeMs > Date.now() - 600_000]).to.deep.equal([15, true]);
    expect((await folder.info([])).kind).to.equal('folder');
    expect((await failureOf(folder.entries([], 4))).code).to.equal('limit');
    await folder.close();
  });

  it('open the files in them', async () => {
    expect(await content(['file'])).to.equal('folder/file');
    expect(await content(['sub', 'file'])).to.equal('folder/sub/file');
    expect(await content(['a\udcff'])).to.equal('bytes');
  });

  const LEADING_OUT: readonly [string[], string[]][] = [
    [['link'], ['loop']],
    [
      ['linked', 'file'],
      ['loop', 'not-found'],
    ],
    [
      ['linked', 'sub', 'file'],
      ['loop', 'not-found'],
    ],
    [['..', 'outside', 'file'], ['invalid-argument']],
    [['../outside/file'], ['invalid-argument']],
    [['sub', '..', '..', 'outside', 'file'], ['invalid-argument']],
    [['.'], ['invalid-argument']],
    [[''], ['invalid-argument']],
    [['file\0'], ['invalid-argument']],
    [['nothing'], ['not-found']],
    [['file', 'below'], ['not-found']],
  ];
  for (const [names, codes] of LEADING_OUT) {
    it(`do not open ${JSON.stringify(names)}`, async () => {
      expect((await failureOf(content(names))).code).to.be.oneOf(codes);
    });
  }

  it('stay the folder that was opened, where another one has its name', async () => {
    mkdirSync(bench.path('first'));
    writeFileSync(bench.path('first/file'), 'first');
    const folder = await bench.host.folders.open(bench.path('first'));
    renameSync(bench.path('first'), bench.path('renamed'));
    symlinkSync('outside', bench.path('first'));
    expect((await folder.entries([], 9)).map(({ size }) => size)).to.deep.equal([5]);
    await folder.close();
    expect((await failureOf(folder.entries([], 9))).code).to.equal('closed');
  });

  describe('are changed', () => {
    let folder: HostFolder;
    beforeEach(async () => {
      folder = await bench.host.folders.open(bench.path('folder'));
    });
    afterEach(() => folder.close());

    it('by new files, which have the permissions that are asked for', async () => {
      const file = await folder.createFile(['sub', 'new'], 0o606);
      await file.write(0, Buffer.from('new content'));
      await file.flush();
      await file.close();
      expect(readFileSync(bench.path('folder/sub/new'), 'latin1')).to.equal('new content');
      expect((await folder.info(['sub', 'new'])).permissions).to.equal(0o606);
      expect((await failureOf(folder.createFile(['sub', 'new'], null))).code).to.equal('exists');
      // Through a link, neither what it leads to nor what would be made there.
      expect((await failureOf(folder.createFile(['link'], null))).code).to.equal('exists');
      await folder.removeFile(['sub', 'new']);
      expect(existsSync(bench.path('folder/sub/new'))).to.equal(false);
    });

    it('by other names, times and folders', async () => {
      await folder.createFolder(['made']);
      expect((await failureOf(folder.createFolder(['made']))).code).to.equal('exists');
      await (await folder.createFile(['one'], null)).close();
      await folder.rename(['one'], ['made', 'two']);
      await folder.setTimes(['made', 'two'], 1e12, 1.5e12);
      expect(await folder.info(['made', 'two'])).to.include({ atimeMs: 1e12, mtimeMs: 1.5e12 });
      await folder.flush(['made']);
      expect((await failureOf(folder.removeFolder(['made']))).errno).to.equal('ENOTEMPTY');
      await folder.removeFile(['made', 'two']);
      await folder.removeFolder(['made']);
      expect(existsSync(bench.path('folder/made'))).to.equal(false);
    });

    const OUTSIDE: readonly [string, (names: string[]) => Promise<unknown>][] = [
      ['createFile', (names) => folder.createFile(names, null)],
      ['createFolder', (names) => folder.createFolder(names)],
      ['rename from', (names) => folder.rename(names, ['stolen'])],
      ['rename to', (names) => folder.rename(['file'], names)],
      ['removeFile', (names) => folder.removeFile(names)],
      ['removeFolder', (names) => folder.removeFolder(names)],
      ['setTimes', (names) => folder.setTimes(names, 0, 0)],
      ['flush', (names) => folder.flush(names)],
    ];
    for (const [what, action] of OUTSIDE) {
      it(`never outside: ${what}`, async () => {
        const before = statSync(bench.path('outside/file')).ctimeMs;
        for (const names of [
          ['linked', 'file'],
          ['..', 'outside', 'file'],
          ['../outside/file'],
          ['linked', 'new'],
          ['..'],
        ]) {
          expect((await failureOf(action(names))).code).to.be.oneOf(['loop', 'not-found', 'invalid-argument']);
        }
        expect(readdirSync(bench.path('outside')).sort()).to.deep.equal(['file', 'sub']);
        expect(statSync(bench.path('outside/file')).ctimeMs).to.equal(before);
        expect(existsSync(bench.path('folder/file'))).to.equal(true);
      });
    }
  });

  it('are refused where there is none', async () => {
    const opening = (name: string) => failureOf(bench.host.folders.open(bench.path(name)));
    expect((await opening('gone')).code).to.equal('not-found');
    expect((await opening('folder/file')).errno).to.equal('ENOTDIR');
    expect((await opening('a\0b')).code).to.equal('invalid-argument');
  });
});

describe('folders of the simulated host', () => {
  it('are refused by name', async () => {
    expect((await failureOf(createSimHost().folders.open('/'))).code).to.equal('unsupported');
  });
});
