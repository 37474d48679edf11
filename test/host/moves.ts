import type { CompressionType, Host, HostFile, MovePiece, MoveRequest, Packing } from '../../src/host/host.js';
import { pattern } from './engines.js';

export const KiB = 1024;
export const STEP = 64 * KiB;

export interface Subject {
  host: Host;
  /** A writable file with this content. */
  file(name: string, content: Uint8Array): Promise<HostFile>;
  /** What the file holds now. */
  content(name: string): Buffer;
  end(): Promise<void>;
}

export const piece = (file: HostFile | null, offset: number, length: number, to: number): MovePiece => ({
  file,
  offset,
  length,
  to,
});

export function request(target: HostFile, pieces: MovePiece[], more: Partial<MoveRequest> = {}): MoveRequest {
  const bytes = pieces.reduce((sum, { length }) => sum + length, 0);
  return { pieces, bytes, target, run: null, granule: 0, slice: 16 * STEP, ...more };
}

/** A cluster that is stored compressed. */
export interface Packed {
  offset: number;
  packing: Packing;
}

export const packed = (
  file: HostFile,
  { offset, packing }: Packed,
  lead: number,
  length: number,
  to: number,
): MovePiece => ({
  file,
  offset,
  length,
  to,
  packing: { ...packing, lead },
});

/** A file with three compressed clusters, one behind the other from an odd offset on: data, zeroes, data. */
export async function packClusters({ host, file }: Subject, type: CompressionType, clusterBytes: number) {
  // Half of it compresses.
  const data = (seed: number) => Buffer.concat([pattern(clusterBytes / 2, seed), Buffer.alloc(clusterBytes / 2, seed)]);
  const clusters = [data(1), Buffer.alloc(clusterBytes), data(2)];
  const stored: Uint8Array[] = [Buffer.alloc(77, 255)];
  const packings: Packed[] = [];
  let offset = 77;
  for (const cluster of clusters) {
    const room = new Uint8Array(2 * clusterBytes);
    const length = await host.codecs.compress(type, cluster, room);
    stored.push(room.subarray(0, length));
    packings.push({ offset, packing: { type, stored: length, clusterBytes, lead: 0 } });
    offset += length;
  }
  return { source: await file(`packed-${type}`, Buffer.concat(stored)), packings, clusters };
}
