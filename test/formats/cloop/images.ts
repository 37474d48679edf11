// Compressed loop images, version 2.0, encoded as create_compressed_fs writes them.

import { deflateSync } from 'node:zlib';

const SCRIPT = '#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\nexit $?\n';
const SCRIPT_BYTES = 128;

/** An image of `content`, whose last block is filled up with zeroes. */
export function cloopImage(content: Uint8Array, blockBytes: number): Buffer {
  const count = Math.ceil(content.length / blockBytes);
  const head = Buffer.alloc(SCRIPT_BYTES + 8 + 8 * (count + 1));
  head.write(SCRIPT, 0, 'latin1');
  head.writeUInt32BE(blockBytes, SCRIPT_BYTES);
  head.writeUInt32BE(count, SCRIPT_BYTES + 4);
  const blocks: Buffer[] = [];
  let at = head.length;
  for (let i = 0; i <= count; i++) {
    head.writeBigUInt64BE(BigInt(at), SCRIPT_BYTES + 8 + 8 * i);
    if (i === count) break;
    const block = Buffer.alloc(blockBytes);
    block.set(content.subarray(i * blockBytes, (i + 1) * blockBytes));
    const packed = deflateSync(block);
    blocks.push(packed);
    at += packed.length;
  }
  return Buffer.concat([head, ...blocks]);
}
