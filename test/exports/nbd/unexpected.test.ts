// A mistake of ours inside an export: the client that it hits goes, or gets an error, the others stay, and it is seen.

import { expect } from 'chai';
import { rootOf } from '../../../src/block/device.js';
import type { NbdExport } from '../../../src/exports/nbd/export.js';
import { NbdServer } from '../../../src/exports/nbd/server.js';
import { deviceOf } from '../../../src/library/image.js';
import { Command, NbdError } from '../../../src/wire/nbd/constants.js';
import type { RawClient } from '../../support/nbd-raw.js';
import { takeUnexpected } from '../../support/unexpected.js';
import { Stage, until } from './support.js';

const SIZE = 1 << 20;

/** Makes `method` throw once, for what it is asked next: instead of its work, or after it. */
function plant(target: object, method: string, how: 'throws' | 'rejects' | 'throws after'): TypeError {
  const planted = new TypeError('planted: not a function');
  const real = (target as Record<string, (...words: unknown[]) => unknown>)[method];
  Object.defineProperty(target, method, {
    configurable: true,
    value: (...words: unknown[]) => {
      Object.defineProperty(target, method, { configurable: true, writable: true, value: real });
      if (how === 'throws after') real.apply(target, words);
      if (how === 'rejects') return Promise.reject(planted);
      throw planted;
    },
  });
  return planted;
}

const CASES: Record<string, { plant: (served: NbdExport) => TypeError; ask: (guest: RawClient) => Promise<unknown> }> =
  {
    'when a read is begun': {
      plant: ({ device }) => plant(device, 'beginRead', 'throws'),
      ask: (guest) => guest.readData(0, 4096),
    },
    'when a read has ended': {
      plant: ({ device }) => plant(device, 'ended', 'throws after'),
      ask: (guest) => guest.readData(0, 4096),
    },
    'when a flush is carried out': {
      plant: ({ device }) => plant(device, 'flush', 'rejects'),
      ask: async (guest) => {
        guest.request({ command: Command.flush });
        expect((await guest.reply()).error).to.equal(NbdError.io);
      },
    },
  };

describe('nbd server: a mistake of ours', () => {
  let stage: Stage;
  let server: NbdServer;
  let served: NbdExport;

  beforeEach(async () => {
    stage = new Stage();
    const image = await stage.image('disk', { size: SIZE, format: 'raw' });
    server = new NbdServer(stage.host);
    served = server.addExport(deviceOf(image));
    await server.listen({ type: 'unix', path: stage.socket });
  });
  afterEach(async () => {
    await server.close();
    await stage.close();
  });

  for (const [when, { plant: doIt, ask }] of Object.entries(CASES)) {
    it(`is seen ${when}, and harms nobody else`, async () => {
      const other = await stage.guest();
      const guest = await stage.guest();
      const planted = doIt(served);
      await ask(guest).catch(() => undefined);
      const seen: unknown[] = [];
      await until(() => seen.push(...takeUnexpected()) > 0, 'it is on the channel');
      expect(seen).to.have.lengthOf(1);
      expect(seen[0]).to.have.property('error', planted);
      expect(await other.readData(0, 4096)).to.deep.equal(Buffer.alloc(4096));
    });
  }

  for (const method of ['blockStatusSync', 'blockStatus']) {
    it(`within block status (${method}) is answered with an error, and the client is served on`, async () => {
      const { node } = rootOf(served.device);
      // Who cannot answer at once is asked again, and may wait.
      if (method === 'blockStatus') Object.defineProperty(node, 'blockStatusSync', { value: () => null });
      const guest = await stage.guest('structured', ['base:allocation']);
      const planted = plant(node, method, method === 'blockStatus' ? 'rejects' : 'throws');
      const status = { command: Command.blockStatus, offset: 0, length: 4096 };
      expect(await guest.command(status)).to.equal(NbdError.io);
      const seen: unknown[] = [];
      await until(() => seen.push(...takeUnexpected()) > 0, 'it is on the channel');
      expect(seen).to.have.lengthOf(1);
      expect(seen[0]).to.have.property('error', planted);
      expect(await guest.command(status)).to.equal(0);
    });
  }

  it('is not seen where a client breaks the rules, or leaves', async () => {
    const rude = await stage.guest();
    rude.send(Buffer.alloc(28, 0xff));
    const gone = await stage.guest();
    gone.send(gone.header({ command: Command.write, offset: 0, length: 65536, cookie: 1n }));
    gone.close();
    await until(() => server.connectionCount === 0, 'both are gone');
    expect(takeUnexpected()).to.deep.equal([]);
  });
});
