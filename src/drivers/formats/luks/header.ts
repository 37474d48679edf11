// The header of LUKS version 1: layout and codec (specification: "LUKS On-Disk Format", version 1.2.3, "Partition header"). All numbers are big endian.
//
//   0       592      material of slot 0    ...    material of slot 7     payload offset
//   | fixed | ...... | stripes * key bytes | .... | stripes * key bytes | the disk, encrypted
//             4096                                                        (of a qcow2 image, and beside a detached header: elsewhere)

import { viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp } from '../../../util/numbers.js';

const MAGIC = [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe];
const VERSION = 1;
const ACTIVE = 0x00ac71f3;
const INACTIVE = 0x0000dead;

/** Byte offsets of the fields. */
const Field = {
  magic: 0,
  version: 6,
  cipherName: 8,
  cipherMode: 40,
  hashSpec: 72,
  payloadOffset: 104,
  keyBytes: 108,
  digest: 112,
  digestSalt: 132,
  digestIterations: 164,
  uuid: 168,
  slots: 208,
} as const;

/** The same within a key slot. */
const SlotField = { state: 0, iterations: 4, salt: 8, materialOffset: 40, stripes: 44 } as const;

export const HEADER_BYTES = 592;
const NAME_BYTES = 32;
const UUID_BYTES = 40;
const SLOT_BYTES = 48;
export const SLOT_COUNT = 8;
export const DIGEST_LENGTH = 20;
export const SALT_BYTES = 32;
/** The only number of stripes that is written, and read. */
export const STRIPES = 4000;
/** The unit of offsets. */
const SECTOR = 512;
/** The header's own room, and what the parts behind it are aligned to. */
const ALIGNMENT = 4096;
/** Keys of AES-256 in XTS mode. */
export const MAX_KEY_BYTES = 64;

export interface KeySlot {
  active: boolean;
  iterations: number;
  /** `SALT_BYTES`. */
  salt: Uint8Array;
  /** Bytes. */
  materialOffset: number;
  stripes: number;
}

export interface LuksHeader {
  cipherName: string;
  cipherMode: string;
  hashSpec: string;
  /** Bytes. */
  payloadOffset: number;
  /** Length of the disk's key. */
  keyBytes: number;
  /** `DIGEST_LENGTH`. */
  digest: Uint8Array;
  /** `SALT_BYTES`. */
  digestSalt: Uint8Array;
  digestIterations: number;
  uuid: string;
  slots: KeySlot[];
}

/** True where `head`, the start of a file, is that of a LUKS image of this version. */
export function hasLuksMagic(head: Uint8Array): boolean {
  return startsWithMagic(head) && viewOf(head).getUint16(Field.version) === VERSION;
}

function startsWithMagic(head: Uint8Array): boolean {
  return head.length >= Field.version + 2 && MAGIC.every((byte, at) => head[at] === byte);
}

/** Bytes that the key material of a slot takes. */
export function materialBytes(keyBytes: number): number {
  return keyBytes * STRIPES;
}

/** Bytes of a header with all its key material: what lies before the payload. */
export function headerRoom(keyBytes: number): number {
  return ALIGNMENT + SLOT_COUNT * roundUp(materialBytes(keyBytes), ALIGNMENT);
}

/** Where the key material of slot `index` is put, in bytes. */
export function materialOffset(keyBytes: number, index: number): number {
  return ALIGNMENT + index * roundUp(materialBytes(keyBytes), ALIGNMENT);
}

function invalid(path: string, message: string, offset = 0): BlockError {
  return BlockError.at(path, 'invalid-image', message, { offset, operation: 'open' });
}

/**
 * Decodes the first `HEADER_BYTES` bytes, and checks each field by itself and against the others: lengths, places that overlap. `detached`: the payload lies
 * elsewhere, so that it overlaps with nothing here. What the names of the algorithms mean is not looked at. Throws `invalid-image`, and `unsupported` for
 * another version.
 */
export function parseHeader(head: Uint8Array, path: string, { detached = false } = {}): LuksHeader {
  if (!startsWithMagic(head)) throw invalid(path, 'Volume is not in LUKS format');
  const view = viewOf(head);
  const version = view.getUint16(Field.version);
  if (version !== VERSION) {
    throw BlockError.at(path, 'unsupported', `LUKS version ${version} is not supported`, { operation: 'open' });
  }
  if (head.length < HEADER_BYTES) throw invalid(path, 'The LUKS header is too short');
  const header: LuksHeader = {
    cipherName: textAt(head, Field.cipherName, NAME_BYTES, 'cipher name', path),
    cipherMode: textAt(head, Field.cipherMode, NAME_BYTES, 'cipher mode', path),
    hashSpec: textAt(head, Field.hashSpec, NAME_BYTES, 'hash', path),
    payloadOffset: view.getUint32(Field.payloadOffset) * SECTOR,
    keyBytes: view.getUint32(Field.keyBytes),
    digest: head.slice(Field.digest, Field.digest + DIGEST_LENGTH),
    digestSalt: head.slice(Field.digestSalt, Field.digestSalt + SALT_BYTES),
    digestIterations: view.getUint32(Field.digestIterations),
    uuid: textAt(head, Field.uuid, UUID_BYTES, 'UUID', path),
    slots: Array.from({ length: SLOT_COUNT }, (_, index) => parseSlot(head, view, index, path)),
  };
  checkFields(header, path, detached);
  return header;
}

/** Text that ends with a zero byte, all of it printable ASCII. */
function textAt(head: Uint8Array, at: number, room: number, what: string, path: string): string {
  const field = head.subarray(at, at + room);
  const end = field.indexOf(0);
  if (end < 0) throw invalid(path, `LUKS header ${what} is not NUL terminated`, at);
  const text = field.subarray(0, end);
  if (text.some((byte) => byte < 0x20 || byte > 0x7e)) throw invalid(path, `LUKS header ${what} is not text`, at);
  return Buffer.from(text).toString('latin1');
}

function parseSlot(head: Uint8Array, view: DataView, index: number, path: string): KeySlot {
  const at = Field.slots + index * SLOT_BYTES;
  const state = view.getUint32(at + SlotField.state);
  if (state !== ACTIVE && state !== INACTIVE) {
    throw invalid(path, `Keyslot ${index} state (active/disable) is corrupted`, at + SlotField.state);
  }
  return {
    active: state === ACTIVE,
    iterations: view.getUint32(at + SlotField.iterations),
    salt: head.slice(at + SlotField.salt, at + SlotField.salt + SALT_BYTES),
    materialOffset: view.getUint32(at + SlotField.materialOffset) * SECTOR,
    stripes: view.getUint32(at + SlotField.stripes),
  };
}

function checkFields(header: LuksHeader, path: string, detached: boolean): void {
  const { keyBytes, payloadOffset, slots } = header;
  if (keyBytes === 0 || keyBytes > MAX_KEY_BYTES) {
    throw invalid(path, `LUKS key of ${keyBytes} bytes: there are none of that length`, Field.keyBytes);
  }
  if (header.digestIterations === 0) throw invalid(path, 'LUKS key iteration count is zero', Field.digestIterations);
  const length = materialBytes(keyBytes);
  for (const [index, slot] of slots.entries()) {
    const at = Field.slots + index * SLOT_BYTES;
    if (slot.stripes !== STRIPES) {
      throw invalid(
        path,
        `Keyslot ${index} is corrupted (stripes ${slot.stripes} != ${STRIPES})`,
        at + SlotField.stripes,
      );
    }
    if (slot.active && slot.iterations === 0) {
      throw invalid(path, `Keyslot ${index} iteration count is zero`, at + SlotField.iterations);
    }
    if (slot.materialOffset < HEADER_BYTES) {
      throw invalid(path, `Keyslot ${index} is overlapping with the LUKS header`, at + SlotField.materialOffset);
    }
    // A header that was made detached says 0, wherever it is found.
    if (!detached && payloadOffset !== 0 && slot.materialOffset + length > payloadOffset) {
      throw invalid(path, `Keyslot ${index} is overlapping with the encrypted payload`, at + SlotField.materialOffset);
    }
    const other = slots.findIndex(
      ({ materialOffset }, before) => before < index && Math.abs(materialOffset - slot.materialOffset) < length,
    );
    if (other >= 0) {
      throw invalid(
        path,
        `Keyslots ${other} and ${index} are overlapping in the header`,
        at + SlotField.materialOffset,
      );
    }
  }
}

/** The first `HEADER_BYTES` bytes. */
export function encodeHeader(header: LuksHeader): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = viewOf(bytes);
  bytes.set(MAGIC, Field.magic);
  view.setUint16(Field.version, VERSION);
  bytes.set(Buffer.from(header.cipherName, 'latin1'), Field.cipherName);
  bytes.set(Buffer.from(header.cipherMode, 'latin1'), Field.cipherMode);
  bytes.set(Buffer.from(header.hashSpec, 'latin1'), Field.hashSpec);
  view.setUint32(Field.payloadOffset, header.payloadOffset / SECTOR);
  view.setUint32(Field.keyBytes, header.keyBytes);
  bytes.set(header.digest, Field.digest);
  bytes.set(header.digestSalt, Field.digestSalt);
  view.setUint32(Field.digestIterations, header.digestIterations);
  bytes.set(Buffer.from(header.uuid, 'latin1'), Field.uuid);
  for (const [index, slot] of header.slots.entries()) {
    const at = Field.slots + index * SLOT_BYTES;
    view.setUint32(at + SlotField.state, slot.active ? ACTIVE : INACTIVE);
    view.setUint32(at + SlotField.iterations, slot.iterations);
    bytes.set(slot.salt, at + SlotField.salt);
    view.setUint32(at + SlotField.materialOffset, slot.materialOffset / SECTOR);
    view.setUint32(at + SlotField.stripes, slot.stripes);
  }
  return bytes;
}
