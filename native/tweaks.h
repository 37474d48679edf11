// The arithmetic of XTS without AES instructions (cipher.h): the tweaks of a sector's blocks, and what they are mixed with.
#pragma once

#include <cstddef>
#include <cstdint>

namespace diskwright {

/** Writes `in` mixed with `with` to `out`: `bytes`, a multiple of 8. */
void xorInto(uint8_t* out, const uint8_t* in, const uint8_t* with, size_t bytes);

/** Makes the tweaks of `sectors` sectors out of their vectors, and writes `in` mixed with them to `out`. */
void mixTweaks(const uint8_t* vectors, uint8_t* tweaks, const uint8_t* in, uint8_t* out, size_t sectors);

/** The processor has AVX2: the functions below may be called. */
bool hasAvx2();

/** As `xorInto`; `bytes` is a multiple of 32. */
void xorIntoAvx2(uint8_t* out, const uint8_t* in, const uint8_t* with, size_t bytes);

/** As `mixTweaks`. */
void mixTweaksAvx2(const uint8_t* vectors, uint8_t* tweaks, const uint8_t* in, uint8_t* out, size_t sectors);

}  // namespace diskwright
