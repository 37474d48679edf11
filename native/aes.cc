#include "aes.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#include <cstring>

#include "cipher.h"

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns of its own intrinsics of AVX-512, which leave operands unset on purpose.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

// The addon is compiled for any x86-64 processor; what needs more says so, and is called where the processor has it.
#define AESNI __attribute__((target("aes")))
#define AESNI_INLINE __attribute__((target("aes"), always_inline)) inline
#define VAES __attribute__((target("aes,vaes,vpclmulqdq,avx512f,avx512bw")))
#define VAES_INLINE __attribute__((target("aes,vaes,vpclmulqdq,avx512f,avx512bw"), always_inline)) inline
#endif

namespace diskwright {

#if defined(__x86_64__)

namespace {

/** Blocks that are under way at the same time: a round has to wait for the one before it, which takes several cycles. */
constexpr size_t kAtOnce = 8;
/** The field's polynomial is x^128 + x^7 + x^2 + x + 1. */
constexpr int kPolynomial = 0x87;

AESNI_INLINE __m128i load(const uint8_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); }
AESNI_INLINE void store(uint8_t* to, __m128i block) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), block); }

/** A tweak times x; tweaks are numbers of 128 bits, little endian. */
AESNI_INLINE __m128i timesX(__m128i t) {
  // The sign of each half goes to the other one: bit 63 becomes bit 64, bit 127 the polynomial.
  const __m128i carries = _mm_and_si128(_mm_srai_epi32(_mm_shuffle_epi32(t, 0x13), 31), _mm_set_epi32(0, 1, 0, kPolynomial));
  return _mm_xor_si128(_mm_add_epi64(t, t), carries);
}

AESNI uint32_t substituted(uint32_t word) {
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_aeskeygenassist_si128(_mm_set1_epi32(static_cast<int>(word)), 0)));
}

template <bool kEncrypts>
AESNI_INLINE void xtsSector(const uint8_t (*keys)[kAesBlock], size_t rounds, __m128i tweak, const uint8_t* in, uint8_t* out) {
  for (size_t at = 0; at < kCipherSectorBytes; at += kAtOnce * kAesBlock) {
    __m128i blocks[kAtOnce];
    __m128i tweaks[kAtOnce];
    const __m128i first = load(keys[0]);
    for (size_t i = 0; i < kAtOnce; i++) {
      tweaks[i] = tweak;
      blocks[i] = _mm_xor_si128(_mm_xor_si128(load(in + at + i * kAesBlock), first), tweak);
      tweak = timesX(tweak);
    }
    for (size_t round = 1; round < rounds; round++) {
      const __m128i key = load(keys[round]);
      for (size_t i = 0; i < kAtOnce; i++) blocks[i] = kEncrypts ? _mm_aesenc_si128(blocks[i], key) : _mm_aesdec_si128(blocks[i], key);
    }
    const __m128i last = load(keys[rounds]);
    for (size_t i = 0; i < kAtOnce; i++) {
      const __m128i key = _mm_xor_si128(last, tweaks[i]);
      store(out + at + i * kAesBlock, kEncrypts ? _mm_aesenclast_si128(blocks[i], key) : _mm_aesdeclast_si128(blocks[i], key));
    }
  }
}

template <bool kEncrypts>
AESNI void xtsAesNi(const AesKeys& keys, const uint8_t* tweaks, const uint8_t* in, uint8_t* out, size_t sectors) {
  for (size_t i = 0; i < sectors; i++) {
    const size_t at = i * kCipherSectorBytes;
    xtsSector<kEncrypts>(kEncrypts ? keys.encrypts : keys.decrypts, keys.rounds, load(tweaks + i * kAesBlock), in + at, out + at);
  }
}

/** Each tweak times x to the power in its halves, at most 7. */
VAES_INLINE __m512i timesPowers(__m512i t, __m512i powers) {
  const __m512i carries = _mm512_srlv_epi64(t, _mm512_sub_epi64(_mm512_set1_epi64(64), powers));
  const __m512i shifted = _mm512_xor_si512(_mm512_sllv_epi64(t, powers), _mm512_bslli_epi128(carries, 8));
  return _mm512_xor_si512(shifted, _mm512_clmulepi64_epi128(carries, _mm512_set1_epi64(kPolynomial), 0x01));
}

/** Each tweak times x^8: all bytes move on by one, and what leaves at the top comes back as the polynomial. */
VAES_INLINE __m512i timesX8(__m512i t) {
  const __m512i carries = _mm512_clmulepi64_epi128(_mm512_bsrli_epi128(t, 15), _mm512_set1_epi64(kPolynomial), 0x00);
  return _mm512_xor_si512(_mm512_bslli_epi128(t, 1), carries);
}

/** The 32 blocks of a sector are eight registers of four. */
template <bool kEncrypts>
VAES_INLINE void xtsSectorVaes(const uint8_t (*keys)[kAesBlock], size_t rounds, __m128i tweak, const uint8_t* in, uint8_t* out) {
  constexpr size_t kRegister = 4 * kAesBlock;
  static_assert(kAtOnce * kRegister == kCipherSectorBytes);
  __m512i blocks[kAtOnce];
  __m512i tweaks[kAtOnce];
  const __m512i same = _mm512_broadcast_i32x4(tweak);
  tweaks[0] = timesPowers(same, _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0));
  tweaks[1] = timesPowers(same, _mm512_set_epi64(7, 7, 6, 6, 5, 5, 4, 4));
  for (size_t i = 2; i < kAtOnce; i++) tweaks[i] = timesX8(tweaks[i - 2]);
  const __m512i first = _mm512_broadcast_i32x4(load(keys[0]));
  for (size_t i = 0; i < kAtOnce; i++) {
    blocks[i] = _mm512_xor_si512(_mm512_xor_si512(_mm512_loadu_si512(in + i * kRegister), first), tweaks[i]);
  }
  for (size_t round = 1; round < rounds; round++) {
    const __m512i key = _mm512_broadcast_i32x4(load(keys[round]));
    for (size_t i = 0; i < kAtOnce; i++) blocks[i] = kEncrypts ? _mm512_aesenc_epi128(blocks[i], key) : _mm512_aesdec_epi128(blocks[i], key);
  }
  const __m512i last = _mm512_broadcast_i32x4(load(keys[rounds]));
  for (size_t i = 0; i < kAtOnce; i++) {
    const __m512i key = _mm512_xor_si512(last, tweaks[i]);
    const __m512i made = kEncrypts ? _mm512_aesenclast_epi128(blocks[i], key) : _mm512_aesdeclast_epi128(blocks[i], key);
    _mm512_storeu_si512(out + i * kRegister, made);
  }
}

template <bool kEncrypts>
VAES void xtsVaes(const AesKeys& keys, const uint8_t* tweaks, const uint8_t* in, uint8_t* out, size_t sectors) {
  for (size_t i = 0; i < sectors; i++) {
    const size_t at = i * kCipherSectorBytes;
    xtsSectorVaes<kEncrypts>(kEncrypts ? keys.encrypts : keys.decrypts, keys.rounds, load(tweaks + i * kAesBlock), in + at, out + at);
  }
}

/** VAES and VPCLMULQDQ, by CPUID: compilers learned these names later than what they stand for. */
bool hasVaes() {
  constexpr unsigned kVaesBit = 1u << 9;
  constexpr unsigned kVpclmulqdqBit = 1u << 10;
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  return (c & kVaesBit) != 0 && (c & kVpclmulqdqBit) != 0;
}

}  // namespace

AesUnit bestAesUnit() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("aes")) return AesUnit::kNone;
  // The compiler's test of AVX-512 asks whether the system keeps its registers, too.
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && hasVaes()) return AesUnit::kVaes;
  return AesUnit::kAesNi;
}

AESNI void expandKey(const uint8_t* key, size_t keyBytes, AesKeys& keys) {
  constexpr size_t kWord = 4;
  const size_t words = keyBytes / kWord;
  keys.rounds = words + 6;
  uint8_t* const made = keys.encrypts[0];
  std::memcpy(made, key, keyBytes);
  uint32_t constant = 1;
  for (size_t i = words; i < (keys.rounds + 1) * kAesBlock / kWord; i++) {
    uint32_t word;
    uint32_t earlier;
    std::memcpy(&word, made + (i - 1) * kWord, kWord);
    std::memcpy(&earlier, made + (i - words) * kWord, kWord);
    if (i % words == 0) {
      word = substituted(word >> 8 | word << 24) ^ constant;
      constant = constant == 0x80 ? 0x1b : constant << 1;
    } else if (words == 8 && i % words == 4) {
      word = substituted(word);
    }
    word ^= earlier;
    std::memcpy(made + i * kWord, &word, kWord);
  }
  for (size_t round = 0; round <= keys.rounds; round++) {
    const __m128i from = load(keys.encrypts[keys.rounds - round]);
    store(keys.decrypts[round], round == 0 || round == keys.rounds ? from : _mm_aesimc_si128(from));
  }
}

AESNI void encryptBlocks(const AesKeys& keys, uint8_t* blocks, size_t count) {
  for (size_t done = 0; done < count; done += kAtOnce) {
    const size_t here = count - done < kAtOnce ? count - done : kAtOnce;
    uint8_t* const from = blocks + done * kAesBlock;
    __m128i state[kAtOnce] = {};
    for (size_t i = 0; i < here; i++) state[i] = load(from + i * kAesBlock);
    for (size_t i = 0; i < kAtOnce; i++) state[i] = _mm_xor_si128(state[i], load(keys.encrypts[0]));
    for (size_t round = 1; round < keys.rounds; round++) {
      const __m128i key = load(keys.encrypts[round]);
      for (size_t i = 0; i < kAtOnce; i++) state[i] = _mm_aesenc_si128(state[i], key);
    }
    for (size_t i = 0; i < kAtOnce; i++) state[i] = _mm_aesenclast_si128(state[i], load(keys.encrypts[keys.rounds]));
    for (size_t i = 0; i < here; i++) store(from + i * kAesBlock, state[i]);
  }
}

void cryptXts(AesUnit unit, const AesKeys& keys, bool encrypts, const uint8_t* tweaks, const uint8_t* in, uint8_t* out, size_t sectors) {
  if (unit == AesUnit::kVaes) return encrypts ? xtsVaes<true>(keys, tweaks, in, out, sectors) : xtsVaes<false>(keys, tweaks, in, out, sectors);
  return encrypts ? xtsAesNi<true>(keys, tweaks, in, out, sectors) : xtsAesNi<false>(keys, tweaks, in, out, sectors);
}

#else

AesUnit bestAesUnit() { return AesUnit::kNone; }
// Nobody calls these without a unit.
void expandKey(const uint8_t*, size_t, AesKeys&) {}
void encryptBlocks(const AesKeys&, uint8_t*, size_t) {}
void cryptXts(AesUnit, const AesKeys&, bool, const uint8_t*, const uint8_t*, uint8_t*, size_t) {}

#endif

}  // namespace diskwright
