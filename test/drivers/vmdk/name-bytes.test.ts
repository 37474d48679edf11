// The names in a VMDK descriptor are bytes, as the names of files are.

import assert from 'node:assert/strict';
import {
  encodeDescriptor,
  parseDescriptor,
  parseExtents,
  textOf,
} from '../../../src/drivers/formats/vmdk/descriptor.js';

describe('vmdk: names that are not UTF-8', () => {
  it('stand in the descriptor as their bytes, and come back', () => {
    const filename = 'a\udcff-flat.vmdk';
    const bytes = encodeDescriptor({
      cid: 1,
      parentCid: 2,
      createType: 'monolithicFlat',
      backingFile: 'base\udcff.vmdk',
      extents: [{ kind: 'FLAT', length: 512, filename, offset: 0 }],
      size: 512,
      hwVersion: '4',
      adapterType: 'ide',
      toolsVersion: '1',
    });
    assert.ok(Buffer.from(bytes).includes(Buffer.from('"a\xff-flat.vmdk"', 'latin1')));
    const text = textOf(bytes);
    const descriptor = parseDescriptor(text, 'a');
    assert.equal(descriptor.backingFile, 'base\udcff.vmdk');
    assert.equal(parseExtents(text, descriptor, 'a')[0].filename, filename);
  });
});
