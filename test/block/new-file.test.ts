// Undoing the creation of an image: only the very file that was made goes, and only where nobody works with it.

import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import { Graph } from '../../src/block/graph.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { openRealHost } from '../../src/host/real/index.js';
import { BlockError, type BlockErrorCode } from '../../src/util/errors.js';
import { failureOf } from '../drivers/support.js';

describe('an image that cannot be made', () => {
  let folder: string;
  let path: string;

  beforeEach(() => {
    registerDrivers();
    folder = mkdtempSync(join(tmpdir(), 'diskwright-new-file-'));
    path = join(folder, 'image');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** Makes an image whose file cannot be opened a second time, with `code`; `meanwhile` happens before that. */
  async function fail(code: BlockErrorCode, meanwhile: () => void = () => {}): Promise<void> {
    const host = openRealHost();
    const open = host.open.bind(host);
    let opened = 0;
    host.open = async (name, options) => {
      if (++opened === 1) return open(name, options);
      meanwhile();
      throw new BlockError(code, 'planted', { path: name });
    };
    try {
      const graph = new Graph(host);
      expect((await failureOf(createImage(graph, path, { driver: 'qcow2', size: 65536 }))).code).to.equal(code);
      await graph.closeAll();
    } finally {
      await host.close();
    }
  }

  it('leaves no file', async () => {
    await fail('io');
    expect(existsSync(path)).to.equal(false);
  });

  it('leaves the file that another one has put in its place', async () => {
    await fail('io', () => {
      writeFileSync(join(folder, 'other'), 'of somebody else');
      renameSync(join(folder, 'other'), path);
    });
    expect(readFileSync(path, 'utf8')).to.equal('of somebody else');
  });

  it('leaves the file where another process has locked it meanwhile', async () => {
    await fail('locked');
    expect(existsSync(path)).to.equal(true);
  });

  it('leaves a file that was there before', async () => {
    writeFileSync(path, '');
    await fail('io');
    expect(existsSync(path)).to.equal(true);
  });
});
