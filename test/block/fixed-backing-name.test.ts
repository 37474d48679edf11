// Formats whose images keep the name of their backing file: who would change it at the end refuses first, and nothing is copied.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';

const SIZE = 1 << 20;

/** `/base`, `/middle` over it, and `/top` over that, all of `driver`; the first two have content. */
async function inChain(
  driver: 'qcow' | 'vmdk',
  work: (space: Workspace, host: SimHost) => Promise<void>,
): Promise<void> {
  const host = createSimHost({});
  await host.run(async () => {
    const space = new Workspace(host);
    await space.create('/base', { driver, size: SIZE });
    const write = async (name: string, byte: number): Promise<void> => {
      const image = await space.open(name);
      await image.write(0, new Uint8Array(SIZE / 2).fill(byte));
      await image.close();
    };
    await write('/base', 1);
    await space.create('/middle', { driver, size: SIZE, 'backing-file': 'base', 'backing-fmt': driver });
    await write('/middle', 2);
    await space.create('/top', { driver, size: SIZE, 'backing-file': 'middle', 'backing-fmt': driver });
    await work(space, host);
    await space.close();
  });
}

for (const driver of ['qcow', 'vmdk'] as const) {
  describe(`an image of ${driver}, which keeps the name of its backing file`, () => {
    it('is not rebased, nor renamed below, and stays as it is', () =>
      inChain(driver, async (space, host) => {
        const before = Buffer.from(host.readFile('/top'));
        for (const [to, unsafe] of [
          ['base', false],
          ['base', true],
          [null, false],
          [null, true],
        ] as const) {
          const error = await failureOf(
            space.rebase('/top', to, { unsafe, ...(to !== null && { backingFormat: driver }) }),
          );
          const reason = `Could not change the backing file to '${to ?? ''}': Operation not supported`;
          expect([error.code, error.reason]).to.deep.equal(['unsupported', reason]);
        }
        expect(before.equals(host.readFile('/top'))).to.equal(true);
      }));

    it('takes no stream that would leave out what it names, and stays as it is', () =>
      inChain(driver, async (space, host) => {
        const before = Buffer.from(host.readFile('/top'));
        const image = await space.open('/top');
        const error = await failureOf(space.stream(image));
        expect(error.code).to.equal('unsupported');
        await image.close();
        expect(before.equals(host.readFile('/top'))).to.equal(true);
      }));
  });
}
