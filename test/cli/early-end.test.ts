// A signal that comes just when a command takes signals over, after its images were opened: node has it already, and has not told of it yet.

import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import { programOf } from '../support/program.js';

describe('cli: a signal that comes when signals are taken over', () => {
  for (const taker of ['Interrupt', 'BreakOff']) {
    it(`is heard by ${taker}`, () => {
      const program = programOf(new URL('./handover-program.ts', import.meta.url));
      const { status, signal, stdout, stderr } = spawnSync(process.execPath, [program, taker], { encoding: 'utf8' });
      expect({ status, signal, stdout, stderr }).to.deep.equal({ status: 0, signal: null, stdout: '143', stderr: '' });
    });
  }
});
