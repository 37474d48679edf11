// An export that is `writethrough`: what changes the disk is durable when it is answered, whether or not a client asks for that.

import { expect } from 'chai';
import { rootOf } from '../../../src/block/device.js';
import { deviceOf } from '../../../src/library/image.js';
import { Command } from '../../../src/wire/nbd/constants.js';
import { Stage } from './support.js';

const PAYLOAD = Buffer.alloc(4096, 7);

describe('nbd server: writethrough', () => {
  let stage: Stage;
  beforeEach(() => {
    stage = new Stage();
  });
  afterEach(() => stage.close());

  for (const writethrough of [true, false]) {
    it(`${writethrough ? 'flushes' : 'does not flush'} behind a plain write where writethrough is ${writethrough}`, async () => {
      const image = await stage.image('disk.raw', { format: 'raw', discard: 'unmap' });
      const file = rootOf(deviceOf(image)).node.hostFile();
      if (file === null) throw new Error('a raw image has a file');
      let flushes = 0;
      const flush = file.flush.bind(file);
      file.flush = () => {
        flushes++;
        return flush();
      };
      await stage.serve(image, { writethrough });
      const guest = await stage.guest();
      for (const request of [
        { command: Command.write, payload: PAYLOAD },
        { command: Command.writeZeroes, length: 4096 },
        { command: Command.trim, length: 4096 },
      ]) {
        flushes = 0;
        expect(await guest.command(request)).to.equal(0);
        expect(flushes, `command ${request.command}`).to.equal(writethrough ? 1 : 0);
      }
    });
  }
});
