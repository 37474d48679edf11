// Random UUIDs.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { randomUuid } from '../../src/util/uuid.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('a random UUID', () => {
  it('says its version and its variant, whatever the random bits are', () => {
    expect(hex(randomUuid(() => -1))).to.equal('ffffffffffff4fffbfffffffffffffff');
    expect(hex(randomUuid(() => 0))).to.equal('00000000000040008000000000000000');
  });

  it('has them where a GUID of Microsoft has them, whose third field is little-endian', () => {
    expect(hex(randomUuid(() => -1, true))).to.equal('ffffffffffffff4fbfffffffffffffff');
    expect(hex(randomUuid(() => 0, true))).to.equal('00000000000000408000000000000000');
  });
});
