// Requests that are answered at once must not keep everything else from running.
import { expect } from 'chai';
import { overEngines, pattern } from './engines.js';

overEngines('fairness', (bench) => {
  it('timers run while page-cache hits come one after the other', async () => {
    const file = await bench.open('hot');
    await file.write(0, pattern(4096, 1));
    const buffer = bench.host.memory.allocate(4096);
    let ticks = 0;
    const timer = setInterval(() => {
      ticks++;
    }, 1);
    for (let i = 0; i < 1_000_000 && ticks < 5; i++) await file.read(0, buffer);
    clearInterval(timer);
    expect(ticks).to.equal(5);
    await file.close();
  });
});
