import { expect } from 'chai';
import { SharedLock } from '../../src/util/shared-lock.js';

/** An action that ends when it is told to. */
function held(log: string[], name: string): { action: () => Promise<void>; end: (error?: Error) => void } {
  let end: (error?: Error) => void = () => undefined;
  const ended = new Promise<void>((resolve, reject) => {
    end = (error) => (error === undefined ? resolve() : reject(error));
  });
  const action = async (): Promise<void> => {
    log.push(`${name} begins`);
    try {
      await ended;
    } finally {
      log.push(`${name} ends`);
    }
  };
  return { action, end };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('shared lock', () => {
  it('lets those that share run side by side, and one alone', async () => {
    const lock = new SharedLock();
    const log: string[] = [];
    const [a, b, alone, c] = ['a', 'b', 'alone', 'c'].map((name) => held(log, name));
    const all = [lock.share(a.action), lock.share(b.action), lock.alone(alone.action), lock.share(c.action)];
    await settled();
    expect(log).to.deep.equal(['a begins', 'b begins']);
    b.end();
    await settled();
    expect(log).to.deep.equal(['a begins', 'b begins', 'b ends']);
    a.end();
    await settled();
    expect(log.slice(3)).to.deep.equal(['a ends', 'alone begins']);
    alone.end();
    c.end();
    await Promise.all(all);
    expect(log.slice(5)).to.deep.equal(['alone ends', 'c begins', 'c ends']);
  });

  it('is free again after a failure, alone or not', async () => {
    const lock = new SharedLock();
    const log: string[] = [];
    const [a, b, c] = ['a', 'b', 'c'].map((name) => held(log, name));
    const results = [lock.alone(a.action), lock.alone(b.action), lock.share(c.action)].map((done) =>
      done.then(
        () => 'done',
        (error: Error) => error.message,
      ),
    );
    a.end(new Error('a fails'));
    b.end();
    c.end(new Error('c fails'));
    expect(await Promise.all(results)).to.deep.equal(['a fails', 'done', 'c fails']);
    expect(log).to.deep.equal(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
    await lock.alone(async () => undefined);
  });
});
