// What a machine has written is marked so that nothing is taken for brought which is not.

import { expect } from 'chai';
import { Scratch } from '../../../src/drivers/protocols/vvfat/scratch.js';
import type { HostFile, HostFolder } from '../../../src/host/host.js';
import { BlockError } from '../../../src/util/errors.js';
import { failureOf } from '../support.js';

describe('vvfat: the scratch file', () => {
  it('has what a write may have changed that failed, but not what it was to hold only then', async () => {
    let fails = false;
    const file = {
      write: async () => {
        if (fails) throw new BlockError('io', 'half of it is written');
      },
    } as unknown as HostFile;
    const folder = { createFile: async () => file, removeFile: async () => undefined } as unknown as HostFolder;
    const scratch = await Scratch.open(folder, () => 1, 100);
    await scratch.write(512, new Uint8Array(512));
    scratch.settle();
    fails = true;
    expect((await failureOf(scratch.write(512, new Uint8Array(1024)))).code).to.equal('io');
    expect([scratch.hasFresh, scratch.isFresh(512, 1024)]).to.deep.equal([true, true]);
    // The sector behind is read from where it was before.
    expect(scratch.runAt(512, 5120)).to.deep.equal({ held: true, end: 1024 });
  });
});
