// Epochs: freed space is used again when the requests that may have seen the old mapping have ended.

import { expect } from 'chai';
import { Reclamation } from '../../../src/drivers/formats/qcow2/reclamation.js';

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await null;
}

function started() {
  const written = { unflushed: false };
  const reclamation = new Reclamation(written);
  const begin = () => {
    const wait = { over: false, done: reclamation.synchronize() };
    wait.done.then(() => {
      wait.over = true;
    });
    return wait;
  };
  return { written, reclamation, begin };
}

describe('reclamation of unmapped clusters', () => {
  it('waits for nothing where no request is under way', async () => {
    const { begin } = started();
    await begin().done;
  });

  it('waits for each guard that was taken before', async () => {
    const { reclamation, begin } = started();
    const read = reclamation.guardRead();
    const write = reclamation.guardWrite();
    const wait = begin();
    await settle();
    expect(wait.over).to.equal(false);
    write.release();
    await settle();
    expect(wait.over).to.equal(false);
    read.release();
    await wait.done;
  });

  it('does not wait for requests that begin later', async () => {
    const { reclamation, begin } = started();
    const early = reclamation.guardRead();
    const wait = begin();
    const late = reclamation.guardRead();
    early.release();
    await wait.done;
    late.release();
  });

  it('waits in the next round for what the last one did not wait for', async () => {
    const { reclamation, begin } = started();
    await begin().done;
    const guard = reclamation.guardRead();
    const wait = begin();
    await settle();
    expect(wait.over).to.equal(false);
    guard.release();
    await wait.done;
  });

  it('notes a write when its guard is released, and no read', () => {
    const { reclamation, written } = started();
    const write = reclamation.guardWrite();
    reclamation.guardRead().release();
    expect(written.unflushed).to.equal(false);
    write.release();
    expect(written.unflushed).to.equal(true);
  });
});
