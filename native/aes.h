// AES by the instructions of x86-64 processors, and XTS with it in one pass: a block is read, mixed with its tweak, encrypted, mixed again and written while it
// stays in registers. Other processors have none of this (`AesUnit::kNone`), and take OpenSSL's (cipher.cc).
//
//   key --expandKey--> AesKeys --encryptBlocks--> tweaks of sectors --cryptXts--> sectors
//
// All of it takes a time that depends on lengths alone: there are no tables and no branches on content.
#pragma once

#include <cstddef>
#include <cstdint>

namespace diskwright {

constexpr size_t kAesBlock = 16;
/** Of AES-256; shorter keys have fewer. */
constexpr size_t kMaxRounds = 14;

/** What a processor has: nothing; AES-NI, for one block each; VAES with AVX-512, for four. */
enum class AesUnit : int32_t { kNone = 0, kAesNi = 1, kVaes = 2 };

/** The round keys of one AES key. Whoever owns the memory keeps it private, and zeroes it. */
struct alignas(kAesBlock) AesKeys {
  uint8_t encrypts[kMaxRounds + 1][kAesBlock];
  /** In the order of decryption, for the equivalent inverse cipher (FIPS 197, 5.3.5). */
  uint8_t decrypts[kMaxRounds + 1][kAesBlock];
  size_t rounds;
};

/** The best that this processor has. */
AesUnit bestAesUnit();

/** The calls below are for units from kAesNi on. `key`: 16, 24 or 32 bytes. */
void expandKey(const uint8_t* key, size_t keyBytes, AesKeys& keys);

/** Encrypts `count` blocks in place, each by itself (ECB). */
void encryptBlocks(const AesKeys& keys, uint8_t* blocks, size_t count);

/**
 * XTS of `sectors` sectors of 512 bytes. `tweaks`: the first one of each sector, encrypted. `in` and `out` may be the same; otherwise they must not overlap.
 * None needs to be aligned.
 */
void cryptXts(AesUnit unit, const AesKeys& keys, bool encrypts, const uint8_t* tweaks, const uint8_t* in, uint8_t* out, size_t sectors);

}  // namespace diskwright
