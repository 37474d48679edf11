// The descriptor: a text that says what the disk consists of. It is a file of its own, or lies in the only extent.
//
//   # Disk DescriptorFile
//   version=1
//   CID=fffffffe                             changes when the disk is written to for the first time after it was opened
//   parentCID=ffffffff                       that of the backing file, as it was when this image was made of it; all ones: there is none
//   createType="twoGbMaxExtentSparse"
//   RW 4194304 SPARSE "disk-s001.vmdk"       access, sectors, kind, file, and of a flat extent the sector in the file
//   ddb.adapterType = "ide"                  the disk data base
//
// Source: VMware, "Virtual Disk Format 5.0".

import { BlockError } from '../../../util/errors.js';
import { decodeName, encodeName } from '../../../util/name-bytes.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';

export const NO_PARENT = 0xffff_ffff;
const NO_PARENT_BITS = BigInt(NO_PARENT);
/** Of a descriptor that lies in an extent. */
export const EMBEDDED_BYTES = 20 * SECTOR_BYTES;
/** Of one that is a file. */
export const MAX_DESCRIPTOR_BYTES = 1 << 20;
const MAX_EXTENTS = 4096;
const MAX_DISK_BYTES = 2 ** 50;

export type ExtentKind = 'FLAT' | 'VMFS' | 'SPARSE' | 'VMFSSPARSE' | 'SESPARSE' | 'ZERO';

export interface ExtentLine {
  kind: ExtentKind;
  /** Bytes of the disk. */
  length: number;
  /** As it is written there; empty for ZERO. */
  filename: string;
  /** Of a flat extent: bytes, in its file. */
  offset: number;
}

/** A number, and the characters of the text that are its: hexadecimal digits, and what stands before them. */
export interface NumberPlace {
  value: number;
  at: number;
  digits: number;
}

export interface Descriptor {
  cid: NumberPlace;
  /** Of no digits where the text has none. */
  parentCid: NumberPlace;
  createType: string;
  backingFile: string | null;
}

/** Types of images whose descriptor is a file of its own. */
const FILE_TYPES: readonly string[] = [
  'monolithicFlat',
  'vmfs',
  'vmfsSparse',
  'seSparse',
  'twoGbMaxExtentSparse',
  'twoGbMaxExtentFlat',
];

/** One byte a character, up to the first zero. */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('latin1');
}

/** A name in a descriptor is the bytes of the file's name, which need not be UTF-8. */
function nameOf(latin1: string): string {
  return decodeName(Buffer.from(latin1, 'latin1'));
}

/**
 * What stands behind a name, read as QEMU reads it: after spaces and lines, with a sign or `0x` or without; of more than 64 bits all ones, else the last 32 of them. Null: it
 * is no number.
 */
function numberAt(text: string, start: number): NumberPlace | null {
  const found = /\s*([+-]?(?:0[xX][0-9a-fA-F]*|[0-9a-fA-F]+))/y;
  found.lastIndex = start;
  const written = found.exec(text)?.[1];
  if (written === undefined) return null;
  const magnitude = BigInt(`0x0${written.replace(/^[+-]?(0[xX])?/, '')}`);
  const bits = written.startsWith('-') ? -magnitude : magnitude;
  const value = Number(magnitude >= 1n << 64n ? NO_PARENT_BITS : BigInt.asUintN(32, bits));
  return { value, at: found.lastIndex - written.length, digits: written.length };
}

/** Throws `invalid-image` where it names no content ID: it is no descriptor. */
export function parseDescriptor(text: string, path: string): Descriptor {
  const ownName = /(?<!parent)CID=/.exec(text);
  const cid = ownName && numberAt(text, ownName.index + ownName[0].length);
  if (cid === null) {
    throw BlockError.at(
      path,
      'invalid-image',
      'The image has no descriptor with a content ID: it may be an extent of another image',
      {
        operation: 'open',
      },
    );
  }
  const parentName = 'parentCID=';
  const parentAt = text.indexOf(parentName);
  const noParent: NumberPlace = { value: NO_PARENT, at: 0, digits: 0 };
  const parent = parentAt < 0 ? noParent : numberAt(text, parentAt + parentName.length);
  if (parent === null) {
    const reason = 'The content ID of the backing file is no number in the descriptor';
    throw BlockError.at(path, 'invalid-image', reason, { operation: 'open' });
  }
  const hint = /^parentFileNameHint="([^"\n]+)"/m.exec(text);
  return {
    cid,
    parentCid: parent,
    createType: /createType="([^"\n]*)"/m.exec(text)?.[1] ?? '',
    backingFile: hint === null ? null : nameOf(hint[1]),
  };
}

/** The extents that a descriptor of its own names. Throws `invalid-image`, `unsupported`, in QEMU's words where QEMU refuses it, too. */
export function parseExtents(text: string, { createType }: Descriptor, path: string): ExtentLine[] {
  const fail = (code: 'invalid-image' | 'unsupported', reason: string): never => {
    throw BlockError.at(path, code, reason, { operation: 'open' });
  };
  if (!FILE_TYPES.includes(createType)) fail('unsupported', `Unsupported image type '${createType}'`);
  const extents: ExtentLine[] = [];
  let total = 0;
  for (const raw of text.split('\n')) {
    // Spaces before a line do not count, as for QEMU. A line that begins as an extent's is one: the disk would be shorter without it, and what follows at wrong places.
    const line = raw.trim();
    const start = /^(RW|RDONLY|NOACCESS)\s/.exec(line);
    if (start === null) continue;
    if (start[1] !== 'RW') fail('unsupported', `Unsupported extent access: ${line}`);
    const extent = parseExtent(line) ?? fail('invalid-image', `Invalid extent line: ${line}`);
    total += extent.length;
    if (total > MAX_DISK_BYTES) fail('unsupported', 'The extents are too large');
    if (extents.push(extent) > MAX_EXTENTS) fail('unsupported', `More than ${MAX_EXTENTS} extents`);
  }
  if (extents.length === 0) fail('invalid-image', 'The descriptor names no extents');
  return extents;
}

function parseExtent(line: string): ExtentLine | null {
  const found = /^RW\s+(\+?\d+)\s+([A-Z]+)(?:\s+"([^"]+)"(?:\s*(\+?\d+))?)?/.exec(line);
  if (found === null) return null;
  const [, sectors, kind, filename, offset] = found;
  const length = Number(sectors) * SECTOR_BYTES;
  if (length === 0) return null;
  const extent = { length, filename: nameOf(filename ?? ''), offset: Number(offset ?? 0) * SECTOR_BYTES };
  if (extent.offset > Number.MAX_SAFE_INTEGER / 2) return null;
  switch (kind) {
    case 'ZERO':
      return { ...extent, kind };
    case 'FLAT':
      return filename === undefined || offset === undefined ? null : { ...extent, kind };
    case 'VMFS':
    case 'SPARSE':
    case 'VMFSSPARSE':
    case 'SESPARSE':
      return filename === undefined || offset !== undefined ? null : { ...extent, kind, offset: 0 };
    default:
      return null;
  }
}

export interface NewDescriptor {
  cid: number;
  parentCid: number;
  createType: string;
  backingFile: string | null;
  extents: readonly ExtentLine[];
  /** Bytes of the disk. */
  size: number;
  hwVersion: string;
  adapterType: string;
  toolsVersion: string;
}

const HEADS = { ide: 16, scsi: 255 } as const;
const SECTORS = 63;

export function encodeDescriptor(made: NewDescriptor): Uint8Array {
  const hex = (value: number): string => value.toString(16).padStart(8, '0');
  const heads = made.adapterType === 'ide' ? HEADS.ide : HEADS.scsi;
  const cylinders = Math.floor(made.size / (SECTORS * heads * SECTOR_BYTES));
  const lines = made.extents.map(({ kind, length, filename, offset }) => {
    const place = kind === 'FLAT' ? ` ${offset / SECTOR_BYTES}` : '';
    return `RW ${length / SECTOR_BYTES} ${kind} "${filename}"${place}\n`;
  });
  const text = [
    '# Disk DescriptorFile\n',
    'version=1\n',
    `CID=${hex(made.cid)}\n`,
    `parentCID=${hex(made.parentCid)}\n`,
    `createType="${made.createType}"\n`,
    made.backingFile === null ? '\n' : `parentFileNameHint="${made.backingFile}"\n`,
    '# Extent description\n',
    ...lines,
    '\n# The Disk Data Base\n#DDB\n\n',
    `ddb.virtualHWVersion = "${made.hwVersion}"\n`,
    `ddb.geometry.cylinders = "${cylinders}"\n`,
    `ddb.geometry.heads = "${heads}"\n`,
    `ddb.geometry.sectors = "${SECTORS}"\n`,
    `ddb.adapterType = "${made.adapterType}"\n`,
    `ddb.toolsVersion = "${made.toolsVersion}"\n`,
  ];
  return encodeName(text.join(''));
}

/** Whether a text can stand between the quotes of a descriptor. */
export function fitsQuotes(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what cannot stand there
  return !/["\x00\n\r]/.test(text);
}
