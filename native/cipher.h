// Ciphers of whole disks: AES over sectors of 512 bytes, each with an initialization vector that follows from its number. XTS is our own where the processor
// has AES instructions (aes.h). The rest is node's own OpenSSL, whose symbols an addon finds in the process; where node was built without it, there are no
// ciphers (`hasCiphers`).
//
//   key, key of the vectors --openCipher--> number --runCipher, on any thread--> sectors
//                             memory that is locked, not dumped, and zeroed when the cipher is closed
//
// Without AES instructions, XTS is made of OpenSSL's ECB: one call encrypts the vectors of many sectors, another one all their blocks, so that a sector of 512
// bytes costs no more than its blocks do. (OpenSSL's own XTS wants a call for each vector, and has no AES-192.)
//
//   tweaks   T0 = E(key 2, vector), T1 = T0 * x, T2 = T1 * x, ...          a field of 2^128, little endian
//   blocks   C = E(key 1, P ^ T) ^ T
#pragma once

#include <cstddef>
#include <cstdint>

namespace diskwright {

constexpr uint64_t kCipherSectorBytes = 512;

/** How XTS is done: by OpenSSL's ECB, with the tweaks made by what every processor of the kind has, or by AVX2; by `AesUnit`. Each gives the same bytes. */
enum class CipherPath : int32_t { kOpenssl = 0, kOpensslAvx2 = 1, kAesNi = 2, kVaes = 3 };
enum class CipherMode : int32_t { kEcb = 0, kCbc = 1, kXts = 2, kCtr = 3 };
/** How a sector's number becomes its vector: not at all; its low 32 bits; all of it; all of it, encrypted with a key of its own. */
enum class IvMaker : int32_t { kNone = 0, kPlain = 1, kPlain64 = 2, kEssiv = 3 };
/** Hashes of the key derivation. */
enum class Hash : int32_t { kSha1 = 0, kSha224 = 1, kSha256 = 2, kSha384 = 3, kSha512 = 4, kRipemd160 = 5, kMd5 = 6 };

bool hasCiphers();
/** This processor has the path. */
bool hasCipherPath(CipherPath path);
CipherPath bestCipherPath();

/**
 * Takes a copy of the keys. `key`: of AES, twice as long for XTS; `ivKey`: of kEssiv, else empty. A number above 0, or -errno: -EINVAL for a length that
 * AES does not have, -EOPNOTSUPP where there are no ciphers, or no such path.
 */
int openCipher(CipherMode mode, IvMaker ivs, const uint8_t* key, size_t keyBytes, const uint8_t* ivKey, size_t ivKeyBytes, CipherPath path);
/** Zeroes the keys once nobody uses them any more. */
void closeCipher(int number);
/**
 * Encrypts or decrypts `bytes`, whole sectors, the first of which has the number `sector`. `in` and `out` may be the same; otherwise they must not
 * overlap. 0, or -errno.
 */
int runCipher(int number, bool encrypts, uint64_t sector, const uint8_t* in, uint8_t* out, uint64_t bytes);

/** PBKDF2 with HMAC. The time of the processor that it took, in nanoseconds, or -errno (-EOPNOTSUPP for a hash that OpenSSL does not have). */
int64_t deriveKey(Hash hash, const uint8_t* password, size_t passwordBytes, const uint8_t* salt, size_t saltBytes, uint64_t iterations, uint8_t* key,
                  size_t keyBytes);

/** Keeps whole pages out of swap and of core dumps, where the system allows that; `keep` false ends it. */
void keepPrivate(uint8_t* data, size_t bytes, bool keep);
/** Zeroes memory; no compiler leaves it out. */
void wipe(void* data, size_t bytes);

}  // namespace diskwright
