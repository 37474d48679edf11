// vpc: where new blocks go, and where there can be no more.

import { expect } from 'chai';
import type { Footers } from '../../../src/drivers/formats/vpc/footers.js';
import type { Header } from '../../../src/drivers/formats/vpc/header.js';
import { VpcSpace } from '../../../src/drivers/formats/vpc/space.js';
import type { ImageFile } from '../../../src/drivers/image-file.js';
import { failureOf } from '../support.js';

const MIB = 1 << 20;

describe('vpc: space', () => {
  it("ends at 2 TiB by the code 'limit', as that of VMDK: no space that is freed helps", async () => {
    const header = { offset: 512, tableOffset: 2 ** 41, entries: 0, blockBytes: 2 * MIB, bitmapBytes: 512 } as Header;
    const file = {
      path: '/image',
      length: 2 ** 41 + MIB,
      read: async () => undefined,
      ensureLength: async () => undefined,
      takeFresh: () => true,
      expect: () => undefined,
      truncate: async () => undefined,
      write: async () => undefined,
    } as unknown as ImageFile;
    const footers = { keepCopy: async () => undefined, reserve: async () => undefined } as unknown as Footers;
    const error = await failureOf(new VpcSpace(file, header, footers).take());
    expect([error.code, error.message]).to.deep.equal([
      'limit',
      '/image: The file of a VHD image cannot be larger than 2 TiB',
    ]);
  });
});
