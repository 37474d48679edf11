// A client that sends without end, and one beside it that wants an answer now and then.

import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { StorageDaemon } from '../support/qmp.js';

const MiB = 1 << 20;
/** Of one answer to the other client. An idle daemon needs less than 10 ms. */
const LIMIT_MS = 1000;

describe('a monitor under a flood', () => {
  let shop: Workshop;
  let daemon: StorageDaemon;
  let flood: Socket;

  beforeEach(async () => {
    shop = await Workshop.open();
    daemon = await StorageDaemon.start(shop.path('qmp'), [], [process.execPath, shop.bundle, 'daemon']);
    flood = connect(shop.path('qmp'));
    flood.on('error', () => undefined);
    flood.resume();
  });
  afterEach(() => {
    flood.destroy();
    daemon.kill();
    shop.remove();
  });

  for (const [what, text] of [
    ['one message of tokens', `[${'1,'.repeat(30 * MiB)}1]`],
    ['one string', `"${'x'.repeat(60 * MiB)}"`],
    ['messages that are none', '1 '.repeat(10 * MiB)],
    ['what is no JSON', '@ '.repeat(5 * MiB)],
    ['commands that are unknown', '{"execute":"frobnicate"}'.repeat(MiB / 4)],
  ] as const) {
    it(`answers others while ${what} comes`, async () => {
      let sent = false;
      flood.write(text, () => {
        sent = true;
      });
      const until = performance.now() + 1500;
      let longest = 0;
      while (!sent && performance.now() < until) {
        const began = performance.now();
        await daemon.execute('query-version');
        longest = Math.max(longest, performance.now() - began);
      }
      expect(longest).to.be.below(LIMIT_MS);
    });
  }

  it('reads a message of 100,000 tokens, in pieces', async () => {
    const numbers = Array.from({ length: 100_000 }, (_, i) => i);
    let text = '';
    const answered = new Promise<void>((resolve) =>
      flood.on('data', (bytes) => {
        text += bytes;
        if (text.includes(', 99999]')) resolve();
      }),
    );
    flood.write(JSON.stringify({ execute: 'qmp_capabilities', id: numbers }));
    await answered;
    expect(text).to.contain('"return": {}');
  });
});
