// The end of a command that is over at once: node is not taken apart, but what nobody has handled is reported.

import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import { programOf } from '../support/program.js';

describe('cli: a command that is over at once', () => {
  const run = (...words: string[]) => {
    const program = programOf(new URL('./leave-program.ts', import.meta.url));
    const { status, stderr } = spawnSync(process.execPath, [program, ...words], { encoding: 'utf8' });
    return { status, stderr };
  };

  it('ends with its code', () => {
    expect(run()).to.deep.equal({ status: 7, stderr: '' });
  });

  it('does not hide a rejection that nobody handles', () => {
    expect(run('rejects')).to.deep.equal({ status: 1, stderr: 'uncaught: lost\n' });
  });
});
