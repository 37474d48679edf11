// Makes a VHDX image: dynamic, or fixed, in which every block has its place from the beginning.

import { makeRoom, removeContent } from '../../../block/create.js';
import { type CreateOptions, SIZE_OPTION } from '../../../block/create-option.js';
import type { MeasureRequest } from '../../../block/measure.js';
import type { CreateRequest } from '../../../block/registry.js';
import type { BlockMeasureInfo } from '../../../schema/generated/types.js';
import { missingChild } from '../../../schema/loose-options.js';
import { viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { isPowerOfTwo, roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { NO_GUID, randomGuid } from './guid.js';
import {
  encodeHeader,
  encodeIdentifier,
  FIRST_REGION_OFFSET,
  HEADER_OFFSETS,
  type Header,
  MIB,
  type Range,
  REGION_TABLE_OFFSETS,
} from './header.js';
import {
  chunkRatio,
  encodeMetadata,
  entryCount,
  entryOf,
  MAX_BLOCK_BYTES,
  MAX_DISK_BYTES,
  type Parameters,
} from './metadata.js';
import { encodeRegions } from './regions.js';
import { ENTRY_BYTES, State, wordsOf } from './table.js';

type VhdxCreateOptions = CreateRequest<'vhdx'>['options'];

const CREATOR = 'Diskwright';
const DEFAULT_LOG_BYTES = MIB;
const MAX_LOG_BYTES = 2 ** 32;
const TABLE_STEP_BYTES = MIB;
const GIB = 1 << 30;

export const VHDX_CREATE_OPTIONS: CreateOptions = {
  options: [
    {
      name: 'block_size',
      kind: 'size',
      help: 'Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image size.',
      member: 'block-size',
      reading: (bytes) => (bytes === 0 ? undefined : Math.min(roundUp(bytes, MIB), MAX_BLOCK_BYTES)),
    },
    {
      name: 'block_state_zero',
      kind: 'bool (on/off)',
      help: "Force use of payload blocks of type 'ZERO'. Non-standard, but default.  Do not set to 'off' when using 'qemu-img convert' with subformat=dynamic.",
      member: 'block-state-zero',
    },
    {
      name: 'log_size',
      kind: 'size',
      help: 'Log size; min 1MB.',
      member: 'log-size',
      reading: (bytes) => roundUp(bytes, MIB),
    },
    { ...SIZE_OPTION, help: 'Virtual disk size; max of 64TB.' },
    {
      name: 'subformat',
      kind: 'str',
      help: "VHDX format type, can be either 'dynamic' or 'fixed'. Default is 'dynamic'.",
      member: 'subformat',
    },
  ],
  summary: [
    ['size'],
    ['log_size', String(DEFAULT_LOG_BYTES)],
    ['block_size', '0'],
    ['subformat'],
    ['block_state_zero'],
  ],
};

interface Plan {
  parameters: Parameters;
  log: Range;
  bat: Range;
  metadata: Range;
  /** Of a block without a place. */
  state: number;
}

/** As QEMU chooses it. */
function blockBytesFor(size: number): number {
  if (size > 32 * 1024 * GIB) return 64 * MIB;
  if (size > 100 * GIB) return 32 * MIB;
  return size > GIB ? 16 * MIB : 8 * MIB;
}

/** Throws `invalid-argument`, `limit`; `path` is for messages. */
export function checkVhdxCreate(options: VhdxCreateOptions, path: string): void {
  planOf(options, path);
}

function planOf(options: VhdxCreateOptions, path: string): Plan {
  const { size, 'log-size': logBytes = DEFAULT_LOG_BYTES, subformat = 'dynamic' } = options;
  const { 'block-size': blockBytes = blockBytesFor(size), 'block-state-zero': marksZeroes = true } = options;
  const refuse = (reason: string): never => {
    throw BlockError.at(path, 'invalid-argument', reason, { operation: 'create' });
  };
  if (size > MAX_DISK_BYTES) {
    throw BlockError.at(path, 'limit', 'Image size too large; max of 64TB', { operation: 'create' });
  }
  if (logBytes >= MAX_LOG_BYTES) refuse('Log size must be smaller than 4 GB');
  if (logBytes < MIB || logBytes % MIB !== 0) refuse('Log size must be a multiple of 1 MB');
  if (blockBytes < MIB || blockBytes % MIB !== 0) refuse('Block size must be a multiple of 1 MB');
  if (!isPowerOfTwo(blockBytes)) refuse('Block size must be a power of two');
  if (blockBytes > MAX_BLOCK_BYTES) refuse(`Block size must not exceed ${MAX_BLOCK_BYTES}`);
  const parameters: Parameters = {
    size: roundUp(size, SECTOR_BYTES),
    blockBytes,
    isFixed: subformat === 'fixed',
    hasParent: false,
    parentLocator: null,
    sectorBytes: 512,
    physicalSectorBytes: 512,
    page83: NO_GUID,
  };
  const log = rangeFrom(FIRST_REGION_OFFSET, logBytes);
  const bat = rangeFrom(log[1], tableRoom(parameters));
  return {
    parameters,
    log,
    bat,
    metadata: rangeFrom(bat[1], MIB),
    state: marksZeroes ? State.zero : State.notPresent,
  };
}

function rangeFrom(start: number, bytes: number): Range {
  return [start, start + roundUp(bytes, MIB)];
}

/** QEMU wants so many entries in the table of a disk without a block, as it counts down from none in 32 bits. */
function tableRoom(parameters: Parameters): number {
  if (parameters.size > 0) return entryCount(parameters) * ENTRY_BYTES;
  return Math.floor(0xffff_ffff / chunkRatio(parameters)) * ENTRY_BYTES;
}

/** Makes an image in `file`. Rejects with `no-space`, `io`, and as `checkVhdxCreate`. */
export async function createVhdx({ graph, options, file }: CreateRequest<'vhdx'>): Promise<void> {
  if (file === null) throw missingChild('file');
  const plan = planOf(options, file.filename);
  const { log, bat, metadata } = plan;
  const random = (): number => graph.host.random();
  const parameters = { ...plan.parameters, page83: randomGuid(random) };
  const { size, blockBytes, isFixed } = parameters;
  const blocks = Math.ceil(size / blockBytes);
  await removeContent(file);
  await makeRoom(file, metadata[1] + (isFixed ? blocks * blockBytes : 0), metadata[1]);
  await file.write(metadata[0], encodeMetadata(parameters));
  for (const [offset, bytes] of tableSteps(plan)) await file.write(offset, bytes);
  for (const offset of REGION_TABLE_OFFSETS) await file.write(offset, encodeRegions(bat, metadata));
  const header: Header = {
    index: 0,
    sequence: BigInt(random() >>> 0),
    fileWriteGuid: randomGuid(random),
    dataWriteGuid: randomGuid(random),
    logGuid: NO_GUID,
    logOffset: log[0],
    logBytes: log[1] - log[0],
  };
  for (const [index, offset] of HEADER_OFFSETS.entries()) {
    await file.write(offset, encodeHeader({ ...header, sequence: header.sequence + BigInt(index) }));
  }
  await file.flush();
  await file.write(0, encodeIdentifier(CREATOR));
  await file.flush();
}

/** The table, as far as it is not zeroes. */
function* tableSteps({ parameters, bat, metadata, state }: Plan): Generator<readonly [number, Uint8Array]> {
  const { size, blockBytes, isFixed } = parameters;
  if (!isFixed && state === State.notPresent) return;
  const ratio = chunkRatio(parameters);
  const blocks = Math.ceil(size / blockBytes);
  const total = entryCount(parameters) * ENTRY_BYTES;
  let index = 0;
  for (let done = 0; done < total; done += TABLE_STEP_BYTES) {
    const bytes = new Uint8Array(roundUp(Math.min(TABLE_STEP_BYTES, total - done), SECTOR_BYTES));
    const view = viewOf(bytes);
    for (; index < blocks; index++) {
      const at = entryOf(index, ratio) * ENTRY_BYTES - done;
      if (at >= bytes.length) break;
      const [low, high] = wordsOf(
        isFixed ? { state: State.full, place: metadata[1] + index * blockBytes } : { state, place: 0 },
      );
      view.setUint32(at, low, true);
      view.setUint32(at + 4, high, true);
    }
    yield [bat[0] + done, bytes];
  }
}

/** Of an image with the content of `source`. Rejects as `checkVhdxCreate`, and as the block status of the source. */
export async function measureVhdx({ options, source }: MeasureRequest<'vhdx'>): Promise<BlockMeasureInfo> {
  const { parameters, metadata } = planOf(options, '');
  const { size, blockBytes, isFixed } = parameters;
  const blocks = Math.ceil(size / blockBytes);
  const used = isFixed ? blocks : ((await source?.clustersWithData(blockBytes)) ?? 0);
  const [, start] = metadata;
  return { required: start + used * blockBytes, 'fully-allocated': start + blocks * blockBytes };
}
