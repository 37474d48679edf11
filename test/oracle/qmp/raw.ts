// Bytes as a client sends them, to a monitor of the reference and to one of ours, and the lines that come back, compared in their order.

import { expect } from 'chai';
import { Workshop } from '../../support/cli.js';
import { connected, StorageDaemon } from '../../support/qmp.js';
import { filtered, MACHINE, OURS } from './runner.js';

/** The last answer of a conversation. */
const LAST = 'the end';

export interface RawSetup {
  /** The reference is a machine's monitor. */
  machine?: boolean;
  /** Takes out what may differ, and why is said beside it. */
  filter?: (line: string) => string;
}

/** Sends `pieces`, each in a write of its own, and compares all that comes back after the greeting. */
export async function expectSameLines(pieces: readonly (string | Buffer)[], setup: RawSetup = {}): Promise<void> {
  const shop = await Workshop.open();
  try {
    const theirs = await linesOf(shop, 'theirs', setup.machine ? MACHINE : ['qemu-storage-daemon'], pieces, setup);
    const ours = await linesOf(shop, 'ours', OURS(shop), pieces, setup);
    expect(ours).to.deep.equal(theirs);
  } finally {
    shop.remove();
  }
}

async function linesOf(
  shop: Workshop,
  name: string,
  program: readonly string[],
  pieces: readonly (string | Buffer)[],
  { filter = (line) => line }: RawSetup,
): Promise<string[]> {
  const path = shop.path(`${name}-raw`);
  const mode = program === MACHINE ? ['-mon', 'chardev=raw,mode=control'] : ['--monitor', 'raw'];
  const words = ['--chardev', `socket,id=raw,path=${path},server=on,wait=off`, ...mode];
  const daemon = await StorageDaemon.start(shop.path(`${name}-qmp`), words, program);
  const socket = await connected(path);
  try {
    let text = '';
    const over = new Promise<void>((resolve) => {
      socket.on('close', resolve).on('data', (bytes: Buffer) => {
        text += bytes.toString('latin1');
        if (text.includes(`"${LAST}"`) && text.endsWith('\r\n')) resolve();
      });
    });
    for (const piece of pieces) {
      socket.write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    socket.write(`\n{"execute": "query-jobs", "id": "${LAST}"}\n`);
    await over;
    const [, ...lines] = text.split('\r\n').filter((line) => line !== '');
    return lines.map((line) => filter(JSON.stringify(filtered(JSON.parse(line)))));
  } finally {
    socket.destroy();
    daemon.kill();
  }
}
