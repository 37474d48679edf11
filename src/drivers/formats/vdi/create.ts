// Makes a VDI image: dynamic, or static, in which every block has its place from the beginning.

import { makeRoom, removeContent } from '../../../block/create.js';
import { type CreateOptions, SIZE_OPTION } from '../../../block/create-option.js';
import type { MeasureRequest } from '../../../block/measure.js';
import type { CreateRequest } from '../../../block/registry.js';
import type { BlockMeasureInfo } from '../../../schema/generated/types.js';
import { missingChild } from '../../../schema/loose-options.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { BLOCK_BYTES, encodeHeader, HEADER_BYTES, type Header, MAX_DISK_BYTES, UNALLOCATED } from './header.js';

type VdiCreateOptions = CreateRequest<'vdi'>['options'];

/** The data begins at a page of memory, so that whole blocks can be cloned, and written past the page cache. */
const DATA_ALIGNMENT = 4096;
const MAP_STEP_BYTES = 1 << 20;

export const VDI_CREATE_OPTIONS: CreateOptions = {
  options: [
    SIZE_OPTION,
    {
      name: 'static',
      kind: 'bool (on/off)',
      help: 'VDI static (pre-allocated) image',
      member: 'preallocation',
      values: { on: 'metadata', off: 'off' },
    },
  ],
  summary: [['size'], ['static', 'off']],
};

/** Throws `invalid-argument`, `limit`, `unsupported`; `path` is for messages. */
export function checkVdiCreate({ size, preallocation = 'off' }: VdiCreateOptions, path: string): void {
  if (size > MAX_DISK_BYTES) {
    const [asked, most] = [size, MAX_DISK_BYTES].map((bytes) => `0x${bytes.toString(16)}`);
    throw BlockError.at(path, 'limit', `Unsupported VDI image size (size is ${asked}, max supported is ${most})`, {
      operation: 'create',
    });
  }
  if (preallocation === 'off' || preallocation === 'metadata') return;
  throw BlockError.at(path, 'invalid-argument', `Preallocation mode '${preallocation}' is not supported`, {
    operation: 'create',
  });
}

function layoutOf({ size, preallocation }: VdiCreateOptions): Header {
  const blocks = Math.ceil(size / BLOCK_BYTES);
  const isStatic = preallocation === 'metadata';
  return {
    size: roundUp(size, SECTOR_BYTES),
    isStatic,
    mapOffset: HEADER_BYTES,
    dataOffset: roundUp(HEADER_BYTES + blocks * 4, DATA_ALIGNMENT),
    blocks,
    allocated: isStatic ? blocks : 0,
  };
}

/** Makes an image in `file`. Rejects with `no-space`, `io`, and as `checkVdiCreate`. */
export async function createVdi({ graph, options, file }: CreateRequest<'vdi'>): Promise<void> {
  if (file === null) throw missingChild('file');
  checkVdiCreate(options, file.filename);
  const header = layoutOf(options);
  const { blocks, mapOffset, dataOffset, isStatic } = header;
  await removeContent(file);
  await makeRoom(file, dataOffset + (isStatic ? blocks * BLOCK_BYTES : 0), dataOffset);
  for (let done = 0; done < blocks * 4; done += MAP_STEP_BYTES) {
    const entries = Math.min(MAP_STEP_BYTES, blocks * 4 - done) / 4;
    const bytes = new Uint8Array(roundUp(entries * 4, SECTOR_BYTES));
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < entries; i++) view.setUint32(4 * i, isStatic ? done / 4 + i : UNALLOCATED, true);
    await file.write(mapOffset + done, bytes);
  }
  await file.flush();
  await file.write(
    0,
    encodeHeader(header, () => graph.host.random()),
  );
  await file.flush();
}

/** Of an image with the content of `source`. Rejects as `checkVdiCreate`, and as the block status of the source. */
export async function measureVdi({ options, source }: MeasureRequest<'vdi'>): Promise<BlockMeasureInfo> {
  checkVdiCreate(options, '');
  const { dataOffset, blocks, isStatic } = layoutOf(options);
  const full = dataOffset + blocks * BLOCK_BYTES;
  const used = isStatic ? blocks : ((await source?.clustersWithData(BLOCK_BYTES)) ?? 0);
  return { required: dataOffset + used * BLOCK_BYTES, 'fully-allocated': full };
}
