// The end of a process that a signal was for. It runs in a process of its own, since it ends it.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { diedBy } from '../support/ended.js';

const MODULE = fileURLToPath(new URL('../../src/cli/end-process.ts', import.meta.url));

describe('endProcess', () => {
  function endedBy(...calls: string[]): unknown[] {
    const program = `import { endProcess, wasInterrupted } from ${JSON.stringify(MODULE)};\n${calls.join('\n')}`;
    const words = ['--import', 'tsx/esm', '--input-type=module', '-e', program];
    const { status, signal, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' });
    expect(stderr).to.equal('');
    return [status, signal];
  }

  it('ends a command that a signal came for, and that failed, by that signal', () => {
    expect(endedBy('wasInterrupted(143);', 'endProcess(1);')).to.deep.equal(diedBy('SIGTERM'));
  });

  it('ends one that did its work with 0, and one that no signal came for with its own code', () => {
    expect(endedBy('wasInterrupted(143);', 'endProcess(0);')).to.deep.equal([0, null]);
    expect(endedBy('endProcess(3);')).to.deep.equal([3, null]);
  });
});
