// Actions one after the other.

import { expect } from 'chai';
import { Serial } from '../../src/util/serial.js';

describe('Serial', () => {
  it('runs one action at a time, in the order in which they were given', async () => {
    const serial = new Serial();
    const log: string[] = [];
    const action = (name: string, steps: number) =>
      serial.run(async () => {
        log.push(`+${name}`);
        for (let i = 0; i < steps; i++) await null;
        log.push(`-${name}`);
        return name;
      });
    const results = await Promise.all([action('a', 9), action('b', 0), action('c', 3)]);
    expect(results).to.deep.equal(['a', 'b', 'c']);
    expect(log).to.deep.equal(['+a', '-a', '+b', '-b', '+c', '-c']);
  });

  it('goes on after an action that failed, whose caller gets the error', async () => {
    const serial = new Serial();
    const failed = serial.run(() => Promise.reject(new Error('no')));
    const next = serial.run(async () => 7);
    expect(await failed.catch((error: Error) => error.message)).to.equal('no');
    expect(await next).to.equal(7);
  });

  it('takes an action that throws at once for one that failed', async () => {
    const serial = new Serial();
    const failed = serial.run(() => {
      throw new Error('at once');
    });
    expect(await failed.catch((error: Error) => error.message)).to.equal('at once');
    expect(await serial.run(async () => 1)).to.equal(1);
  });
});
