// Signals that end a program: what comes together is one request, a later signal does not wait.

import { expect } from 'chai';
import { EndingSignals } from '../../src/cli/ending-signals.js';

describe('signals that end a program', () => {
  let codes: unknown[];
  let nowMs: number;
  let firsts: number;
  let signals: EndingSignals;

  beforeEach(() => {
    codes = [];
    nowMs = 5000;
    firsts = 0;
    signals = new EndingSignals(() => firsts++, { nowMs: () => nowMs, end: (code) => codes.push(code) });
  });
  afterEach(() => signals.stop());

  it('are one request where they come together, as those of a terminal that is closed do', () => {
    for (const signal of ['SIGTERM', 'SIGHUP', 'SIGHUP'] as const) process.emit(signal, signal);
    nowMs += 999;
    process.emit('SIGINT', 'SIGINT');
    expect([firsts, codes]).to.deep.equal([1, []]);
  });

  it('end it at once where somebody sends one again later', () => {
    process.emit('SIGINT', 'SIGINT');
    nowMs += 1000;
    process.emit('SIGINT', 'SIGINT');
    expect([firsts, codes]).to.deep.equal([1, [130]]);
  });

  for (const [signal, code] of [
    ['SIGHUP', 129],
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    it(`give ${code} for ${signal}, whatever comes after it`, () => {
      process.emit(signal, signal);
      process.emit('SIGINT', 'SIGINT');
      expect(signals.exitCode).to.equal(code);
    });
  }

  it('are left to the system when it has ended', () => {
    const before = process.listenerCount('SIGHUP');
    signals.stop();
    expect(process.listenerCount('SIGHUP')).to.equal(before - 1);
  });
});
