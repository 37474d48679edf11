// Listeners by name: who is called, how often, and what one that fails does to the others.
import { expect } from 'chai';
import { Listeners, once } from '../../src/util/listeners.js';
import { takeUnexpected } from '../support/unexpected.js';

interface Events {
  open: number;
  close: string;
}

describe('listeners', () => {
  let listeners: Listeners<Events>;
  let calls: unknown[];
  beforeEach(() => {
    listeners = new Listeners<Events>('a test');
    calls = [];
  });
  const record = (data: unknown): void => {
    calls.push(data);
  };

  it('are called with the events of their name, in the order in which they came', () => {
    listeners.on('open', record);
    listeners.on('open', (count) => record(-count));
    listeners.on('close', record);
    listeners.emit('open', 1);
    expect(calls).to.deep.equal([1, -1]);
  });

  it('are removed one by one, though they are one function', () => {
    const stop = listeners.on('open', record);
    listeners.on('open', record);
    stop();
    stop();
    listeners.emit('open', 1);
    expect(calls).to.deep.equal([1]);
  });

  it('hear the next event only, with once', () => {
    once<number>((own) => listeners.on('open', own), record);
    listeners.emit('open', 1);
    listeners.emit('open', 2);
    expect(calls).to.deep.equal([1]);
  });

  it('that are added by another one wait for the next event', () => {
    listeners.on('open', () => listeners.on('open', record));
    const call = listeners.now('open');
    listeners.on('open', record);
    call(1);
    expect(calls).to.deep.equal([]);
    listeners.emit('open', 2);
    expect(calls).to.deep.equal([2, 2]);
  });

  it('that throw or reject harm no other, and are reported', async () => {
    listeners.on('open', () => {
      throw new Error('thrown');
    });
    listeners.on('open', () => Promise.reject(new Error('rejected')));
    listeners.on('open', record);
    listeners.emit('open', 1);
    expect(calls).to.deep.equal([1]);
    await new Promise((resolve) => setImmediate(resolve));
    const reported = takeUnexpected().map(({ where, error }) => [where, (error as Error).message]);
    expect(reported).to.deep.equal([
      ['a test', 'thrown'],
      ['a test', 'rejected'],
    ]);
  });
});
