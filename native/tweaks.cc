#include "tweaks.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstring>

#include "aes.h"
#include "cipher.h"

namespace diskwright {

namespace {

constexpr size_t kBlock = kAesBlock;

// A tweak is a number of 128 bits, little endian, in a field where x^128 is x^7 + x^2 + x + 1.
#if defined(__x86_64__)
using Tweak = __m128i;
inline Tweak loadTweak(const uint8_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); }
inline void storeTweak(uint8_t* to, Tweak t) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), t); }
inline Tweak mixed(Tweak a, Tweak b) { return _mm_xor_si128(a, b); }
inline Tweak timesX(Tweak t) {
  // The sign of each half goes to the other one: bit 63 becomes bit 64, bit 127 the polynomial.
  const __m128i carries = _mm_and_si128(_mm_srai_epi32(_mm_shuffle_epi32(t, 0x13), 31), _mm_set_epi32(0, 1, 0, 0x87));
  return _mm_xor_si128(_mm_add_epi64(t, t), carries);
}
#else
struct Tweak {
  uint64_t low;
  uint64_t high;
};
inline Tweak loadTweak(const uint8_t* from) {
  Tweak t;
  std::memcpy(&t, from, sizeof t);
  return t;
}
inline void storeTweak(uint8_t* to, Tweak t) { std::memcpy(to, &t, sizeof t); }
inline Tweak mixed(Tweak a, Tweak b) { return Tweak{a.low ^ b.low, a.high ^ b.high}; }
inline Tweak timesX(Tweak t) {
  const uint64_t carry = static_cast<uint64_t>(static_cast<int64_t>(t.high) >> 63) & 0x87;
  return Tweak{(t.low << 1) ^ carry, (t.high << 1) | (t.low >> 63)};
}
#endif

}  // namespace

void xorInto(uint8_t* out, const uint8_t* in, const uint8_t* with, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 8) {
    uint64_t a;
    uint64_t b;
    std::memcpy(&a, in + i, 8);
    std::memcpy(&b, with + i, 8);
    a ^= b;
    std::memcpy(out + i, &a, 8);
  }
}

namespace {

/** Makes the tweaks of `kCount` sectors, and mixes them with `in`. Several sectors at a time, since each tweak waits for the one before it. */
template <size_t kCount>
inline void mixIn(const uint8_t* vectors, uint8_t* tweaks, const uint8_t* in, uint8_t* out, size_t first) {
  Tweak tweak[kCount];
  for (size_t i = 0; i < kCount; i++) tweak[i] = loadTweak(vectors + (first + i) * kBlock);
  const size_t start = first * kCipherSectorBytes;
  for (size_t block = start; block < start + kCipherSectorBytes; block += kBlock) {
    for (size_t i = 0; i < kCount; i++) {
      const size_t at = block + i * kCipherSectorBytes;
      storeTweak(tweaks + at, tweak[i]);
      storeTweak(out + at, mixed(loadTweak(in + at), tweak[i]));
      tweak[i] = timesX(tweak[i]);
    }
  }
}

}  // namespace

void mixTweaks(const uint8_t* vectors, uint8_t* tweaks, const uint8_t* in, uint8_t* out, size_t sectors) {
  size_t done = 0;
  for (; done + 4 <= sectors; done += 4) mixIn<4>(vectors, tweaks, in, out, done);
  for (; done < sectors; done++) mixIn<1>(vectors, tweaks, in, out, done);
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2")))

namespace {

AVX2 inline __m256i timesX(__m256i t) {
  const __m256i polynomial = _mm256_set_epi32(0, 1, 0, 0x87, 0, 1, 0, 0x87);
  const __m256i carries = _mm256_and_si256(_mm256_srai_epi32(_mm256_shuffle_epi32(t, 0x13), 31), polynomial);
  return _mm256_xor_si256(_mm256_add_epi64(t, t), carries);
}

/** As `mixIn`, two blocks of each sector at a time: the tweak of the second one is that of the first, times x. */
template <size_t kCount>
AVX2 inline void mixInAvx2(const uint8_t* vectors, uint8_t* tweaks, const uint8_t* in, uint8_t* out, size_t first) {
  __m256i tweak[kCount];
  for (size_t i = 0; i < kCount; i++) {
    const Tweak even = loadTweak(vectors + (first + i) * kBlock);
    tweak[i] = _mm256_set_m128i(timesX(even), even);
  }
  const size_t start = first * kCipherSectorBytes;
  for (size_t block = start; block < start + kCipherSectorBytes; block += 2 * kBlock) {
    for (size_t i = 0; i < kCount; i++) {
      const size_t at = block + i * kCipherSectorBytes;
      const __m256i plain = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + at));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(tweaks + at), tweak[i]);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + at), _mm256_xor_si256(plain, tweak[i]));
      tweak[i] = timesX(timesX(tweak[i]));
    }
  }
}

}  // namespace

AVX2 void mixTweaksAvx2(const uint8_t* vectors, uint8_t* tweaks, const uint8_t* in, uint8_t* out, size_t sectors) {
  size_t done = 0;
  for (; done + 4 <= sectors; done += 4) mixInAvx2<4>(vectors, tweaks, in, out, done);
  for (; done < sectors; done++) mixInAvx2<1>(vectors, tweaks, in, out, done);
}

AVX2 void xorIntoAvx2(uint8_t* out, const uint8_t* in, const uint8_t* with, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 32) {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + at));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(with + at));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + at), _mm256_xor_si256(a, b));
  }
}

#undef AVX2

bool hasAvx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2");
}
#else
void mixTweaksAvx2(const uint8_t* vectors, uint8_t* tweaks, const uint8_t* in, uint8_t* out, size_t sectors) {
  mixTweaks(vectors, tweaks, in, out, sectors);
}
void xorIntoAvx2(uint8_t* out, const uint8_t* in, const uint8_t* with, size_t bytes) { xorInto(out, in, with, bytes); }
bool hasAvx2() { return false; }
#endif

}  // namespace diskwright
