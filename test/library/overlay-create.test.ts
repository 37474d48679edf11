// `create` of the library with a backing file: it must be there, with its chain, before anything is made; it is how large the overlay is.

import { expect } from 'chai';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';

const SIZE = 3 << 16;

async function bench(work: (space: Workspace, host: SimHost) => Promise<void>): Promise<void> {
  const host = createSimHost({});
  await host.run(async () => {
    const space = new Workspace(host);
    await space.create('/dir/base', { driver: 'raw', size: SIZE });
    await space.create('/dir/mid', { driver: 'qcow2', 'backing-file': 'base', 'backing-fmt': 'raw' });
    await work(space, host);
    await space.close();
  });
}

describe('making an overlay', () => {
  it('takes the size from the backing file, whose name counts from the folder of the image', () =>
    bench(async (space) => {
      await space.create('/dir/top', { driver: 'qcow2', 'backing-file': 'mid', 'backing-fmt': 'qcow2' });
      expect((await space.info('/dir/top'))['virtual-size']).to.equal(SIZE);
    }));

  it('takes it for a format that has no image without a size, too', () =>
    bench(async (space) => {
      await space.create('/dir/top', { driver: 'qcow', 'backing-file': 'base' });
      expect((await space.info('/dir/top'))['virtual-size']).to.equal(SIZE);
    }));

  it('takes another size where one is given', () =>
    bench(async (space) => {
      await space.create('/dir/top', { driver: 'qcow2', size: 512, 'backing-file': 'mid', 'backing-fmt': 'qcow2' });
      expect((await space.info('/dir/top'))['virtual-size']).to.equal(512);
    }));

  it('refuses a backing file that is not there, and keeps what is there', () =>
    bench(async (space, host) => {
      host.writeFile('/dir/top', Uint8Array.of(1, 2, 3));
      const options = { driver: 'qcow2', size: SIZE, 'backing-file': 'gone', 'backing-fmt': 'raw' } as const;
      const error = await failureOf(space.create('/dir/top', options));
      expect(error.code).to.equal('not-found');
      expect(error.message).to.match(/Could not open backing file: .*\/dir\/gone/);
      expect([...host.readFile('/dir/top')]).to.deep.equal([1, 2, 3]);
      expect((await failureOf(space.create('/dir/new', options))).code).to.equal('not-found');
      expect(host.exists('/dir/new')).to.equal(false);
    }));

  it('refuses a backing file whose own backing file is not there', () =>
    bench(async (space, host) => {
      await host.unlink('/dir/base');
      const options = { driver: 'qcow2', 'backing-file': 'mid', 'backing-fmt': 'qcow2' } as const;
      expect((await failureOf(space.create('/dir/top', options))).code).to.equal('not-found');
      expect(host.exists('/dir/top')).to.equal(false);
    }));

  it('refuses a backing file of another format than is said', () =>
    bench(async (space) => {
      const options = { driver: 'qcow2', 'backing-file': 'base', 'backing-fmt': 'qcow2' } as const;
      expect((await failureOf(space.create('/dir/top', options))).code).to.equal('invalid-image');
    }));

  it('goes on beside a guest of the backing file', () =>
    bench(async (space) => {
      const guest = await space.open('/dir/mid');
      await space.create('/dir/top', { driver: 'qcow2', 'backing-file': 'mid', 'backing-fmt': 'qcow2' });
      await guest.write(0, new Uint8Array(512));
      await guest.close();
    }));

  it('wants a size where there is no backing file', () =>
    bench(async (space) => {
      const wrong = { driver: 'qcow2' } as unknown as { driver: 'qcow2'; size: number };
      expect((await failureOf(space.create('/dir/top', wrong))).message).to.match(/'size' is missing/);
    }));
});
