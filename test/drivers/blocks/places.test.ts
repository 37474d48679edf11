// New blocks of an image: those of one request are neighbours, and none is lost where one cannot be had.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { openNode } from '../../../src/block/open.js';
import { type BlockSource, takeAll } from '../../../src/drivers/formats/blocks/places.js';
import { BlockSpace, type NewBlock } from '../../../src/drivers/formats/blocks/space.js';
import { ImageFile } from '../../../src/drivers/image-file.js';
import { linkTo, makeBench } from '../support.js';

const BLOCK = 4096;

async function space(): Promise<{ space: BlockSpace; file: ImageFile; fail: (after: number) => BlockSource }> {
  const bench = makeBench();
  bench.host.writeFile('/image', new Uint8Array(BLOCK));
  const link = linkTo(await openNode(bench.graph, { driver: 'file', filename: '/image' }));
  const file = new ImageFile(() => link);
  const made = new BlockSpace(file, BLOCK, BLOCK);
  const fail = (after: number): BlockSource => {
    let taken = 0;
    return {
      take: (): Promise<NewBlock> => (taken++ < after ? made.take() : Promise.reject(new Error('full'))),
      giveBack: (block) => made.giveBack(block),
    };
  };
  return { space: made, file, fail };
}

describe('new blocks of an image', () => {
  it('are neighbours, whoever takes some at the same time', async () => {
    const { space: source } = await space();
    const both = await Promise.all([takeAll(source, 3), takeAll(source, 2)]);
    const offsets = both.map((blocks) => blocks.map(({ offset }) => offset / BLOCK));
    expect(offsets).to.deep.equal([
      [1, 2, 3],
      [4, 5],
    ]);
  });

  it('are given back where one of them cannot be had', async () => {
    const { space: source, fail } = await space();
    const message = await takeAll(fail(2), 3).then(
      () => 'taken',
      (error: Error) => error.message,
    );
    expect(message).to.equal('full');
    expect((await takeAll(source, 1))[0].offset).to.equal(BLOCK);
  });

  it('of which several are to lie in one run come from the end, and go back one by one', async () => {
    const { space: source } = await space();
    const [single] = await takeAll(source, 1);
    const run = await source.takeRun(3);
    expect([single.offset, run.offset]).to.deep.equal([BLOCK, 2 * BLOCK]);
    const last = await source.take();
    source.giveBackRun(run, 3);
    source.giveBack(last);
    const again = await takeAll(source, 4);
    expect(again.map(({ offset }) => offset / BLOCK)).to.deep.equal([2, 3, 4, 5]);
  });

  it('that are given back, unwritten, at the end are cut off with what the file has too much, and read as zeroes when they are taken again', async () => {
    const { space: source, file } = await space();
    const kept = await source.take();
    const [first, second] = await takeAll(source, 2);
    expect([first.fresh, second.fresh]).to.deep.equal([true, true]);
    source.giveBack(second);
    source.giveBack(first);
    expect(file.usedEnd).to.equal(kept.offset + BLOCK);
    expect(await source.take()).to.deep.equal(first);
    source.giveBack({ ...first, fresh: false });
    expect((await source.take()).fresh, 'written to').to.equal(false);
    source.giveBack({ ...first, fresh: false });
    await file.trim();
    expect(file.length).to.equal(kept.offset + BLOCK);
  });

  it('need no whole block where the format stores something else: what is left of it elsewhere than at the end is not taken again', async () => {
    const { file } = await space();
    const source = new BlockSpace(file, BLOCK, BLOCK, BLOCK);
    const packed = await source.takeBytes(1024, 512);
    const table = await source.takeBytes(2 * BLOCK + 512, BLOCK);
    const block = await source.take();
    expect([packed.offset, table.offset, block.offset]).to.deep.equal([BLOCK, 2 * BLOCK, 5 * BLOCK]);
    source.giveBackBytes(packed, 1024);
    source.giveBackBytes(table, 2 * BLOCK + 512);
    const again = await takeAll(source, 3);
    expect(again.map(({ offset }) => offset / BLOCK)).to.deep.equal([2, 3, 6]);
  });
});
