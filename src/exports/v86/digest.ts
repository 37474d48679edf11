// A digest of what a disk reads: 128 bits that tell one content from another, whatever format and chain it lies in. It finds
// mistakes (another image, one that was written to since), not forgeries.

import { type Device, inspectDevice } from '../../block/device.js';
import type { Memory } from '../../host/host.js';

const STEP_BYTES = 1 << 20;
/** Zeroes are left out in pieces of this size, so that holes cost next to nothing. */
const PIECE_BYTES = 1 << 16;
const PIECE_WORDS = PIECE_BYTES / 4;

/** The digest, 32 hexadecimal digits. Reads all of the disk past its throttle. Rejects with what a read rejects with. */
export async function contentDigest(device: Device): Promise<string> {
  const { memory } = device.host;
  const buffer = memory.allocate(STEP_BYTES);
  const lanes = Uint32Array.of(0x9e3779b9, 0x243f6a88, 0xb7e15162, 0x6a09e667);
  try {
    for (let at = 0; at < device.length; at += STEP_BYTES) {
      const part = buffer.subarray(0, Math.min(STEP_BYTES, device.length - at));
      await inspectDevice(device, (root) => root.read(at, part));
      addStep(lanes, buffer, part.length, at / PIECE_BYTES, memory);
    }
  } finally {
    memory.free(buffer);
  }
  mixIn(lanes, device.length % 2 ** 32, Math.floor(device.length / 2 ** 32));
  return [...lanes].map((lane) => lane.toString(16).padStart(8, '0')).join('');
}

function addStep(lanes: Uint32Array, buffer: Uint8Array, length: number, firstPiece: number, memory: Memory): void {
  buffer.fill(0, length, Math.min(STEP_BYTES, Math.ceil(length / PIECE_BYTES) * PIECE_BYTES));
  const words = new Int32Array(buffer.buffer, buffer.byteOffset, STEP_BYTES / 4);
  for (let at = 0; at < length; at += PIECE_BYTES) {
    if (memory.isZero(buffer.subarray(at, at + PIECE_BYTES))) continue;
    mixIn(lanes, (firstPiece + at / PIECE_BYTES) % 2 ** 32, 1);
    addPiece(lanes, words, at / 4);
  }
}

/** Four lanes, so that the processor multiplies four words at a time. */
function addPiece(lanes: Uint32Array, words: Int32Array, start: number): void {
  let [a, b, c, d] = lanes;
  for (let i = start; i < start + PIECE_WORDS; i += 4) {
    a = Math.imul(a ^ words[i], 0x9e3779b1);
    a ^= a >>> 15;
    b = Math.imul(b ^ words[i + 1], 0x85ebca77);
    b ^= b >>> 13;
    c = Math.imul(c ^ words[i + 2], 0xc2b2ae3d);
    c ^= c >>> 16;
    d = Math.imul(d ^ words[i + 3], 0x27d4eb2f);
    d ^= d >>> 14;
  }
  lanes[0] = a;
  lanes[1] = b;
  lanes[2] = c;
  lanes[3] = d;
  mixIn(lanes, 0, 0);
}

/** Takes in two words, and mixes every lane into every other. */
function mixIn(lanes: Uint32Array, x: number, y: number): void {
  lanes[0] ^= x;
  lanes[2] ^= y;
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 4; i++) {
      const mixed = Math.imul(lanes[i] ^ (lanes[(i + 3) % 4] + 0x165667b1), 0x85ebca6b);
      lanes[i] = mixed ^ (mixed >>> 13);
    }
  }
}
