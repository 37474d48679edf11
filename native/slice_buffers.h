// Memory for slices of copy steps. What is given back is kept for the next one, last in first out, so that it is in a core's cache.
#pragma once

#include <cstdint>

namespace diskwright {

class SliceBuffers {
 public:
  /** nullptr where there is no memory. */
  static uint8_t* take(uint64_t bytes);
  /** `bytes`: as it was taken. nullptr is nothing. */
  static void give(uint8_t* buffer, uint64_t bytes);
};

/** One that is given back at the end of its block. */
class SliceBuffer {
 public:
  explicit SliceBuffer(uint64_t bytes) : bytes_(bytes), data_(SliceBuffers::take(bytes)) {}
  SliceBuffer(const SliceBuffer&) = delete;
  SliceBuffer& operator=(const SliceBuffer&) = delete;
  ~SliceBuffer() { SliceBuffers::give(data_, bytes_); }
  uint8_t* data() const { return data_; }

 private:
  const uint64_t bytes_;
  uint8_t* const data_;
};

}  // namespace diskwright
