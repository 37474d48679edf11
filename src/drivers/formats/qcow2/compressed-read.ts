// Compressed clusters, reading: the stored sectors are read and decompressed on the host's workers, one cluster at a time.

import type { Qcow2Image } from './image.js';
import type { HostOffset } from './types.js';

/**
 * Decompresses the cluster stored in up to `stored` bytes at host offset `host` and puts its bytes from `lead` on into `target`.
 * Rejects with `invalid-image` where the data does not make a cluster, `corrupt-image` where it lies outside of the file.
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
  // The descriptor counts whole sectors; the last may reach beyond the end of the file.
  const input = image.memory.allocate(Math.min(stored, image.data.length - host));
  const whole = lead === 0 && target.length === clusterSize;
  const output = whole ? target : image.memory.allocate(clusterSize);
  try {
    await image.data.read(host, input);
    await image.host.codecs.decompress(image.header.compressionType === 1 ? 'zstd' : 'zlib', input, output);
    if (!whole) target.set(output.subarray(lead, lead + target.length));
  } finally {
    image.memory.free(input);
    if (!whole) image.memory.free(output);
  }
}
