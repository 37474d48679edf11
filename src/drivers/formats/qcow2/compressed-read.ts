// Reads of compressed clusters: the stored sectors are read, and decompressed on the host's worker threads, one cluster at a time.

import type { Qcow2Image } from './image.js';
import type { HostOffset } from './types.js';

/**
 * Decompresses the cluster that is stored in up to `stored` bytes at host offset `host`, and copies its bytes from `lead` on to `target`. Rejects with
 * `invalid-image` where the data does not decompress to a whole cluster, with `corrupt-image` where it is outside of the file, and with `io`.
 */
export async function readCompressed(
  image: Qcow2Image,
  host: HostOffset,
  stored: number,
  lead: number,
  target: Uint8Array,
): Promise<void> {
  const { clusterSize } = image.geometry;
  if (host >= image.data.length)
    throw await image.corrupt(`Compressed cluster at ${host} is outside of the file`, host);
  // The entry has the length in whole sectors; the last one may reach beyond the end of the file.
  const input = image.memory.allocate(Math.min(stored, image.data.length - host));
  const whole = lead === 0 && target.length === clusterSize;
  const output = whole ? target : image.memory.allocate(clusterSize);
  try {
    await image.data.readStored(host, input, 'read_compressed');
    await image.host.codecs.decompress(image.compression, input, output);
    if (!whole) target.set(output.subarray(lead, lead + target.length));
  } finally {
    image.memory.free(input);
    if (!whole) image.memory.free(output);
  }
}
