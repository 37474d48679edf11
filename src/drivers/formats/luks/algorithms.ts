// The algorithms of LUKS: what the header calls them, what QAPI calls them, and the cipher that they make.
//
//   header   aes, 64 bytes   xts-plain64            QAPI   aes-256, xts, plain64
//            aes, 32 bytes   cbc-essiv:sha256              aes-256, cbc, essiv, sha256

import { type Ciphers, DIGEST_BYTES, digestOf, type SectorCipher } from '../../../host/cipher.js';
import type {
  QCryptoCipherAlgorithm,
  QCryptoCipherMode,
  QCryptoHashAlgorithm,
  QCryptoIVGenAlgorithm,
} from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import type { LuksHeader } from './header.js';

export interface Algorithms {
  cipher: QCryptoCipherAlgorithm;
  mode: QCryptoCipherMode;
  vectors: QCryptoIVGenAlgorithm;
  /** Of `essiv`: the hash that makes the key of the vectors. Of other generators it says nothing, but stands in the header where it was asked for. */
  vectorHash?: QCryptoHashAlgorithm;
  /** Of the key derivation and of the stripes. */
  hash: QCryptoHashAlgorithm;
}

/** Ciphers that QEMU knows, by the name in a header, with the lengths of their keys in bytes. No library that Diskwright keeps has others than AES. */
const FAMILIES: Readonly<Record<string, readonly number[]>> = {
  aes: [16, 24, 32],
  cast5: [16],
  serpent: [16, 24, 32],
  twofish: [16, 24, 32],
};
const MODES: readonly QCryptoCipherMode[] = ['ecb', 'cbc', 'xts', 'ctr'];
const VECTORS: readonly QCryptoIVGenAlgorithm[] = ['plain', 'plain64', 'essiv'];
const HASHES = Object.keys(DIGEST_BYTES) as QCryptoHashAlgorithm[];

/** Bytes of the disk's key. */
export function keyBytesOf({ cipher, mode }: Pick<Algorithms, 'cipher' | 'mode'>): number {
  return aesKeyBytes(cipher) * (mode === 'xts' ? 2 : 1);
}

/** `aes-256`: 32. */
function aesKeyBytes(cipher: QCryptoCipherAlgorithm): number {
  const bits = /-(\d+)$/.exec(cipher)?.[1];
  return bits === undefined ? 0 : Number(bits) / 8;
}

/** What the header calls them. */
export function headerNames({
  cipher,
  mode,
  vectors,
  vectorHash,
  hash,
}: Algorithms): Pick<LuksHeader, 'cipherName' | 'cipherMode' | 'hashSpec'> {
  return {
    cipherName: cipher.replace(/-\d+$/, ''),
    cipherMode: `${mode}-${vectors}${vectorHash === undefined ? '' : `:${vectorHash}`}`,
    hashSpec: hash,
  };
}

/** What a header means. Throws `invalid-image` for names that nobody knows. */
export function algorithmsOf({ cipherName, cipherMode, hashSpec, keyBytes }: LuksHeader, path: string): Algorithms {
  const refuse = (message: string): never => {
    throw BlockError.at(path, 'invalid-image', message, { operation: 'open' });
  };
  const one = <T extends string>(known: readonly T[], text: string, what: string): T =>
    known.find((name) => name === text) ?? refuse(`${what} '${text}' is not recognized`);
  const [modeText, generator] = splitAt(cipherMode, '-');
  if (generator === undefined) return refuse(`Unexpected cipher mode string format '${cipherMode}'`);
  const [vectorsText, vectorHash] = splitAt(generator, ':');
  const mode = one(MODES, modeText, 'Cipher mode');
  const lengths = Object.hasOwn(FAMILIES, cipherName)
    ? FAMILIES[cipherName]
    : refuse(`Algorithm '${cipherName}' is not recognized`);
  const each = mode === 'xts' ? keyBytes / 2 : keyBytes;
  if (!lengths.includes(each)) refuse(`Algorithm '${cipherName}' with key size ${keyBytes} bytes is not recognized`);
  return {
    cipher: `${cipherName}-${each * 8}` as QCryptoCipherAlgorithm,
    mode,
    vectors: one(VECTORS, vectorsText, 'IV generator'),
    hash: one(HASHES, hashSpec, 'Hash algorithm'),
    ...(vectorHash !== undefined && { vectorHash: one(HASHES, vectorHash, 'Hash algorithm') }),
  };
}

/** `a-b-c` at the first `-`: `a`, `b-c`; without one, the second is undefined. */
function splitAt(text: string, mark: string): [string, string?] {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

/** Throws `unsupported` for what no library here has, `invalid-argument` for what does not fit together. */
export function checkAlgorithms({ cipher, vectors, vectorHash }: Algorithms, path: string, operation: string): void {
  const refuse = (code: 'unsupported' | 'invalid-argument', message: string): never => {
    throw BlockError.at(path, code, message, { operation });
  };
  if (!cipher.startsWith('aes-')) refuse('unsupported', `Algorithm '${cipher}' not supported`);
  if (vectors !== 'essiv') return;
  const vectorKeyBytes = vectorHash === undefined ? 0 : DIGEST_BYTES[vectorHash];
  if (vectorKeyBytes === 0) refuse('invalid-argument', 'Hash algorithm not specified for essiv');
  if (![16, 24, 32].includes(vectorKeyBytes)) {
    refuse('unsupported', `No AES cipher with key size ${vectorKeyBytes} available`);
  }
}

/** The cipher of a disk, or of a key slot. */
export function openCipher(ciphers: Ciphers, { mode, vectors, vectorHash }: Algorithms, key: Uint8Array): SectorCipher {
  const how = { mode, vectors: mode === 'ecb' ? ('none' as const) : vectors, key };
  if (how.vectors !== 'essiv') return ciphers.open(how);
  const vectorKey = digestOf(vectorHash!, key);
  try {
    return ciphers.open({ ...how, vectorKey });
  } finally {
    vectorKey.fill(0);
  }
}
