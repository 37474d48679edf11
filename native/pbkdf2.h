// PBKDF2 with HMAC, for hashes whose compression function OpenSSL exports. Each iteration is two calls of it, from states that have taken the password in already:
// that is twice as fast as OpenSSL's own PBKDF2, which copies contexts, and so an image costs whoever opens it half the time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace diskwright {

/**
 * `hash`: a number of `Hash` (cipher.h). False, and nothing was done, for another hash, a password that is longer than a block, a salt that does not fit into
 * one, or where the functions are missing.
 */
bool fastPbkdf2(int32_t hash, const uint8_t* password, size_t passwordBytes, const uint8_t* salt, size_t saltBytes, uint64_t iterations, uint8_t* key,
                size_t keyBytes);

}  // namespace diskwright
