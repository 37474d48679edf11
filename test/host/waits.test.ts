// A host whose program has nothing else to do makes the calls that concern a whole file itself: no thread is started for them.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openRealHost } from '../../src/host/real/index.js';

const threads = (): number => readdirSync('/proc/self/task').length;

describe('a host that waits', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-waits-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** Makes a file of 3000 bytes with a host, and returns how many threads were started for it. */
  async function makes(path: string, waits: boolean): Promise<number> {
    const host = openRealHost({ waits, engine: 'threads' });
    const before = threads();
    const file = await host.open(path, { writable: true, create: 'truncate' });
    await file.truncate(3000);
    await file.write(0, new Uint8Array([1, 2, 3]));
    await file.flush();
    const { size, kind } = await host.stat(path);
    expect({ size, kind }).to.deep.equal({ size: 3000, kind: 'file' });
    await file.close();
    const started = threads() - before;
    await host.close();
    return started;
  }

  for (const waits of [true, false]) {
    it(`starts ${waits ? 'no' : 'a'} thread to open, resize, flush and close a file, and does the same`, async () => {
      const path = join(folder, 'file');
      const started = await makes(path, waits);
      if (waits) expect(started).to.equal(0);
      else expect(started).to.be.greaterThan(0);
      expect(statSync(path).size).to.equal(3000);
      expect([...readFileSync(path).subarray(0, 4)]).to.deep.equal([1, 2, 3, 0]);
    });
  }

  it('says what is wrong as any other', async () => {
    for (const waits of [true, false]) {
      const host = openRealHost({ waits });
      const path = join(folder, 'nowhere');
      const errors = [host.open(path, { writable: false }), host.stat(path), host.realPath(path)].map((asked) =>
        asked.then(
          () => 'nothing',
          ({ code, errno, operation }: { code: string; errno: string; operation: string }) => [code, errno, operation],
        ),
      );
      expect(await Promise.all(errors)).to.deep.equal([
        ['not-found', 'ENOENT', 'open'],
        ['not-found', 'ENOENT', 'stat'],
        ['not-found', 'ENOENT', 'real-path'],
      ]);
      await host.close();
    }
  });

  it('is closed as any other', async () => {
    const host = openRealHost({ waits: true });
    const path = join(folder, 'file');
    const file = await host.open(path, { writable: true, create: 'keep' });
    await host.close();
    const closed = async (what: Promise<unknown>): Promise<string> => what.then(String, ({ code }) => code);
    expect(await closed(file.read(0, new Uint8Array(1)))).to.equal('closed');
    expect(await closed(host.net.connect({ type: 'unix', path }))).to.equal('closed');
  });
});
