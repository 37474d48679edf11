// The file of a listening UNIX socket, and others that rename files meanwhile.
import { existsSync, lstatSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadNative } from '../../src/host/real/binding.js';
import { type ListeningFile, listenAtFile } from '../../src/host/real/socket-file.js';

describe('the file of a listening socket', () => {
  const native = loadNative();
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-socket-file-'));
    path = join(folder, 's');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** Listens, and calls `act` as soon as it is bound or as soon as it listens. */
  const listenAnd = async (moment: 'bindUnix' | 'listenOn', act: () => void): Promise<ListeningFile> => {
    const acting = Object.create(native, {
      [moment]: {
        value: (...args: never[]) => {
          const fd = (native[moment] as (...args: never[]) => number)(...args);
          act();
          return fd;
        },
      },
    });
    return (await listenAtFile(acting, path, 1)) as ListeningFile;
  };
  const replace = () => {
    writeFileSync(`${path}.other`, 'of somebody else');
    renameSync(`${path}.other`, path);
  };

  it('is removed at the end', async () => {
    const { fd, remove } = await listenAnd('listenOn', () => undefined);
    expect(lstatSync(path).isSocket()).to.equal(true);
    remove();
    native.closeSocket(fd);
    expect(existsSync(path)).to.equal(false);
  });

  it('may be gone as soon as the socket is bound', async () => {
    const { fd, remove } = await listenAnd('bindUnix', () => rmSync(path));
    replace();
    remove();
    native.closeSocket(fd);
    expect(existsSync(path), 'the file of somebody else').to.equal(true);
  });

  it('may be replaced as soon as the socket listens: the other file is kept', async () => {
    const { fd, remove } = await listenAnd('listenOn', replace);
    remove();
    native.closeSocket(fd);
    expect(existsSync(path), 'the file of somebody else').to.equal(true);
  });
});
