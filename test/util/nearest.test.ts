// Which known word may have been meant.

import { expect } from 'chai';
import { nearestWord } from '../../src/util/nearest.js';

describe('nearestWord', () => {
  it('is the one with the fewest mistakes', () => {
    expect(nearestWord('formatt', ['from', 'format'])).to.equal('format');
    expect(nearestWord('cuont', ['cont', 'count'])).to.equal('count');
    expect(nearestWord('xyz', ['raw', 'qcow2'])).to.equal(undefined);
    expect(nearestWord('x', ['y'])).to.equal(undefined);
  });

  it('is the one that begins most alike, of several', () => {
    expect(nearestWord('bsh', ['bash', 'zsh'])).to.equal('bash');
    expect(nearestWord('bsh', ['zsh', 'bash'])).to.equal('bash');
  });

  it('is the one that is as long, of several', () => {
    for (const known of [
      ['qcow', 'qcow2'],
      ['qcow2', 'qcow'],
    ]) {
      expect(nearestWord('qcow3', known)).to.equal('qcow2');
    }
  });
});
