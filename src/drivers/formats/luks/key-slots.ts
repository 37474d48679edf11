// Key slots: each holds the disk's key, split (antiforensic.ts) and encrypted with a key that follows from a password.
//
//   open    password --derive--> slot key --decrypt material--> stripes --merge--> candidate; right where its digest is the header's
//   fill    the same backwards, with a new salt

import { CIPHER_SECTOR, type Ciphers } from '../../../host/cipher.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp } from '../../../util/numbers.js';
import { type Algorithms, openCipher } from './algorithms.js';
import { merge, split } from './antiforensic.js';
import { DIGEST_LENGTH, type KeySlot, type LuksHeader, materialBytes, SALT_BYTES } from './header.js';
import { Derivation } from './key-derivation.js';

/** Fills `buffer` from `offset` of the place of header and key material. */
export type ReadMaterial = (offset: number, buffer: Uint8Array) => Promise<void>;

export interface SlotContext {
  ciphers: Ciphers;
  header: LuksHeader;
  algorithms: Algorithms;
  /** For messages. */
  path: string;
}

/** The disk's key, and the slot that it was found in. The caller forgets the key. */
export interface Unlocked {
  key: Uint8Array;
  slot: number;
}

/** Tries `password` on each active slot. Rejects with `permission` where it fits none, with `limit`, and as `read`. */
export async function unlock(context: SlotContext, password: Uint8Array, read: ReadMaterial): Promise<Unlocked> {
  const derivation = new Derivation(context.ciphers, context.algorithms.hash);
  for (const [index, slot] of context.header.slots.entries()) {
    if (!slot.active) continue;
    const key = await openSlot(context, derivation, slot, password, read);
    if (key !== null) return { key, slot: index };
  }
  throw wrongPassword(context.path);
}

/** Whether `password` opens slot `index`. `derivation`: of all slots that this password is tried on. */
export async function opens(
  context: SlotContext,
  index: number,
  password: Uint8Array,
  read: ReadMaterial,
  derivation = new Derivation(context.ciphers, context.algorithms.hash),
): Promise<boolean> {
  const slot = context.header.slots[index];
  if (!slot.active) return false;
  const key = await openSlot(context, derivation, slot, password, read);
  if (key === null) return false;
  context.ciphers.forget(key);
  return true;
}

function wrongPassword(path: string): BlockError {
  return BlockError.at(path, 'permission', 'Invalid password, cannot unlock any keyslot', { operation: 'open' });
}

async function openSlot(
  { ciphers, header, algorithms, path }: SlotContext,
  derivation: Derivation,
  slot: KeySlot,
  password: Uint8Array,
  read: ReadMaterial,
): Promise<Uint8Array | null> {
  const { keyBytes } = header;
  // What is encrypted is whole sectors; the stripes of some keys end within one.
  const sectors = ciphers.secret(roundUp(materialBytes(keyBytes), CIPHER_SECTOR));
  const stripes = sectors.subarray(0, materialBytes(keyBytes));
  const slotKey = ciphers.secret(keyBytes);
  const candidate = ciphers.secret(keyBytes);
  let right = false;
  try {
    await derivation.derive(password, slot.salt, slot.iterations, slotKey, path);
    await read(slot.materialOffset, stripes);
    const cipher = openCipher(ciphers, algorithms, slotKey);
    try {
      await cipher.decrypt(0, sectors, sectors);
    } finally {
      cipher.close();
    }
    merge(stripes, candidate, algorithms.hash);
    const digest = new Uint8Array(DIGEST_LENGTH);
    await derivation.derive(candidate, header.digestSalt, header.digestIterations, digest, path);
    right = sameBytes(digest, header.digest);
    return right ? candidate : null;
  } finally {
    if (!right) ciphers.forget(candidate);
    ciphers.forget(slotKey);
    ciphers.forget(sectors);
  }
}

/** Compares in a time that does not depend on the content. */
function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  let different = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) different |= a[i] ^ b[i];
  return different === 0;
}

/**
 * The key material of a slot that `password` opens: the disk's `key`, split and encrypted. `slot` gets its salt and its iterations, and is marked active. Nothing is
 * written.
 */
export async function fillSlot(
  { ciphers, algorithms, path }: SlotContext,
  slot: KeySlot,
  key: Uint8Array,
  password: Uint8Array,
  iterations: number,
): Promise<Uint8Array> {
  const sectors = ciphers.secret(roundUp(materialBytes(key.length), CIPHER_SECTOR));
  const stripes = sectors.subarray(0, materialBytes(key.length));
  const slotKey = ciphers.secret(key.length);
  const salt = new Uint8Array(SALT_BYTES);
  try {
    ciphers.fillRandom(salt);
    await ciphers.derive(algorithms.hash, password, salt, iterations, slotKey);
    ciphers.fillRandom(stripes);
    split(key, stripes, algorithms.hash);
    const material = new Uint8Array(sectors.length);
    const cipher = openCipher(ciphers, algorithms, slotKey);
    try {
      await cipher.encrypt(0, sectors, material);
    } finally {
      cipher.close();
    }
    slot.salt = salt;
    slot.iterations = iterations;
    slot.active = true;
    return material.subarray(0, stripes.length);
  } catch (error) {
    throw error instanceof BlockError && error.path === undefined
      ? BlockError.at(path, error.code, error.reason)
      : error;
  } finally {
    ciphers.forget(slotKey);
    ciphers.forget(sectors);
  }
}
