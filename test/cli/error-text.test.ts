// What is printed of an error: a node that was given no name stands there by its file.

import { expect } from 'chai';
import { messageOf } from '../../src/cli/output.js';
import { BlockError } from '../../src/util/errors.js';

describe('the text of an error', () => {
  const inner = (path: string | undefined, message: string) => new BlockError('read-only', message, { path });

  it('names a node by the file that the message comes from, not by another one of the way', () => {
    const cause = inner('/base', "Block node '#block7' is read-only");
    const error = new BlockError('read-only', `no way: ${cause.message}`, { path: '/overlay', cause });
    expect(messageOf(error)).to.equal("no way: Block node '/base' is read-only");
  });

  it('has the files of nobody in place of two nodes, or of one that has none', () => {
    const two = "Node '#block7' is not below '#block9'";
    expect(messageOf(inner('/base', two))).to.equal(two);
    const one = "Block node '#block7' is read-only";
    const outer = new BlockError('read-only', 'it cannot be written', {
      path: '/overlay',
      cause: inner(undefined, one),
    });
    expect(messageOf(outer)).to.equal('it cannot be written');
    expect(messageOf(inner(undefined, one))).to.equal(one);
  });
});
