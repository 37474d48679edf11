// What an I/O error while the log is written, or its entries are put in their places, leaves of their protection.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import { Page, type Patch } from '../../../src/drivers/formats/blocks/pages.js';
import { parseHeader, readHead } from '../../../src/drivers/formats/vhdx/header.js';
import { HeaderStore } from '../../../src/drivers/formats/vhdx/header-store.js';
import { findLog } from '../../../src/drivers/formats/vhdx/log.js';
import { LogWriter } from '../../../src/drivers/formats/vhdx/log-writer.js';
import { ImageFile } from '../../../src/drivers/image-file.js';
import type { SimRequest } from '../../../src/host/sim/index.js';
import { BlockError } from '../../../src/util/errors.js';
import { MIB } from '../../formats/vhdx/images.js';
import { type Bench, failureOf, linkTo, makeBench } from '../support.js';

const PATH = '/image';
const FIRST = 2 * MIB;
const SECOND = FIRST + MIB / 2;
/** More than half of what an entry holds. */
const BYTES = 100 * 4096;

const patchOf = (offset: number, byte: number): Patch => {
  const bytes = new Uint8Array(BYTES).fill(byte);
  return { page: new Page(offset, bytes), from: 0, bytes };
};

interface Faults {
  /** Says which requests fail. */
  breaks?: (request: SimRequest) => boolean;
  /** Flushes fail when they are done. */
  losesAnswers?: boolean;
}

/** The log of an image. */
async function bench(): Promise<{ made: Bench; log: LogWriter; faults: Faults }> {
  const faults: Faults = {};
  const made = makeBench({ onRequest: (request) => (faults.breaks?.(request) ? { errno: 'EIO' } : undefined) });
  await createImage(made.graph, PATH, { driver: 'vhdx', size: 4 * MIB, 'block-size': MIB });
  const link = linkTo(await openNode(made.graph, { driver: 'file', filename: PATH }));
  class LossyFile extends ImageFile {
    override async flush(): Promise<void> {
      await super.flush();
      if (faults.losesAnswers) throw new BlockError('io', 'the answer is lost', { path: PATH });
    }
  }
  const file = new LossyFile(() => link);
  const store = new HeaderStore(file, parseHeader(await readHead(link), PATH));
  return { made, log: new LogWriter(file, store, () => made.host.random()), faults };
}

/** What is read at `offset` after a loss of power. */
async function byteAfterLoss({ host }: Bench, offset: number): Promise<number> {
  const after = makeBench();
  after.host.writeFile(PATH, host.durableFile(PATH));
  const link = linkTo(await openNode(after.graph, { driver: 'file', filename: PATH }, { readOnly: true }), 1);
  const header = parseHeader(await readHead(link), PATH);
  const read = (at: number, buffer: Uint8Array): Promise<void> => link.read(at, buffer);
  const log = await findLog(read, header, link.length, PATH);
  const bytes = new Uint8Array(BYTES);
  await read(offset, bytes);
  await log?.over(read, offset, bytes);
  await after.graph.closeAll();
  return bytes.every((byte) => byte === bytes[0]) ? bytes[0] : -1;
}

describe('vhdx: the log after an I/O error', () => {
  it('protects what could not be put in its place until it is there', async () => {
    const { made, log, faults } = await bench();
    faults.breaks = ({ operation, offset }) => operation === 'write' && offset === FIRST;
    expect((await failureOf(log.write([patchOf(FIRST, 1)], 4 * MIB))).code).to.equal('io');
    expect((await failureOf(log.write([patchOf(SECOND, 2)], 4 * MIB))).code).to.equal('io');
    expect((await failureOf(log.release())).code).to.equal('io');
    expect(await byteAfterLoss(made, FIRST)).to.equal(1);
    faults.breaks = undefined;
    await log.write([patchOf(SECOND, 2)], 4 * MIB);
    for (const [offset, byte] of [
      [FIRST, 1],
      [SECOND, 2],
    ]) {
      expect(await byteAfterLoss(made, offset)).to.equal(byte);
    }
    await log.release();
    expect(await byteAfterLoss(made, FIRST)).to.equal(1);
    await made.graph.closeAll();
  });

  it('says anew that its entries count where it may have said that they do not', async () => {
    const { made, log, faults } = await bench();
    await log.write([patchOf(FIRST, 1)], 4 * MIB);
    faults.losesAnswers = true;
    expect((await failureOf(log.release())).code).to.equal('io');
    faults.losesAnswers = false;
    faults.breaks = ({ operation, offset }) => operation === 'write' && offset === SECOND;
    expect((await failureOf(log.write([patchOf(SECOND, 2)], 4 * MIB))).code).to.equal('io');
    expect(await byteAfterLoss(made, SECOND)).to.equal(2);
    await made.graph.closeAll();
  });
});
