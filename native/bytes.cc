#include "bytes.h"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace diskwright {

namespace {

uint64_t word(const uint8_t* at) {
  uint64_t value;
  std::memcpy(&value, at, 8);
  return value;
}

bool tailIsZero(const uint8_t* data, size_t length) {
  while (length >= 8) {
    if (word(data) != 0) return false;
    data += 8;
    length -= 8;
  }
  while (length > 0) {
    if (*data++ != 0) return false;
    length--;
  }
  return true;
}

[[maybe_unused]] bool isZeroPortable(const uint8_t* data, size_t length) {
  while (length >= 64) {
    uint64_t any = 0;
    for (int i = 0; i < 8; i++) any |= word(data + 8 * i);
    if (any != 0) return false;
    data += 64;
    length -= 64;
  }
  return tailIsZero(data, length);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) bool isZeroAvx2(const uint8_t* data, size_t length) {
  while (length >= 128) {
    const auto* at = reinterpret_cast<const __m256i*>(data);
    const __m256i low = _mm256_or_si256(_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1));
    const __m256i high = _mm256_or_si256(_mm256_loadu_si256(at + 2), _mm256_loadu_si256(at + 3));
    const __m256i any = _mm256_or_si256(low, high);
    if (!_mm256_testz_si256(any, any)) return false;
    data += 128;
    length -= 128;
  }
  return tailIsZero(data, length);
}

bool isZeroSse2(const uint8_t* data, size_t length) {
  const __m128i zero = _mm_setzero_si128();
  while (length >= 64) {
    const auto* at = reinterpret_cast<const __m128i*>(data);
    const __m128i low = _mm_or_si128(_mm_loadu_si128(at), _mm_loadu_si128(at + 1));
    const __m128i high = _mm_or_si128(_mm_loadu_si128(at + 2), _mm_loadu_si128(at + 3));
    if (_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_or_si128(low, high), zero)) != 0xffff) return false;
    data += 64;
    length -= 64;
  }
  return tailIsZero(data, length);
}
#endif

using ZeroTest = bool (*)(const uint8_t*, size_t);

ZeroTest chooseZeroTest() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") ? isZeroAvx2 : isZeroSse2;
#else
  return isZeroPortable;
#endif
}

const ZeroTest zeroTest = chooseZeroTest();

}  // namespace

bool isZero(const uint8_t* data, size_t length) {
  // Most data that is not zero shows it in the first or the last word.
  if (length >= 16 && (word(data) | word(data + length - 8)) != 0) return false;
  return zeroTest(data, length);
}

size_t zeroMap(const uint8_t* data, size_t length, size_t granule, uint8_t* map) {
  size_t count = 0;
  for (size_t at = 0; at < length; at += granule) {
    const size_t step = length - at < granule ? length - at : granule;
    map[count++] = isZero(data + at, step) ? 1 : 0;
  }
  return count;
}

int64_t firstDifference(const uint8_t* a, const uint8_t* b, size_t length) {
  constexpr size_t kBlock = 4096;
  size_t at = 0;
  while (length - at >= kBlock && std::memcmp(a + at, b + at, kBlock) == 0) at += kBlock;
  for (; length - at >= 8; at += 8) {
    if (word(a + at) != word(b + at)) break;
  }
  for (; at < length; at++) {
    if (a[at] != b[at]) return static_cast<int64_t>(at);
  }
  return -1;
}

const char* zeroTestName() {
#if defined(__x86_64__)
  return zeroTest == isZeroAvx2 ? "avx2" : "sse2";
#else
  return "portable";
#endif
}

}  // namespace diskwright
