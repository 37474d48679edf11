// Programs that end with an image open: what they wrote is there, and a warning says so. And those whose callbacks throw, which hear of it.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { create, open } from '../../src/index.js';
import { programOf } from '../support/program.js';

const PROGRAM = new URL('./left-open-program.ts', import.meta.url);

describe('library: a program that leaves an image open', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-left-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const run = (what: string) => {
    const path = join(folder, 'a.qcow2');
    const { status, stderr } = spawnSync(process.execPath, [programOf(PROGRAM), path, what], { encoding: 'utf8' });
    return { path, status, stderr };
  };
  const start = async (content?: string) => {
    const path = join(folder, 'a.qcow2');
    await create(path, { driver: 'qcow2', size: 1 << 20 });
    const image = await open(path);
    if (content !== undefined) await image.write(0, Buffer.from(content));
    await image.close();
  };
  const read = async (path: string) => {
    const image = await open(path, { readOnly: true });
    const text = (await image.read(0, 5)).toString('latin1');
    const { size } = image;
    await image.close();
    return { text, size };
  };

  for (const [what, before, after] of [
    ['writes', undefined, { text: 'hello', size: 1 << 20 }],
    ['discards', 'there', { text: '\0\0\0\0\0', size: 1 << 20 }],
    ['resizes', 'there', { text: 'there', size: 2 << 20 }],
  ] as const) {
    it(`has its changes flushed, and is told: ${what}`, async () => {
      await start(before);
      const { path, status, stderr } = run(what);
      expect(stderr).to.match(/DiskwrightWarning: '.*a\.qcow2' was not closed before the end of the program/);
      expect(stderr.match(/DiskwrightWarning/g)).to.have.length(1);
      expect(status).to.equal(0);
      expect(await read(path)).to.deep.equal(after);
    });
  }

  for (const what of ['flushes', 'closes', 'closes the workspace', 'reads']) {
    it(`is not told where nothing can be lost: ${what}`, async () => {
      await start('hello');
      const { path, status, stderr } = run(what);
      expect({ status, stderr }).to.deep.equal({ status: 0, stderr: '' });
      expect((await read(path)).text).to.equal('hello');
    });
  }

  it('hears of an exception in its listener', async () => {
    await start();
    const { status, stderr } = run('throws in a listener');
    expect(status).to.equal(0);
    expect(stderr).to.match(/DiskwrightWarning: unexpected exception in progress listener: TypeError: mistaken\n +at /);
  });
});
