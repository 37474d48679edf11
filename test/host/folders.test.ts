// A folder that is open: what lies in it, and that nothing outside of it is reached, whatever lies there meanwhile.

import fs, {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { setImmediate } from 'node:timers/promises';
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

    it("by new files, which are their owner's alone until they get other permissions", async () => {
      const file = await folder.createFile(['sub', 'new']);
      await file.write(0, Buffer.from('new content'));
      await file.flush();
      await file.close();
      expect(readFileSync(bench.path('folder/sub/new'), 'latin1')).to.equal('new content');
      const { id, permissions } = await folder.info(['sub', 'new']);
      expect(permissions).to.equal(0o600);
      await folder.setPermissions(['sub', 'new'], id, 0o606);
      expect((await folder.info(['sub', 'new'])).permissions).to.equal(0o606);
      await folder.setPermissions(['sub', 'new'], id, null);
      expect((await folder.info(['sub', 'new'])).permissions).to.equal(0o644 & ~process.umask());
      expect((await failureOf(folder.setPermissions(['file'], id, 0o600))).code).to.equal('bad-state');
      expect((await failureOf(folder.createFile(['sub', 'new']))).code).to.equal('exists');
      // Through a link, neither what it leads to nor what would be made there.
      expect((await failureOf(folder.createFile(['link']))).code).to.equal('exists');
      expect((await failureOf(folder.setPermissions(['link'], id, 0o600))).code).to.equal('loop');
      await folder.removeFile(['sub', 'new']);
      expect(existsSync(bench.path('folder/sub/new'))).to.equal(false);
    });

    it('by other names, times and folders', async () => {
      await folder.createFolder(['made'], true);
      expect((await folder.info(['made'])).permissions).to.equal(0o700);
      expect((await failureOf(folder.createFolder(['made'], true))).code).to.equal('exists');
      await (await folder.createFile(['one'])).close();
      await folder.rename(['one'], ['made', 'two']);
      await folder.setTimes(['made', 'two'], 1e12, 1.5e12);
      expect(await folder.info(['made', 'two'])).to.include({ atimeMs: 1e12, mtimeMs: 1.5e12 });
      await folder.flush(['made']);
      expect((await failureOf(folder.removeFolder(['made']))).errno).to.equal('ENOTEMPTY');
      await folder.removeFile(['made', 'two']);
      await folder.removeFolder(['made']);
      expect(existsSync(bench.path('folder/made'))).to.equal(false);
    });

    it('by names that nothing has yet, where there are no hard links', async () => {
      const { link } = fs;
      fs.link = ((_old: unknown, _at: unknown, done: (error: Error) => void) =>
        done(Object.assign(new Error('no links'), { code: 'EPERM' }))) as unknown as typeof link;
      syncBuiltinESMExports();
      try {
        expect((await failureOf(folder.renameToFree(['sub', 'file'], ['file']))).code).to.equal('exists');
        expect(readFileSync(bench.path('folder/file'), 'latin1')).to.equal('folder/file');
        await folder.renameToFree(['file'], ['sub', 'renamed']);
        expect(existsSync(bench.path('folder/file'))).to.equal(false);
        await folder.renameToFree(['sub', 'renamed'], ['file']);
        expect(readFileSync(bench.path('folder/file'), 'latin1')).to.equal('folder/file');
      } finally {
        fs.link = link;
        syncBuiltinESMExports();
      }
    });

    it('by names that nothing has yet', async () => {
      await (await folder.createFile(['one'])).close();
      const { id } = await folder.info(['one']);
      for (const taken of [['file'], ['sub'], ['link'], ['sub', 'file'], ['one']]) {
        expect((await failureOf(folder.renameToFree(['one'], taken))).code, taken.join('/')).to.equal('exists');
      }
      expect(readFileSync(bench.path('folder/file'), 'latin1')).to.equal('folder/file');
      await folder.renameToFree(['one'], ['sub', 'two']);
      expect((await folder.info(['sub', 'two'])).id).to.equal(id);
      expect(existsSync(bench.path('folder/one'))).to.equal(false);
      await folder.removeFile(['sub', 'two']);
    });

    it('by files without the bits that give a program other rights', async () => {
      for (const [bits, left] of [
        [0o4755, 0o755],
        [0o2755, 0o755],
        [0o1644, 0o644],
      ]) {
        chmodSync(bench.path('folder/file'), bits);
        expect((await folder.info(['file'])).permissions).to.equal(left);
      }
      chmodSync(bench.path('folder/file'), 0o644);
    });

    it('only where they can be, as far as that is told before', async () => {
      await folder.checkWritable([]);
      await folder.checkWritable(['sub']);
      expect((await failureOf(folder.checkWritable(['none']))).code).to.equal('not-found');
      // The system lets its administrator write anywhere.
      if (process.getuid?.() === 0) return;
      chmodSync(bench.path('folder/sub'), 0o555);
      expect((await failureOf(folder.checkWritable(['sub']))).code).to.equal('permission');
      chmodSync(bench.path('folder/sub'), 0o755);
    });

    it('while they are listed: what has gone by then is left out', async () => {
      mkdirSync(bench.path('folder/many'));
      const names = Array.from({ length: 400 }, (_, index) => `${index}`);
      for (const name of names) writeFileSync(bench.path(`folder/many/${name}`), '');
      let left = names.length;
      const listing = folder.entries(['many'], 1000).finally(() => {
        left = 0;
      });
      // From both ends: the system lists them in an order of its own.
      for (const name of names.flatMap((name, index) => [names[names.length - 1 - index], name])) {
        if (left === 0) break;
        rmSync(bench.path(`folder/many/${name}`), { force: true });
        await setImmediate();
      }
      expect((await listing).length).to.be.lessThan(names.length);
      rmSync(bench.path('folder/many'), { recursive: true });
    });

    const OUTSIDE: readonly [string, (names: string[]) => Promise<unknown>][] = [
      ['createFile', (names) => folder.createFile(names)],
      ['createFolder', (names) => folder.createFolder(names, false)],
      ['setPermissions', async (names) => folder.setPermissions(names, (await folder.info(names)).id, 0o777)],
      ['rename from', (names) => folder.rename(names, ['stolen'])],
      ['rename to', (names) => folder.rename(['file'], names)],
      ['renameToFree from', (names) => folder.renameToFree(names, ['stolen'])],
      ['renameToFree to', (names) => folder.renameToFree(['file'], names)],
      ['checkWritable', (names) => folder.checkWritable(names)],
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
