// Compares an image with its checksums, which are CRC-32 of three things:
//
//   data fork   what is stored, of all chunks
//   each table  what its chunks are decompressed to, in their order; unused space is left out
//   all tables  their own checksums, as they follow each other
//
// One of another kind, or of none, is not verified; an image that has no checksum of this kind at all was not compared, which is said.

import type { CheckResult } from '../../../block/abilities.js';
import type { Child } from '../../../block/child.js';
import type { CheckFinding } from '../../../block/finding.js';
import type { Host } from '../../../host/host.js';
import { putBe32 } from '../../../util/bytes.js';
import { crc32, crc32OfZeroes } from '../../../util/crc32.js';
import { BlockError } from '../../../util/errors.js';
import type { ChunkReader } from './chunk-reader.js';
import { type Chunk, chunksOf } from './chunks.js';
import { Kind, parseTableHead } from './header.js';
import { parseLayout, readLayout } from './layout.js';

const PART_BYTES = 1 << 20;

/** As `Abilities.checkData`. */
export async function checkData(
  link: Child,
  host: Host,
  reader: ChunkReader,
  report: (finding: CheckFinding) => void,
): Promise<CheckResult> {
  let corruptions = 0;
  let checkErrors = 0;
  const fail = (kind: string, severity: 'corruption' | 'check-error', reason: string, index?: number): void => {
    if (severity === 'corruption') corruptions++;
    else checkErrors++;
    report({ kind, severity, index, reason });
  };
  let compared = 0;
  const compare = (kind: string, stored: number, found: number, index?: number): void => {
    compared++;
    if (found === stored) return;
    fail(kind, 'corruption', `the checksum is ${hex8(found)}, and should be ${hex8(stored)}`, index);
  };
  const { header, resources } = parseLayout(await readLayout(link), link.filename);
  const { dataOffset, dataBytes, dataChecksum, tablesChecksum } = header;
  if (dataChecksum !== null) {
    if (dataBytes > link.length - dataOffset) fail('dmg-data-fork', 'corruption', 'it does not lie within the file');
    else compare('dmg-data-fork', dataChecksum, await sumOfFile(link, host, dataOffset, dataBytes));
  }
  const sums: number[] = [];
  const budget = { bytes: header.size };
  for (const [index, resource] of resources.entries()) {
    const checksum = parseTableHead(resource)?.checksum ?? null;
    if (checksum === null) continue;
    sums.push(checksum);
    try {
      compare(
        'dmg-table',
        checksum,
        await sumOfTable(reader, chunksOf(resource, dataOffset, 0, link.filename), budget),
        index,
      );
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      if (error.code === 'corrupt-image') fail('dmg-table', 'corruption', error.reason, index);
      else if (error.code === 'unsupported') fail('dmg-table', 'check-error', error.reason, index);
      else throw error;
    }
  }
  if (tablesChecksum !== null) compare('dmg-tables', tablesChecksum, sumOfSums(sums));
  if (compared === 0 && corruptions + checkErrors === 0) {
    fail('dmg-no-checksum', 'check-error', 'The image has no checksum that can be compared');
  }
  return {
    checkErrors,
    corruptions,
    leaks: 0,
    imageEndOffset: 0,
    totalClusters: 0,
    allocatedClusters: 0,
    fragmentedClusters: 0,
    compressedClusters: 0,
  };
}

async function sumOfFile(link: Child, host: Host, offset: number, length: number): Promise<number> {
  const buffer = host.memory.allocate(Math.min(length, PART_BYTES));
  let sum = 0;
  try {
    for (let done = 0; done < length; done += buffer.length) {
      const part = buffer.subarray(0, length - done);
      await link.read(offset + done, part);
      sum = crc32(part, sum);
    }
  } finally {
    host.memory.free(buffer);
  }
  return sum;
}

/**
 * `budget`: bytes that tables can hold at most, of which this one takes its own. Chunks that do not overlap hold no more than the disk has; those of a broken image, each of
 * which may have 64 MiB, might be decompressed for days. Rejects as reads do where a chunk cannot be read, and with `corrupt-image` beyond the budget.
 */
async function sumOfTable(reader: ChunkReader, chunks: Iterable<Chunk>, budget: { bytes: number }): Promise<number> {
  let sum = 0;
  for (const chunk of chunks) {
    if (chunk.kind === Kind.ignore) continue;
    budget.bytes -= chunk.end - chunk.start;
    if (budget.bytes < 0) throw new BlockError('corrupt-image', 'the chunks hold more than the disk has');
    if (chunk.kind === Kind.zero) {
      sum = crc32OfZeroes(chunk.end - chunk.start, sum);
      continue;
    }
    await reader.readAll(chunk, (part) => {
      sum = crc32(part, sum);
    });
  }
  return sum;
}

function sumOfSums(sums: readonly number[]): number {
  const bytes = new Uint8Array(4 * sums.length);
  for (const [i, sum] of sums.entries()) putBe32(bytes, 4 * i, sum);
  return crc32(bytes);
}

function hex8(sum: number): string {
  return `0x${sum.toString(16).padStart(8, '0')}`;
}
