// Block status: all three kinds of contexts, in both dialects that have them.

import { expect } from 'chai';
import { rootOf } from '../../../src/block/device.js';
import { deviceOf, type Image } from '../../../src/library/image.js';
import type { BlockError } from '../../../src/util/errors.js';
import { Chunk, Command, CommandFlag, NbdError } from '../../../src/wire/nbd/constants.js';
import type { RawClient, RawReply } from '../../support/nbd-raw.js';
import { u32, u64 } from '../../support/wire-fields.js';
import { addInnerBitmap, MIB, pattern, Stage } from './support.js';

type Run = [length: number, flags: number];

function runsOf({ type, data }: RawReply): { id: number; runs: Run[] } {
  const runs: Run[] = [];
  if (type === Chunk.blockStatus) {
    for (let at = 4; at < data.length; at += 8) runs.push([data.readUInt32BE(at), data.readUInt32BE(at + 4)]);
  } else {
    expect(type).to.equal(Chunk.blockStatusExtended);
    expect(data.readUInt32BE(4)).to.equal((data.length - 8) / 16);
    for (let at = 8; at < data.length; at += 16) {
      runs.push([Number(data.readBigUInt64BE(at)), Number(data.readBigUInt64BE(at + 8))]);
    }
  }
  return { id: data.readUInt32BE(0), runs };
}

async function statusOf(client: RawClient, offset: number, length: number, flags = 0): Promise<Run[][]> {
  client.request({ command: Command.blockStatus, offset, length, flags });
  return (await client.replies()).map((reply) => runsOf(reply).runs);
}

const CLUSTER = 65536;
const DATA: Run[] = [
  [CLUSTER, 3],
  [2 * CLUSTER, 0],
];

describe('nbd server: block status', () => {
  let stage: Stage;
  let top: Image;

  beforeEach(async () => {
    stage = new Stage();
    const base = await stage.image('base', { size: 2 * MIB });
    await base.write(CLUSTER, pattern(CLUSTER));
    await base.close();
    await stage.workspace.create(stage.path('top'), {
      driver: 'qcow2',
      size: 4 * MIB,
      'backing-file': stage.path('base'),
      'backing-fmt': 'qcow2',
    });
    top = await stage.open('top', { format: 'qcow2' });
    await top.write(2 * CLUSTER, pattern(CLUSTER));
  });
  afterEach(() => stage.close());

  for (const dialect of ['structured', 'extended'] as const) {
    it(`tells of the whole chain (${dialect})`, async () => {
      await stage.serve(top);
      const guest = await stage.guest(dialect, ['base:allocation']);
      expect(await statusOf(guest, 0, 4 * MIB)).to.deep.equal([[...DATA, [4 * MIB - 3 * CLUSTER, 3]]]);
      expect(await statusOf(guest, CLUSTER + 100, 1000)).to.deep.equal([[[1000, 0]]]);
      expect(await statusOf(guest, 0, 2 * MIB, CommandFlag.reqOne)).to.deep.equal([[[CLUSTER, 3]]]);
      expect(await statusOf(guest, 0, 100, CommandFlag.reqOne)).to.deep.equal([[[100, 3]]]);
    });

    it(`tells of layers (${dialect})`, async () => {
      await stage.serve(top, { allocationDepth: true });
      const guest = await stage.guest(dialect, ['qemu:allocation-depth', 'base:allocation']);
      const [allocation, depth] = await statusOf(guest, 0, 4 * CLUSTER);
      expect(allocation).to.deep.equal([...DATA, [CLUSTER, 3]]);
      expect(depth).to.deep.equal([
        [CLUSTER, 0],
        [CLUSTER, 2],
        [CLUSTER, 1],
        [CLUSTER, 0],
      ]);
    });

    it(`tells of dirty bitmaps (${dialect})`, async () => {
      top.addBitmap('b', CLUSTER);
      await stage.serve(top, { bitmaps: ['b'] });
      const guest = await stage.guest(dialect, ['qemu:dirty-bitmap:b']);
      expect(await statusOf(guest, 0, 4 * MIB)).to.deep.equal([[[4 * MIB, 0]]]);
      expect(await guest.command({ command: Command.write, offset: MIB + 5, payload: pattern(10) })).to.equal(0);
      expect(await statusOf(guest, 0, 2 * MIB)).to.deep.equal([
        [
          [MIB, 0],
          [CLUSTER, 1],
          [MIB - CLUSTER, 0],
        ],
      ]);
      expect(await statusOf(guest, MIB + 10, 100)).to.deep.equal([[[100, 1]]]);
    });
  }

  it('picks contexts by a payload', async () => {
    await stage.serve(top, { allocationDepth: true });
    const client = await stage.client();
    const ids = await client.go('extended', { contexts: ['base:allocation', 'qemu:allocation-depth'] });
    const depth = ids.get('qemu:allocation-depth') as number;
    const ask = async (length: number, ...wanted: number[]) => {
      const payload = Buffer.concat([u64(length), ...wanted.map(u32)]);
      client.request({ command: Command.blockStatus, payload });
      return client.replies();
    };
    const [reply, ...others] = await ask(2 * CLUSTER, depth);
    expect(others).to.have.lengthOf(0);
    expect(runsOf(reply)).to.deep.equal({
      id: depth,
      runs: [
        [CLUSTER, 0],
        [CLUSTER, 2],
      ],
    });
    for (const wanted of [[], [depth, depth], [99], [depth, 99]]) {
      const replies = await ask(CLUSTER, ...wanted);
      expect(replies.map(({ error }) => error)).to.deep.equal([NbdError.invalid]);
    }
    expect((await ask(5 * MIB, depth))[0].error).to.equal(NbdError.invalid);
    expect((await ask(CLUSTER, 1, 2, 3, 4, 5, 6, 7))[0].error).to.equal(NbdError.invalid);
    expect(await client.command({ command: Command.blockStatus, payload: Buffer.alloc(7) })).to.equal(NbdError.invalid);
    expect(runsOf((await ask(CLUSTER, depth))[0]).runs).to.deep.equal([[CLUSTER, 0]]);
  });

  it('refuses ranges that are not there, and those who chose nothing', async () => {
    await stage.serve(top);
    const guest = await stage.guest('structured', ['base:allocation']);
    const { blockStatus: command } = Command;
    expect(await guest.command({ command, offset: 0, length: 0 })).to.equal(NbdError.invalid);
    expect(await guest.command({ command, offset: 4 * MIB, length: 1 })).to.equal(NbdError.invalid);
    expect(await guest.command({ command, offset: 4 * MIB - 1, length: 2 })).to.equal(NbdError.invalid);
    expect(await guest.command({ command, flags: CommandFlag.payloadLength, length: 8 })).to.equal(NbdError.invalid);
    expect(await (await stage.guest('structured')).command({ command, length: 1 })).to.equal(NbdError.invalid);
    expect(await (await stage.guest()).command({ command, length: 1 })).to.equal(NbdError.invalid);
  });

  it('bounds its answers', async () => {
    const image = await stage.image('many', { size: 64 * MIB, format: 'qcow2' });
    const bitmap = addInnerBitmap(image, 'b', 512);
    for (let at = 0; at < 64 * MIB; at += 1024) bitmap.set(at, 512);
    await stage.serve(image, { bitmaps: ['b'] });
    const guest = await stage.guest('structured', ['qemu:dirty-bitmap:b']);
    const [runs] = await statusOf(guest, 0, 64 * MIB);
    expect(runs).to.have.lengthOf(16_384);
    expect(runs.slice(0, 3)).to.deep.equal([
      [512, 1],
      [512, 0],
      [512, 1],
    ]);
  });

  it('keeps exported bitmaps busy, and refuses those that cannot be', async () => {
    top.addBitmap('b');
    const server = await stage.serve(top, { bitmaps: ['b'] });
    const codeOf = (action: () => void): string => {
      try {
        action();
      } catch (error) {
        return (error as BlockError).code;
      }
      return 'none';
    };
    expect(codeOf(() => top.removeBitmap('b'))).to.equal('busy');
    expect(codeOf(() => server.addExport(deviceOf(top), { name: 'x', bitmaps: ['b'] }))).to.equal('busy');
    expect(codeOf(() => server.addExport(deviceOf(top), { name: 'x', bitmaps: ['c'] }))).to.equal('not-found');
    top.addBitmap('c');
    expect(codeOf(() => server.addExport(deviceOf(top), { name: 'x', readOnly: true, bitmaps: ['c'] }))).to.equal(
      'invalid-argument',
    );
    await server.removeExport('');
    top.removeBitmap('b');
    // What failed half way holds nothing.
    expect(codeOf(() => server.addExport(deviceOf(top), { name: 'x', bitmaps: ['c', 'b'] }))).to.equal('not-found');
    server.addExport(deviceOf(top), { name: 'x', bitmaps: [{ node: rootOf(deviceOf(top)).node.nodeName, name: 'c' }] });
  });
});
