// Where an environment of node ends is up to its program: in a callback of the addon, with work pending, while a host closes. Each way to
// end is taken by a process and by a thread, and none of them is a crash. Node 24 is the strictest about what an addon leaves behind.
import { once } from 'node:events';
import { expect } from 'chai';
import { overEngines } from './engines.js';
import { openTo, runBusy, startBusy } from './threads.js';

overEngines('an environment ends', (bench) => {
  for (const [what, where] of [
    ['exit-in-completion', 'where a request is answered'],
    ['exit-in-move', 'where a copy step is answered'],
    ['exit-in-link', 'where a link has received'],
    ['exit-in-closing', 'while its host closes'],
    ['exit-opened', 'with files open'],
    ['exit-before-close', 'before its files are closed'],
    ['throw-in-completion', 'by an exception where a request is answered'],
  ]) {
    it(`a process ends ${where}: its own exit code, nothing on standard error`, () => {
      const { status, signal, stderr } = runBusy(bench.host.engine, bench.folder, what);
      expect({ status, signal, stderr }).to.deep.equal({ status: 7, signal: null, stderr: '' });
    });

    it(`a thread ends ${where}: the process goes on and has no descriptor of it`, async () => {
      const before = openTo('socket:');
      const worker = startBusy(bench.host.engine, bench.folder, what);
      const [code] = await once(worker, 'exit');
      expect(code).to.equal(7);
      expect(openTo(bench.folder), 'open files').to.equal(0);
      expect(openTo('socket:'), 'open sockets').to.equal(before);
    });
  }

  it('four threads are terminated at once, each in the middle of its requests', async () => {
    const workers = ['busy', 'talk', 'move', 'busy'].map((what) => startBusy(bench.host.engine, bench.folder, what));
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    await Promise.all(workers.map((worker) => worker.terminate()));
    expect(openTo(bench.folder)).to.equal(0);
  });
});
