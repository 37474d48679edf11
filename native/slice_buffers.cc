#include "slice_buffers.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <mutex>
#include <vector>

namespace diskwright {

namespace {

/** Sizes are powers of two, from this one on, so that most buffers serve all. */
constexpr uint64_t kSmallBytes = uint64_t{256} << 10;
constexpr uint64_t kKeptBytes = uint64_t{16} << 20;

struct Kept {
  uint8_t* data;
  uint64_t bytes;
};

struct Shelf {
  std::mutex mutex;
  std::vector<Kept> kept;
  uint64_t bytes = 0;
};

/** Never destroyed: workers may still be there when the process ends. */
Shelf& shelf() {
  static auto& only = *new Shelf;
  return only;
}

uint64_t sizeOf(uint64_t bytes) { return std::bit_ceil(std::max(bytes, kSmallBytes)); }

}  // namespace

uint8_t* SliceBuffers::take(uint64_t bytes) {
  const uint64_t size = sizeOf(bytes);
  {
    Shelf& s = shelf();
    const std::lock_guard<std::mutex> lock(s.mutex);
    const auto found = std::find_if(s.kept.rbegin(), s.kept.rend(), [size](const Kept& one) { return one.bytes == size; });
    if (found != s.kept.rend()) {
      uint8_t* const data = found->data;
      s.kept.erase(std::next(found).base());
      s.bytes -= size;
      return data;
    }
  }
  void* const made = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return made == MAP_FAILED ? nullptr : static_cast<uint8_t*>(made);
}

void SliceBuffers::give(uint8_t* buffer, uint64_t bytes) {
  if (buffer == nullptr) return;
  const uint64_t size = sizeOf(bytes);
  {
    Shelf& s = shelf();
    const std::lock_guard<std::mutex> lock(s.mutex);
    if (s.bytes + size <= kKeptBytes) {
      s.kept.push_back(Kept{buffer, size});
      s.bytes += size;
      return;
    }
  }
  munmap(buffer, size);
}

}  // namespace diskwright
