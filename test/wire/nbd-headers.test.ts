// Headers of NBD's transmission phase: byte for byte as doc/proto.md has them, in each of the three dialects.

import { expect } from 'chai';
import { viewOf } from '../../src/util/bytes.js';
import { Chunk, ChunkFlag, Command, CommandFlag } from '../../src/wire/nbd/constants.js';
import {
  chunkLength,
  hasPayload,
  putChunk,
  putDisconnect,
  putRequest,
  putSimpleReply,
  RequestField,
  requestLength,
} from '../../src/wire/nbd/headers.js';

const OFFSET = 2 ** 40 + 0x11223344;

function sent(command: number, flags: number, length: number) {
  return {
    command: Uint8Array.of(0, command),
    flags: Uint16Array.of(0, flags),
    offset: Float64Array.of(0, OFFSET),
    length: Float64Array.of(0, length),
    use: Uint32Array.of(0, 0xfedcba98),
  };
}

const received = {
  cookieHigh: Uint32Array.of(0, 0x01020304),
  cookieLow: Uint32Array.of(0, 0x05060708),
  offset: Float64Array.of(0, OFFSET),
};

function written(bytes: number, write: (view: DataView, memory: Uint8Array) => void): string {
  const memory = new Uint8Array(bytes).fill(0xee);
  write(viewOf(memory), memory);
  return Buffer.from(memory).toString('hex');
}

describe('NBD headers', () => {
  it('a request has its length in 32 bits', () => {
    const hex = written(28, (view) => putRequest(view, 0, sent(Command.write, CommandFlag.fua, 4096), 1, false));
    expect(hex).to.equal('2560951300010001fedcba98000000010000010011223344' + '00001000');
  });

  it('an extended request has its length in 64 bits, and says that it has a payload', () => {
    const hex = written(32, (view) => putRequest(view, 0, sent(Command.write, 0, 4096), 1, true));
    expect(hex).to.equal('21e41c7100200001fedcba98000000010000010011223344' + '0000000000001000');
    const zeroes = written(32, (view) => putRequest(view, 0, sent(Command.writeZeroes, 0, OFFSET), 1, true));
    expect(zeroes.slice(8, 12)).to.equal('0000');
    expect(zeroes.slice(48)).to.equal('0000010011223344');
  });

  it('a disconnect is all zero but for its magic number and command', () => {
    expect(written(28, (view) => putDisconnect(view, 0, false))).to.equal(`2560951300000002${'00'.repeat(20)}`);
    expect(written(32, (view) => putDisconnect(view, 0, true))).to.equal(`21e41c7100000002${'00'.repeat(24)}`);
  });

  it('what a client sends is what a server reads', () => {
    const memory = new Uint8Array(64);
    const view = viewOf(memory);
    putRequest(view, 16, sent(Command.read, CommandFlag.df, 0xffff_ffff), 1, false);
    expect(view.getUint16(16 + RequestField.command)).to.equal(Command.read);
    expect(view.getUint16(16 + RequestField.flags)).to.equal(CommandFlag.df);
    expect(requestLength(view, 16, false)).to.equal(0xffff_ffff);
    putRequest(view, 16, sent(Command.trim, 0, OFFSET), 1, true);
    expect(requestLength(view, 16, true)).to.equal(OFFSET);
  });

  it('a payload follows a write; in the extended dialect, whatever its flag says', () => {
    expect(hasPayload(Command.write, 0, false)).to.equal(true);
    expect(hasPayload(Command.blockStatus, CommandFlag.payloadLength, false)).to.equal(false);
    expect(hasPayload(Command.write, 0, true)).to.equal(false);
    expect(hasPayload(Command.blockStatus, CommandFlag.payloadLength, true)).to.equal(true);
  });

  it('a simple reply has an error and the cookie', () => {
    const hex = written(16, (_, memory) => putSimpleReply(memory, 0, received, 1, 22));
    expect(hex).to.equal('67446698000000160102030405060708');
  });

  it('a chunk says flags, type, cookie and the length of its payload', () => {
    const memory = new Uint8Array(40);
    const view = viewOf(memory);
    putChunk(memory, 0, received, 1, false, ChunkFlag.done, Chunk.offsetData, 520);
    expect(Buffer.from(memory.subarray(0, 20)).toString('hex')).to.equal('668e33ef00010001010203040506070800000208');
    expect(chunkLength(view, 0, false)).to.equal(520);
  });

  it('an extended chunk has the offset of its request, too', () => {
    const memory = new Uint8Array(40);
    const view = viewOf(memory);
    putChunk(memory, 0, received, 1, true, 0, Chunk.offsetHole, 12);
    const hex = Buffer.from(memory.subarray(0, 32)).toString('hex');
    expect(hex).to.equal('6e8a278c00000002010203040506070800000100112233440000000000' + '00000c');
    expect(chunkLength(view, 0, true)).to.equal(12);
  });
});
