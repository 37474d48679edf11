// What reads while a log is replayed: with the log's content or after it, and never beside it.

import { expect } from 'chai';
import { describe, it } from 'mocha';
import type { Child } from '../../../src/block/child.js';
import type { Header } from '../../../src/drivers/formats/vhdx/header.js';
import { findLog } from '../../../src/drivers/formats/vhdx/log.js';
import { encodeEntry } from '../../../src/drivers/formats/vhdx/log-entry.js';
import { ReplayedFile } from '../../../src/drivers/formats/vhdx/replayed-file.js';
import { stateOf } from '../../block/support.js';
import { MIB } from '../../formats/vhdx/images.js';

const LOG = MIB;
const PLACE = 2 * MIB;
const GUID = '5a'.repeat(16);

/** A file of zeroes whose log has a sector of nines; a read that begins before `release` is called has what the file has then, and is answered after it. */
async function slowFile(): Promise<{ file: ReplayedFile; release: () => void; bytes: Buffer }> {
  const bytes = Buffer.alloc(3 * MIB);
  const place = { guid: GUID, at: 0, tail: 0, sequence: 1n, flushedBytes: bytes.length, lastBytes: bytes.length };
  const writes = [{ offset: PLACE, bytes: new Uint8Array(4096).fill(9) }];
  bytes.set(encodeEntry({ ...place, writes }), LOG);
  const read = async (offset: number, buffer: Uint8Array): Promise<void> => {
    buffer.set(bytes.subarray(offset, offset + buffer.length));
  };
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const link = {
    filename: 'p',
    length: bytes.length,
    raise: () => undefined,
    read: async (offset: number, buffer: Uint8Array) => {
      await read(offset, buffer);
      if (offset >= PLACE) await released;
    },
    write: async (offset: number, buffer: Uint8Array) => {
      bytes.set(buffer, offset);
    },
    flush: async () => undefined,
  };
  const header = { logGuid: GUID, logOffset: LOG, logBytes: MIB } as Header;
  const log = await findLog(read, header, bytes.length, 'p');
  return { file: new ReplayedFile(() => link as unknown as Child, log), release, bytes };
}

describe('vhdx: a file whose log is replayed', () => {
  it('is read through the log by whoever began before, who is waited for', async () => {
    const { file, release, bytes } = await slowFile();
    const buffer = new Uint8Array(512);
    const reading = file.read(PLACE + 512, buffer);
    const replaying = file.replay();
    expect(await stateOf(replaying)).to.equal('pending');
    expect(bytes[PLACE + 512]).to.equal(9);
    release();
    await Promise.all([reading, replaying]);
    expect(buffer.every((byte) => byte === 9)).to.equal(true);
    expect(file.hasLog).to.equal(false);
  });
});
