#include "codecs.h"

#include <zlib.h>

#include <cerrno>

#include "stream_codecs.h"

#if defined(DISKWRIGHT_ZSTD)
#include <zstd.h>
#include <zstd_errors.h>
#endif

#if defined(DISKWRIGHT_LIBDEFLATE)
#include <libdeflate.h>
#endif

namespace diskwright {

namespace {

// qcow2's zlib clusters: raw deflate with a window of 4 KiB, as QEMU's documents say. Reading allows any window.
constexpr int kDeflateWindow = -12;
constexpr int kInflateWindow = -15;
constexpr int kMemLevel = 9;
#if defined(DISKWRIGHT_ZSTD)
// A frame that wants a window beyond 8 MiB (four times the largest cluster) is refused.
constexpr int kZstdWindowLogMax = 23;
#endif

struct Contexts {
  z_stream deflater{};
  int deflateLevel = -100;  // none made yet
  z_stream inflater{};
  bool inflaterReady = false;
#if defined(DISKWRIGHT_ZSTD)
  ZSTD_CCtx* zstdCompressor = nullptr;
  ZSTD_DCtx* zstdDecompressor = nullptr;
#endif
#if defined(DISKWRIGHT_LIBDEFLATE)
  libdeflate_decompressor* libdeflater = nullptr;
#endif

  ~Contexts() {
    if (deflateLevel != -100) deflateEnd(&deflater);
    if (inflaterReady) inflateEnd(&inflater);
#if defined(DISKWRIGHT_ZSTD)
    ZSTD_freeCCtx(zstdCompressor);
    ZSTD_freeDCtx(zstdDecompressor);
#endif
#if defined(DISKWRIGHT_LIBDEFLATE)
    if (libdeflater != nullptr) libdeflate_free_decompressor(libdeflater);
#endif
  }
};

thread_local Contexts contexts;

int64_t zlibCompress(int level, const uint8_t* in, size_t inLength, uint8_t* out, size_t outRoom) {
  Contexts& own = contexts;
  if (own.deflateLevel != level) {
    if (own.deflateLevel != -100) deflateEnd(&own.deflater);
    own.deflateLevel = -100;
    own.deflater = z_stream{};
    const int made = deflateInit2(&own.deflater, level, Z_DEFLATED, kDeflateWindow, kMemLevel, Z_DEFAULT_STRATEGY);
    if (made != Z_OK) return made == Z_MEM_ERROR ? -ENOMEM : -EINVAL;
    own.deflateLevel = level;
  } else {
    deflateReset(&own.deflater);
  }
  own.deflater.next_in = const_cast<uint8_t*>(in);
  own.deflater.avail_in = static_cast<uInt>(inLength);
  own.deflater.next_out = out;
  own.deflater.avail_out = static_cast<uInt>(outRoom);
  if (deflate(&own.deflater, Z_FINISH) != Z_STREAM_END) return 0;
  return static_cast<int64_t>(outRoom - own.deflater.avail_out);
}

int64_t zlibDecompress(const uint8_t* in, size_t inLength, uint8_t* out, size_t outLength) {
  Contexts& own = contexts;
#if defined(DISKWRIGHT_LIBDEFLATE)
  if (own.libdeflater == nullptr) own.libdeflater = libdeflate_alloc_decompressor();
  if (own.libdeflater != nullptr) {
    size_t used = 0;
    size_t made = 0;
    const libdeflate_result done =
        libdeflate_deflate_decompress_ex(own.libdeflater, in, inLength, out, outLength, &used, &made);
    if (done == LIBDEFLATE_SUCCESS && made == outLength) return 0;
    if (done == LIBDEFLATE_SUCCESS || done == LIBDEFLATE_SHORT_OUTPUT) return -EBADMSG;
  }
  // Only inflate can say whether the output was full before the stream went wrong or went on.
#endif
  if (!own.inflaterReady) {
    if (inflateInit2(&own.inflater, kInflateWindow) != Z_OK) return -ENOMEM;
    own.inflaterReady = true;
  } else {
    inflateReset2(&own.inflater, kInflateWindow);
  }
  own.inflater.next_in = const_cast<uint8_t*>(in);
  own.inflater.avail_in = static_cast<uInt>(inLength);
  own.inflater.next_out = out;
  own.inflater.avail_out = static_cast<uInt>(outLength);
  const int done = inflate(&own.inflater, Z_FINISH);
  const bool ended = done == Z_STREAM_END || done == Z_BUF_ERROR || done == Z_OK;
  return ended && own.inflater.avail_out == 0 ? 0 : -EBADMSG;
}

/** RFC 1950: what is decompressed fills the output exactly, and the checksum is right. */
int64_t zlibStreamDecompress(const uint8_t* in, size_t inLength, uint8_t* out, size_t outLength) {
#if defined(DISKWRIGHT_LIBDEFLATE)
  Contexts& own = contexts;
  if (own.libdeflater == nullptr) own.libdeflater = libdeflate_alloc_decompressor();
  if (own.libdeflater == nullptr) return -ENOMEM;
  size_t used = 0;
  // Without a place for the length, anything but the whole output is an error.
  const libdeflate_result done =
      libdeflate_zlib_decompress_ex(own.libdeflater, in, inLength, out, outLength, &used, nullptr);
  return done == LIBDEFLATE_SUCCESS ? 0 : -EBADMSG;
#else
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return -ENOMEM;
  stream.next_in = const_cast<uint8_t*>(in);
  stream.avail_in = static_cast<uInt>(inLength);
  stream.next_out = out;
  stream.avail_out = static_cast<uInt>(outLength);
  const int done = inflate(&stream, Z_FINISH);
  const bool isWhole = done == Z_STREAM_END && stream.avail_out == 0;
  inflateEnd(&stream);
  return isWhole ? 0 : -EBADMSG;
#endif
}

#if defined(DISKWRIGHT_ZSTD)
int64_t zstdCompress(int level, const uint8_t* in, size_t inLength, uint8_t* out, size_t outRoom) {
  Contexts& own = contexts;
  if (own.zstdCompressor == nullptr) own.zstdCompressor = ZSTD_createCCtx();
  if (own.zstdCompressor == nullptr) return -ENOMEM;
  const size_t made = ZSTD_compressCCtx(own.zstdCompressor, out, outRoom, in, inLength, level);
  if (!ZSTD_isError(made)) return static_cast<int64_t>(made);
  return ZSTD_getErrorCode(made) == ZSTD_error_dstSize_tooSmall ? 0 : -EIO;
}

int64_t zstdDecompress(const uint8_t* in, size_t inLength, uint8_t* out, size_t outLength) {
  Contexts& own = contexts;
  if (own.zstdDecompressor == nullptr) own.zstdDecompressor = ZSTD_createDCtx();
  if (own.zstdDecompressor == nullptr) return -ENOMEM;
  // The common case, a single whole frame, decodes straight into the output, without a window of its own.
  const size_t frame = ZSTD_findFrameCompressedSize(in, inLength);
  if (!ZSTD_isError(frame)) {
    const size_t made = ZSTD_decompressDCtx(own.zstdDecompressor, out, outLength, in, frame);
    if (!ZSTD_isError(made) && made == outLength) return 0;
  }
  // Several frames, or more in the frame than is wanted.
  ZSTD_DCtx_reset(own.zstdDecompressor, ZSTD_reset_session_and_parameters);
  ZSTD_DCtx_setParameter(own.zstdDecompressor, ZSTD_d_windowLogMax, kZstdWindowLogMax);
  ZSTD_inBuffer input{in, inLength, 0};
  ZSTD_outBuffer output{out, outLength, 0};
  while (output.pos < output.size) {
    const size_t inBefore = input.pos;
    const size_t outBefore = output.pos;
    const size_t hint = ZSTD_decompressStream(own.zstdDecompressor, &output, &input);
    if (ZSTD_isError(hint)) return -EBADMSG;
    if (input.pos == inBefore && output.pos == outBefore) return -EBADMSG;
  }
  return 0;
}

#else
int64_t zstdCompress(int, const uint8_t*, size_t, uint8_t*, size_t) { return -EOPNOTSUPP; }
int64_t zstdDecompress(const uint8_t*, size_t, uint8_t*, size_t) { return -EOPNOTSUPP; }
#endif

}  // namespace

int64_t compress(int32_t codec, int level, const uint8_t* in, size_t inLength, uint8_t* out, size_t outRoom) {
  return codec == kZstd ? zstdCompress(level, in, inLength, out, outRoom)
                        : zlibCompress(level, in, inLength, out, outRoom);
}

int64_t decompress(int32_t codec, const uint8_t* in, size_t inLength, uint8_t* out, size_t outLength) {
  if (outLength == 0) return 0;
  switch (codec) {
    case kZstd:
      return zstdDecompress(in, inLength, out, outLength);
    case kZlibStream:
      return zlibStreamDecompress(in, inLength, out, outLength);
    case kBzip2:
      return bzip2Decompress(in, inLength, out, outLength);
    case kXz:
      return xzDecompress(in, inLength, out, outLength);
    default:
      return zlibDecompress(in, inLength, out, outLength);
  }
}

std::string describeCodecs() {
  const std::string zlib = std::string("zlib ") + zlibVersion();
#if defined(DISKWRIGHT_LIBDEFLATE)
  const std::string deflate = std::string("libdeflate ") + LIBDEFLATE_VERSION_STRING + " (inflate), " + zlib + " (deflate)";
#else
  const std::string deflate = zlib + " (deflate, inflate)";
#endif
#if defined(DISKWRIGHT_ZSTD)
  return deflate + ", libzstd " + ZSTD_versionString();
#else
  return deflate + ", no zstd";
#endif
}

}  // namespace diskwright
