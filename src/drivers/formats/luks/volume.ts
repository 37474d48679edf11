// An encrypted disk whose header lies somewhere: at the start of a file, or in clusters of a qcow2 image.

import type { Ciphers, SectorCipher } from '../../../host/cipher.js';
import type { QCryptoBlockCreateOptionsLUKS, QCryptoBlockInfoLUKS } from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import { makeUuid, UUID_BYTES } from '../../../util/uuid.js';
import { type Algorithms, algorithmsOf, checkAlgorithms, headerNames, keyBytesOf, openCipher } from './algorithms.js';
import {
  DIGEST_LENGTH,
  encodeHeader,
  HEADER_BYTES,
  headerRoom,
  type LuksHeader,
  materialBytes,
  materialOffset,
  parseHeader,
  SALT_BYTES,
  SLOT_COUNT,
  STRIPES,
} from './header.js';
import { calibrate, DEFAULT_ITER_TIME_MS } from './key-derivation.js';
import { fillSlot, type ReadMaterial, unlock } from './key-slots.js';

/** The child that a detached header is. */
export const HEADER = 'header';

export interface Volume {
  header: LuksHeader;
  algorithms: Algorithms;
  /** The disk lies in another node than the header. */
  detached: boolean;
}

/** The header's bytes, fewer where the place has not so many. `room`: bytes of the place. Rejects as `read`. */
export async function readVolumeHead(read: ReadMaterial, room: number): Promise<Uint8Array> {
  const head = new Uint8Array(Math.min(HEADER_BYTES, room));
  if (head.length > 0) await read(0, head);
  return head;
}

/**
 * What the header says whose bytes are `head`. `room`: bytes of the place that it and the key material lie in; `detached`: the disk lies in another one. Throws
 * `invalid-image`, `unsupported`.
 */
export function volumeOf(head: Uint8Array, room: number, path: string, { detached = false } = {}): Volume {
  const header = parseHeader(head, path, { detached });
  const algorithms = algorithmsOf(header, path);
  const end = Math.max(...header.slots.map((slot) => slot.materialOffset)) + materialBytes(header.keyBytes);
  if (end > room)
    throw BlockError.at(path, 'invalid-image', 'The LUKS key material exceeds its room', { operation: 'open' });
  return { header, algorithms, detached };
}

/**
 * The disk's cipher. Rejects with `permission` for a wrong password, with `unsupported` for a cipher that no library here has, with `limit`, and as `read`.
 * The caller closes it.
 */
export async function openVolume(
  ciphers: Ciphers,
  { header, algorithms }: Volume,
  password: Uint8Array,
  read: ReadMaterial,
  path: string,
): Promise<SectorCipher> {
  checkAlgorithms(algorithms, path, 'open');
  const { key } = await unlock({ ciphers, header, algorithms, path }, password, read);
  try {
    return openCipher(ciphers, algorithms, key);
  } finally {
    ciphers.forget(key);
  }
}

export type LuksCreateOptions = Omit<QCryptoBlockCreateOptionsLUKS, 'key-secret'>;

/** The algorithms of a new disk. Throws `unsupported`, `invalid-argument`. */
function algorithmsFor(options: LuksCreateOptions, path: string): Algorithms {
  const vectors = options['ivgen-alg'] ?? 'plain64';
  const vectorHash = options['ivgen-hash-alg'] ?? (vectors === 'essiv' ? 'sha256' : undefined);
  const algorithms: Algorithms = {
    cipher: options['cipher-alg'] ?? 'aes-256',
    mode: options['cipher-mode'] ?? 'xts',
    vectors,
    hash: options['hash-alg'] ?? 'sha256',
    ...(vectorHash !== undefined && { vectorHash }),
  };
  checkAlgorithms(algorithms, path, 'create');
  const time = options['iter-time'] ?? DEFAULT_ITER_TIME_MS;
  if (time < 0)
    throw BlockError.at(path, 'invalid-argument', 'iter-time must not be negative', { operation: 'create' });
  return algorithms;
}

/** Bytes of header and key material of a new disk. */
export function roomFor(options: LuksCreateOptions, path: string): number {
  return headerRoom(keyBytesOf(algorithmsFor(options, path)));
}

/** What is written of a new disk's header. */
export interface NewVolume {
  /** `HEADER_BYTES`. */
  header: Uint8Array;
  /** Of the first slot, the only one that is in use. */
  material: Uint8Array;
  materialOffset: number;
  /** `roomFor`: bytes up to the end of the last slot's key material. */
  room: number;
}

/**
 * Makes a new disk's key, and its header, whose first slot is opened by `password`. `detached`: the disk will lie in another node, from its first byte on.
 * Rejects with `unsupported`, `invalid-argument`, `limit`.
 */
export async function makeVolume(
  ciphers: Ciphers,
  options: LuksCreateOptions,
  password: Uint8Array,
  path: string,
  detached = false,
): Promise<NewVolume> {
  const algorithms = algorithmsFor(options, path);
  const { hash } = algorithms;
  const keyBytes = keyBytesOf(algorithms);
  const time = options['iter-time'] ?? DEFAULT_ITER_TIME_MS;
  const room = headerRoom(keyBytes);
  const header: LuksHeader = {
    ...headerNames(algorithms),
    payloadOffset: detached ? 0 : room,
    keyBytes,
    digest: new Uint8Array(DIGEST_LENGTH),
    digestSalt: new Uint8Array(SALT_BYTES),
    digestIterations: 0,
    uuid: newUuid(ciphers),
    slots: Array.from({ length: SLOT_COUNT }, (_, index) => ({
      active: false,
      iterations: 0,
      salt: new Uint8Array(SALT_BYTES),
      materialOffset: materialOffset(keyBytes, index),
      stripes: STRIPES,
    })),
  };
  const key = ciphers.secret(keyBytes);
  try {
    ciphers.fillRandom(key);
    ciphers.fillRandom(header.digestSalt);
    const [slot] = header.slots;
    const iterations = await calibrate(ciphers, hash, keyBytes, time);
    const material = await fillSlot({ ciphers, header, algorithms, path }, slot, key, password, iterations);
    // The digest is computed for each password that is tried, and need not be slow.
    header.digestIterations = await calibrate(ciphers, hash, DIGEST_LENGTH, time / 8);
    await ciphers.derive(hash, key, header.digestSalt, header.digestIterations, header.digest);
    return { header: encodeHeader(header), material, materialOffset: slot.materialOffset, room };
  } finally {
    ciphers.forget(key);
  }
}

/** A new one, as text. */
function newUuid(ciphers: Ciphers): string {
  const bytes = new Uint8Array(UUID_BYTES);
  ciphers.fillRandom(bytes);
  makeUuid(bytes);
  return Buffer.from(bytes)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** QAPI's description of it. */
export function volumeInfo({ header, algorithms, detached }: Volume): QCryptoBlockInfoLUKS {
  return {
    'ivgen-alg': algorithms.vectors,
    'hash-alg': algorithms.hash,
    'cipher-alg': algorithms.cipher,
    uuid: header.uuid,
    ...(algorithms.vectors === 'essiv' && { 'ivgen-hash-alg': algorithms.vectorHash }),
    'cipher-mode': algorithms.mode,
    ...(detached && { 'detached-header': true }),
    slots: header.slots.map(({ active, iterations, stripes, materialOffset: at }) => ({
      active,
      ...(active && { iters: iterations }),
      'key-offset': at,
      ...(active && { stripes }),
    })),
    'payload-offset': header.payloadOffset,
    'master-key-iters': header.digestIterations,
  };
}
