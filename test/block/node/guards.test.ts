// Guards of a request that was located through several nodes.

import { expect } from 'chai';
import { withLowerGuard } from '../../../src/block/node/guards.js';

function guard(name: string, released: string[]) {
  return { release: () => void released.push(name) };
}

describe('guards', () => {
  it('of one node are that node’s own', () => {
    const own = guard('own', []);
    expect(withLowerGuard(null, own)).to.equal(own);
  });

  it('of several nodes are released as one, each once', () => {
    const released: string[] = [];
    const lower = withLowerGuard(guard('bottom', released), guard('middle', released));
    const all = withLowerGuard(lower, guard('top', released));
    expect(released).to.deep.equal([]);
    all.release();
    expect(released).to.deep.equal(['bottom', 'middle', 'top']);
  });

  it('are used again, and then release what they hold by then', () => {
    const released: string[] = [];
    const first = withLowerGuard(guard('a', released), guard('b', released));
    first.release();
    const second = withLowerGuard(guard('c', released), guard('d', released));
    expect(second).to.equal(first);
    second.release();
    expect(released).to.deep.equal(['a', 'b', 'c', 'd']);
  });
});
