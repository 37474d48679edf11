// Compression and decompression of whole buffers. Contexts belong to a thread and are used again.
// Both sides' memory is bounded: output never grows past its room, and a frame's window is limited.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace diskwright {

/** The first two compress, too; the others decompress whole streams alone (stream_codecs.h). */
enum Codec : int32_t { kZlib = 0, kZstd = 1, kZlibStream = 2, kBzip2 = 3, kXz = 4 };

/** Length of what was written, 0 where it does not fit, or -errno (-EOPNOTSUPP for a codec that this build does not have). */
int64_t compress(int32_t codec, int level, const uint8_t* in, size_t inLength, uint8_t* out, size_t outRoom);
/**
 * 0 when all of `out` was filled, -EBADMSG where the input is broken or too short, -EOPNOTSUPP for a codec that is not here. Trailing input is ignored.
 */
int64_t decompress(int32_t codec, const uint8_t* in, size_t inLength, uint8_t* out, size_t outLength);
/** What is in use, for people. */
std::string describeCodecs();

}  // namespace diskwright
