// Compression and decompression of whole buffers. Contexts belong to a thread and are used again.
// Both sides' memory is bounded: output never grows past its room, and a frame's window is limited.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace diskwright {

enum Codec : int32_t { kZlib = 0, kZstd = 1 };

/** Length of what was written, 0 where it does not fit, or -errno (-EOPNOTSUPP for a codec that this build does not have). */
int64_t compress(int32_t codec, int level, const uint8_t* in, size_t inLength, uint8_t* out, size_t outRoom);
/** 0 when all of `out` was filled, -EBADMSG where the input is broken or too short. Trailing input is ignored. */
int64_t decompress(int32_t codec, const uint8_t* in, size_t inLength, uint8_t* out, size_t outLength);
/** What is in use, for people. */
std::string describeCodecs();

}  // namespace diskwright
