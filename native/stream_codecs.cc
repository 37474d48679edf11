#include "stream_codecs.h"

#include <uv.h>

#include <cerrno>
#include <initializer_list>

namespace diskwright {

namespace {

// The libraries are loaded at their first use, and stay. Their functions are declared here, as their headers have them, so that an addon that was built where
// they are not uses them where they are. Their interfaces go with the numbers in the files' names.

using Bzip2Decode = int (*)(char* out, unsigned int* outLength, char* in, unsigned int inLength, int isSmall,
                            int verbosity);
constexpr int kBzip2Ok = 0;
constexpr int kBzip2MemoryError = -3;

using XzDecode = int (*)(uint64_t* memoryLimit, uint32_t flags, const void* allocator, const uint8_t* in, size_t* inAt,
                         size_t inLength, uint8_t* out, size_t* outAt, size_t outLength);
constexpr int kXzOk = 0;
constexpr int kXzMemoryError = 5;
// What a decoder may take: a dictionary of 64 MiB, the largest of xz's presets, and a little more.
constexpr uint64_t kXzMemoryBytes = 80ull << 20;

/** The function `symbol` of the first library that is here; nullptr where none is. */
void* load(std::initializer_list<const char*> names, const char* symbol) {
  for (const char* name : names) {
    // Never closed: a decoder may run on any thread until the process ends.
    auto* library = new uv_lib_t;
    void* found = nullptr;
    if (uv_dlopen(name, library) == 0 && uv_dlsym(library, symbol, &found) == 0) return found;
    uv_dlclose(library);
    delete library;
  }
  return nullptr;
}

}  // namespace

int64_t bzip2Decompress(const uint8_t* in, size_t inLength, uint8_t* out, size_t outLength) {
  // Debian's name, and Fedora's.
  static const auto decode =
      reinterpret_cast<Bzip2Decode>(load({"libbz2.so.1.0", "libbz2.so.1"}, "BZ2_bzBuffToBuffDecompress"));
  if (decode == nullptr) return -EOPNOTSUPP;
  auto made = static_cast<unsigned int>(outLength);
  auto* from = reinterpret_cast<char*>(const_cast<uint8_t*>(in));
  const int done =
      decode(reinterpret_cast<char*>(out), &made, from, static_cast<unsigned int>(inLength), 0, 0);
  if (done == kBzip2MemoryError) return -ENOMEM;
  return done == kBzip2Ok && made == outLength ? 0 : -EBADMSG;
}

int64_t xzDecompress(const uint8_t* in, size_t inLength, uint8_t* out, size_t outLength) {
  static const auto decode = reinterpret_cast<XzDecode>(load({"liblzma.so.5"}, "lzma_stream_buffer_decode"));
  if (decode == nullptr) return -EOPNOTSUPP;
  uint64_t memory = kXzMemoryBytes;
  size_t used = 0;
  size_t made = 0;
  const int done = decode(&memory, 0, nullptr, in, &used, inLength, out, &made, outLength);
  if (done == kXzMemoryError) return -ENOMEM;
  return done == kXzOk && made == outLength ? 0 : -EBADMSG;
}

}  // namespace diskwright
