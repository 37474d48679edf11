// Channels of mounted files on the real host: who has which number and memory, also where somebody unmounts the file.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { FUSE_WINDOW_BYTES, type FuseChannel } from '../../src/host/fuse.js';
import { openRealHost } from '../../src/host/real/index.js';
import { requireFuse } from '../support/fuse.js';

const SOURCE = 'diskwright-test';

describe('FUSE on the real host', () => {
  let folder: string;
  let host: ReturnType<typeof openRealHost>;

  before(async function () {
    await requireFuse(this);
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-fuse-'));
    host = openRealHost();
  });
  afterEach(async () => {
    await host.close();
    rmSync(folder, { recursive: true });
  });

  function mount(name: string): Promise<FuseChannel> {
    writeFileSync(join(folder, name), '');
    return host.fuse.mount({ path: join(folder, name), allowOther: 'off', source: SOURCE });
  }

  it('uses no memory that is another’s once the file is unmounted', async () => {
    const channel = await mount('a');
    const window = host.memory.allocate(FUSE_WINDOW_BYTES);
    const closed = new Promise((resolve) => {
      channel.owner = { received: () => undefined, closed: resolve };
    });
    channel.window(window);
    execFileSync('umount', ['-l', channel.path]);
    expect(await closed).to.equal(null);
    const others = Array.from({ length: 8 }, () => host.memory.allocate(4096).fill(0));
    for (const one of others) channel.push(one, 0, 16);
    channel.flush();
    expect(others.every((one) => host.memory.isZero(one))).to.equal(true);
    channel.close();
  });

  it('mounts many at once', async () => {
    const channels = await Promise.all(['a', 'b', 'c'].map(mount));
    expect(channels.map(({ path }) => path)).to.deep.equal(['a', 'b', 'c'].map((name) => join(folder, name)));
    const counts = await Promise.all(
      channels.map((channel) => {
        const received = new Promise<number>((resolve) => {
          channel.owner = { received: resolve, closed: () => undefined };
        });
        channel.window(host.memory.allocate(FUSE_WINDOW_BYTES));
        return received;
      }),
    );
    // INIT, which comes first.
    expect(counts).to.deep.equal([1, 1, 1]);
  });

  it('unmounts what is left when the host is closed', async () => {
    await mount('a');
    await host.close();
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).to.not.contain(folder);
  });
});
