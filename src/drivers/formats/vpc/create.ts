// Makes a VHD image: dynamic, or of fixed size.

import { makeRoom, removeContent } from '../../../block/create.js';
import { type CreateOptions, SIZE_OPTION } from '../../../block/create-option.js';
import type { MeasureRequest } from '../../../block/measure.js';
import type { CreateRequest } from '../../../block/registry.js';
import type { BlockMeasureInfo } from '../../../schema/generated/types.js';
import { missingChild } from '../../../schema/loose-options.js';
import { BlockError } from '../../../util/errors.js';
import { roundDown, roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { encodeFooter, FOOTER_BYTES, Kind, MAX_DISK_BYTES } from './footer.js';
import { type Geometry, MAX_GEOMETRY, roundToGeometry } from './geometry.js';
import { BLOCK_BYTES, encodeHeader, firstPlace, type Header, newHeader, strideOf, tableEnd } from './header.js';

type VpcCreateOptions = CreateRequest<'vpc'>['options'];

const TABLE_STEP_BYTES = 1 << 20;

export const VPC_CREATE_OPTIONS: CreateOptions = {
  options: [
    {
      name: 'force_size',
      kind: 'bool (on/off)',
      help: 'Force disk size calculation to use the actual size specified, rather than using the nearest CHS-based calculation',
      member: 'force-size',
    },
    SIZE_OPTION,
    {
      name: 'subformat',
      kind: 'str',
      help: 'Type of virtual hard disk format. Supported formats are {dynamic (default) | fixed} ',
      member: 'subformat',
    },
  ],
  summary: [['size'], ['subformat'], ['force_size']],
};

/** Throws `limit`; `path` is for messages. */
export function checkVpcCreate({ size }: VpcCreateOptions, path: string): void {
  if (size <= MAX_DISK_BYTES) return;
  throw BlockError.at(path, 'limit', "The image size is too large for file format 'vpc'", { operation: 'create' });
}

interface Plan {
  size: number;
  geometry: Geometry;
  /** Null: of fixed size. */
  header: Header | null;
}

function planOf(options: VpcCreateOptions): Plan {
  const { geometry, size } = options['force-size']
    ? { geometry: MAX_GEOMETRY, size: roundUp(options.size, SECTOR_BYTES) }
    : roundToGeometry(options.size);
  return { geometry, size, header: options.subformat === 'fixed' ? null : newHeader(size) };
}

/** Makes an image in `file`. Rejects with `no-space`, `io`, and as `checkVpcCreate`. */
export async function createVpc({ graph, options, file }: CreateRequest<'vpc'>): Promise<void> {
  if (file === null) throw missingChild('file');
  checkVpcCreate(options, file.filename);
  const { size, geometry, header } = planOf(options);
  const { host } = graph;
  const footer = encodeFooter(
    {
      kind: header === null ? Kind.fixed : Kind.dynamic,
      dataOffset: header?.offset ?? null,
      size,
      geometry,
      byCurrentSize: options['force-size'] === true,
    },
    host.clock.wall().seconds,
    () => host.random(),
  );
  await removeContent(file);
  const end = (header === null ? size : tableEnd(header)) + FOOTER_BYTES;
  await makeRoom(file, end, header === null ? 0 : end);
  if (header !== null) {
    for (let at = header.tableOffset; at < tableEnd(header); at += TABLE_STEP_BYTES) {
      await file.write(at, new Uint8Array(Math.min(TABLE_STEP_BYTES, tableEnd(header) - at)).fill(0xff));
    }
    await file.write(header.offset, encodeHeader(header));
  }
  await file.write(roundDown(file.length, SECTOR_BYTES) - FOOTER_BYTES, footer);
  await file.flush();
  if (header === null) return;
  await file.write(0, footer);
  await file.flush();
}

/** Of an image with the content of `source`. Rejects as `checkVpcCreate`, and as the block status of the source. */
export async function measureVpc({ options, source }: MeasureRequest<'vpc'>): Promise<BlockMeasureInfo> {
  checkVpcCreate(options, '');
  const { size, header } = planOf(options);
  if (header === null) return { required: size + FOOTER_BYTES, 'fully-allocated': size + FOOTER_BYTES };
  const of = (blocks: number): number =>
    (blocks === 0 ? tableEnd(header) : firstPlace(header, tableEnd(header)) + blocks * strideOf(header)) + FOOTER_BYTES;
  const used = (await source?.clustersWithData(BLOCK_BYTES)) ?? 0;
  return { required: of(used), 'fully-allocated': of(header.entries) };
}
