// Decompression of whole streams by libraries of the system, as archives and images of other programs have them: what is decompressed fills the output exactly, and the stream's own
// checksum is verified. Each returns 0, -EBADMSG where the stream is broken, holds less or more, -ENOMEM, or -EOPNOTSUPP where its library is not here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace diskwright {

/** By the system's libbz2. */
int64_t bzip2Decompress(const uint8_t* in, size_t inLength, uint8_t* out, size_t outLength);
/** A container of xz, by the system's liblzma; one that wants a dictionary beyond 64 MiB is refused as broken. */
int64_t xzDecompress(const uint8_t* in, size_t inLength, uint8_t* out, size_t outLength);

}  // namespace diskwright
