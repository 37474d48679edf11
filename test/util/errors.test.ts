// Errors: what is a message made of, and what is left of an error that is handed on.

import { expect } from 'chai';
import { atGuestOffset, BlockError } from '../../src/util/errors.js';

describe('BlockError', () => {
  it('of a file names the file in front of its reason', () => {
    const error = BlockError.at('/a.qcow2', 'invalid-image', 'Invalid L1 table', { offset: 40, operation: 'open' });
    expect(error.message).to.equal('/a.qcow2: Invalid L1 table');
    expect(error.reason).to.equal('Invalid L1 table');
    expect(error).to.include({ code: 'invalid-image', path: '/a.qcow2', offset: 40, operation: 'open' });
  });

  it('without a file is its reason', () => {
    const error = new BlockError('unsupported', 'no such driver', { path: '/a' });
    expect([error.message, error.reason]).to.deep.equal(['no such driver', 'no such driver']);
  });

  it('keeps its reason where the path has a colon, or is empty', () => {
    expect(BlockError.at('nbd:host:1: x', 'io', 'broken: again').reason).to.equal('broken: again');
    expect(BlockError.at('', 'io', 'broken').reason).to.equal('broken');
  });

  it('under another code is the same failure, and its cause', () => {
    const error = BlockError.at('/a', 'io', 'no', { errno: 'EOPNOTSUPP', fromSystem: true, length: 3 });
    const other = error.as('unsupported', { offset: 7 });
    expect(other).to.include({
      code: 'unsupported',
      message: '/a: no',
      reason: 'no',
      path: '/a',
      offset: 7,
      length: 3,
    });
    expect(other).to.include({ errno: 'EOPNOTSUPP', fromSystem: true, cause: error });
  });

  it('is printed with what is known of it, and nothing else', () => {
    const error = BlockError.at('a.raw', 'io', 'Input/output error', { offset: 512 });
    expect(Object.keys(error).sort()).to.deep.equal(['code', 'name', 'offset', 'path', 'reason']);
  });

  it("gets the guest's offset once", () => {
    const error = BlockError.at('/a', 'io', 'no', { offset: 512 });
    const placed = atGuestOffset(error, 1024);
    expect(placed).to.include({ offset: 512, guestOffset: 1024, message: '/a: no' });
    expect(atGuestOffset(placed, 2048)).to.equal(placed);
  });
});
