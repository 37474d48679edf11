// seSparse extents, encoded as the header's description says.

const SECTOR = 512;
export const SE_GRAIN = 4096;
const TABLE_ENTRIES = 4096;
const TABLE_BYTES = TABLE_ENTRIES * 8;

/** What a grain of the disk is: the number of its place in the file, or what reads as zeroes. */
export type SeGrain = number | 'unmapped' | 'zeroes';

export interface SeShape {
  /** Bytes of the disk: whole sectors. */
  size: number;
  /** There are so many grains in the file; grain `n` is full of the byte `n + 1`. */
  grains: number;
  /** Fields of 64 bits that are other numbers, by their offset. */
  fields?: ReadonlyMap<number, bigint>;
  /** Byte 24 of the volatile header: the journal is to be replayed. */
  replay?: number;
}

export interface SeExtent {
  content: Buffer;
  /** Bytes in the file. */
  directory: number;
  tables: number;
}

/** An extent with these grains of the disk; all others are holes, and a table of holes is not there. */
export function seExtent(shape: SeShape, placed: ReadonlyMap<number, SeGrain>): SeExtent {
  const tableCount = Math.ceil(shape.size / (SE_GRAIN * TABLE_ENTRIES));
  const volatile = SECTOR;
  const directory = 8 * SECTOR;
  const directoryBytes = Math.ceil((tableCount * 8) / SECTOR) * SECTOR;
  const tables = directory + directoryBytes;
  const grains = Math.ceil((tables + tableCount * TABLE_BYTES) / SE_GRAIN) * SE_GRAIN;
  const content = Buffer.alloc(grains + shape.grains * SE_GRAIN);
  const put = (field: number, value: bigint): number => content.writeBigUInt64LE(value, field);
  put(0, 0xcafebaben);
  put(8, 0x2_0000_0001n);
  put(16, BigInt(shape.size / SECTOR));
  put(24, BigInt(SE_GRAIN / SECTOR));
  put(32, BigInt(TABLE_BYTES / SECTOR));
  const areas: readonly [field: number, offset: number, bytes: number][] = [
    [80, volatile, SECTOR],
    [128, directory, directoryBytes],
    [144, tables, tableCount * TABLE_BYTES],
    [192, grains, shape.grains * SE_GRAIN],
  ];
  for (const [field, offset, bytes] of areas) {
    put(field, BigInt(offset / SECTOR));
    put(field + 8, BigInt(bytes / SECTOR));
  }
  for (const [field, value] of shape.fields ?? []) put(field, value);
  put(volatile, 0xcafecafen);
  content[volatile + 24] = shape.replay ?? 0;
  for (const [index, grain] of placed) {
    const table = Math.floor(index / TABLE_ENTRIES);
    put(directory + table * 8, (1n << 60n) | BigInt(table));
    put(tables + index * 8, entryOf(grain));
  }
  for (let n = 0; n < shape.grains; n++) {
    content.fill(n + 1, grains + n * SE_GRAIN, grains + (n + 1) * SE_GRAIN);
  }
  return { content, directory, tables };
}

function entryOf(grain: SeGrain): bigint {
  if (grain === 'unmapped') return 1n << 60n;
  if (grain === 'zeroes') return 2n << 60n;
  const number = BigInt(grain);
  return (3n << 60n) | ((number & 0xfffn) << 48n) | (number >> 12n);
}

export interface SeLine {
  size: number;
  filename: string;
}

/** The descriptor of a disk of such extents. */
export function seDescriptor(lines: readonly SeLine[], parent?: { cid: string; filename: string }): string {
  const extents = lines.map(({ size, filename }) => `RW ${size / SECTOR} SESPARSE "${filename}"`);
  return [
    '# Disk DescriptorFile',
    'version=1',
    'CID=1234abcd',
    `parentCID=${parent?.cid ?? 'ffffffff'}`,
    'createType="seSparse"',
    ...(parent === undefined ? [] : [`parentFileNameHint="${parent.filename}"`]),
    ...extents,
    '',
  ].join('\n');
}
