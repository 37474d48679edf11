import { expect } from 'chai';
import { assert } from '../../src/util/assert.js';
import { BlockError } from '../../src/util/errors.js';
import { takeUnexpected } from '../support/unexpected.js';

describe('assert', () => {
  it('does nothing where the condition holds', () => {
    assert(1 + 1 === 2, 'numbers add up');
    expect(takeUnexpected()).to.deep.equal([]);
  });

  it('throws an internal error that says what must be true, and reports it', () => {
    let thrown: unknown;
    try {
      assert(1 + 1 === 3, 'numbers add up');
    } catch (error) {
      thrown = error;
    }
    expect(thrown).to.be.instanceOf(BlockError);
    expect((thrown as BlockError).code).to.equal('internal');
    expect((thrown as BlockError).message).to.equal('assertion failed: numbers add up');
    expect(takeUnexpected().map(({ error }) => error)).to.deep.equal([thrown]);
  });
});
