// The splitter that a key goes through before it is written to a slot (specification: "AF-Splitter"): it becomes many stripes, and whoever lacks one
// byte of them has nothing. To erase a key it is enough to overwrite a part.
//
//   stripe 0   stripe 1  ...  stripe n-2   stripe n-1
//   random     random         random       key ^ d        d = diffuse(... diffuse(diffuse(s0) ^ s1) ... ^ s(n-2))

import { DIGEST_BYTES, digestOf, type HashName } from '../../../host/cipher.js';

/** Replaces each piece of `block`, as long as a digest, by the digest of its number and the piece. */
function diffuse(block: Uint8Array, hash: HashName): void {
  const step = DIGEST_BYTES[hash];
  for (let at = 0, index = 0; at < block.length; at += step, index++) {
    const length = Math.min(step, block.length - at);
    const input = Buffer.alloc(4 + length);
    input.writeUInt32BE(index);
    input.set(block.subarray(at, at + length), 4);
    const digest = digestOf(hash, input);
    block.set(digest.subarray(0, length), at);
    digest.fill(0);
    input.fill(0);
  }
}

function mix(block: Uint8Array, stripe: Uint8Array): void {
  for (let i = 0; i < block.length; i++) block[i] ^= stripe[i];
}

/** What all stripes but the last become, into `block`, which is zeroed first. */
function condense(stripes: Uint8Array, block: Uint8Array, hash: HashName): void {
  block.fill(0);
  for (let at = 0; at + block.length < stripes.length; at += block.length) {
    mix(block, stripes.subarray(at, at + block.length));
    diffuse(block, hash);
  }
}

/** Splits `key` into `stripes`, whose length is a multiple of the key's, and which hold random bytes: only the last stripe is changed. */
export function split(key: Uint8Array, stripes: Uint8Array, hash: HashName): void {
  const last = stripes.subarray(stripes.length - key.length);
  condense(stripes, last, hash);
  mix(last, key);
}

/** Makes `key` of `stripes`. */
export function merge(stripes: Uint8Array, key: Uint8Array, hash: HashName): void {
  condense(stripes, key, hash);
  mix(key, stripes.subarray(stripes.length - key.length));
}
