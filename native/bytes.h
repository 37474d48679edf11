// Tests of memory: all zero, zero by granule, first difference. Vector code where the processor has it (chosen
// once, at load), plain words elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>

namespace diskwright {

bool isZero(const uint8_t* data, size_t length);
/** map[i] = 1 where granule i holds zeroes only. Returns the number of granules (the last may be shorter). */
size_t zeroMap(const uint8_t* data, size_t length, size_t granule, uint8_t* map);
/** Index of the first difference, -1 if equal. */
int64_t firstDifference(const uint8_t* a, const uint8_t* b, size_t length);
/** Which code `isZero` runs: `avx2`, `sse2`, `portable`. */
const char* zeroTestName();

}  // namespace diskwright
