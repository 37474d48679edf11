// Encryption of an image: what the header says of it, and the cipher that a password makes (specification: "Header", crypt_method; "Full disk encryption
// header pointer").
//
//   crypt_method 1   AES-128 in CBC mode: the password itself, cut or filled to 16 bytes, is the key       no header, no check of the password
//   crypt_method 2   LUKS: its header and key material lie in clusters of the image, which the extension points to; the disk is the guest clusters

import type { Child } from '../../../block/child.js';
import type { Graph } from '../../../block/graph.js';
import type { BlockNode } from '../../../block/node/node.js';
import { readFirstSector } from '../../../block/probe.js';
import type { ImageInfoSpecificQCow2Encryption } from '../../../schema/generated/types.js';
import type { LooseOptions } from '../../../schema/loose-options.js';
import { viewBe64, viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { CRYPT_AES, openLegacyAes } from '../encryption/legacy-aes.js';
import { checkFormat, completeEncryption, type EncryptionFormat } from '../encryption/options.js';
import { checkPassword, withPassword } from '../encryption/password.js';
import { SlotChanges } from '../luks/amend.js';
import { openVolume, readVolumeHead, type Volume, volumeInfo, volumeOf } from '../luks/volume.js';
import type { ContentCipher } from './encrypted-data.js';
import { Extension, Field, type HeaderArea } from './header.js';
import type { DriverOptions } from './options.js';
import type { HostOffset } from './types.js';

export const CRYPT_LUKS = 2;
const EXTENSION_BYTES = 16;
/** Header and key material of the largest LUKS key take two megabytes. */
const MAX_HEADER_BYTES = 16 << 20;

/** The encryption of an open image. */
export interface ImageEncryption {
  content: ContentCipher;
  info(): ImageInfoSpecificQCow2Encryption;
  /** The clusters of the LUKS header. */
  region: { offset: HostOffset; length: number } | null;
  /** Of LUKS. */
  slots: SlotChanges | null;
}

function invalid(path: string, message: string): BlockError {
  return BlockError.at(path, 'invalid-image', message, { operation: 'open' });
}

/** The data of the extension that points to a LUKS header. */
export function encodePointer(offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(EXTENSION_BYTES);
  const view = viewOf(bytes);
  view.setBigUint64(0, BigInt(offset));
  view.setBigUint64(8, BigInt(length));
  return bytes;
}

/** Where the LUKS header is. Throws `invalid-image`. */
function pointerOf(
  { header, extensions }: HeaderArea,
  file: Child,
  path: string,
): { offset: HostOffset; length: number } {
  const found = extensions.find(({ type }) => type === Extension.encryption);
  if (found === undefined) throw invalid(path, 'Missing CRYPTO header for crypt method 2');
  if (found.data.length !== EXTENSION_BYTES) {
    throw invalid(path, `CRYPTO header extension size ${found.data.length}, but expected size ${EXTENSION_BYTES}`);
  }
  const view = viewOf(found.data);
  const offset = viewBe64(view, 0);
  const length = viewBe64(view, 8);
  if (!Number.isSafeInteger(offset) || offset === 0 || offset % 2 ** header.clusterBits !== 0) {
    throw invalid(
      path,
      `Encryption header offset '${offset}' is not a multiple of cluster size '${2 ** header.clusterBits}'`,
    );
  }
  if (!Number.isSafeInteger(length) || length > MAX_HEADER_BYTES || offset + length > file.length) {
    throw invalid(path, 'Encryption header exceeds the file');
  }
  return { offset: offset as HostOffset, length };
}

function formatOf(method: number): EncryptionFormat {
  return method === 0 ? null : method === CRYPT_AES ? 'aes' : 'luks';
}

/** What options that name a password and no format mean: see `completeEncryption` of qcow. */
export function completeOptions(options: LooseOptions, file: BlockNode): Promise<LooseOptions> {
  return completeEncryption(options, async () => {
    const head = await readFirstSector(file);
    return formatOf(head.length < Field.cryptMethod + 4 ? 0 : viewOf(head).getUint32(Field.cryptMethod));
  });
}

/**
 * Opens the encryption of the image in `file`; null where it has none. With `onlyHeader`, nobody will read its content, and no password is needed. Rejects with
 * `invalid-argument`, `invalid-image`, `unsupported`, `not-found` (the secret), `permission` (its password), `limit`, `io`.
 */
export async function openEncryption(
  graph: Graph,
  file: Child,
  area: HeaderArea,
  own: DriverOptions,
  onlyHeader: boolean,
): Promise<ImageEncryption | null> {
  const path = file.filename;
  const { cryptMethod } = area.header;
  checkFormat(formatOf(cryptMethod), own.encrypt, path);
  if (cryptMethod === 0) return null;
  const secret = own.encrypt?.['key-secret'];
  if (!onlyHeader) checkPassword(graph, secret, 'encrypt.key-secret', path);
  const { ciphers } = graph.host;
  if (cryptMethod === CRYPT_AES) {
    const cipher = onlyHeader ? null : openLegacyAes(graph, secret!);
    return { content: { cipher, byGuest: true }, info: () => ({ format: 'aes' }), region: null, slots: null };
  }
  const region = pointerOf(area, file, path);
  const read = (offset: number, buffer: Uint8Array): Promise<void> => file.read(region.offset + offset, buffer);
  const volume: Volume = volumeOf(await readVolumeHead(read, region.length), region.length, path);
  const cipher = onlyHeader
    ? null
    : await withPassword(graph, secret, 'encrypt.key-secret', path, (password) =>
        openVolume(ciphers, volume, password, read, path),
      );
  const slots = new SlotChanges(graph, volume, path, secret);
  return { content: { cipher, byGuest: false }, info: () => luksInfo(volume), region, slots };
}

/** The members in qemu-img's order. */
function luksInfo(volume: Volume): ImageInfoSpecificQCow2Encryption {
  const {
    'cipher-mode': mode,
    slots,
    'payload-offset': payload,
    'master-key-iters': iterations,
    ...first
  } = volumeInfo(volume);
  const last = { 'cipher-mode': mode, slots, 'payload-offset': payload, 'master-key-iters': iterations };
  return { ...first, format: 'luks', ...last };
}
