// Memory of a worker's own: mapped when it is first needed, kept until the thread ends.
#pragma once

#include <sys/mman.h>

#include <cstdint>

namespace diskwright {

class WorkerBuffer {
 public:
  WorkerBuffer() = default;
  WorkerBuffer(const WorkerBuffer&) = delete;
  WorkerBuffer& operator=(const WorkerBuffer&) = delete;
  ~WorkerBuffer() {
    if (base_ != nullptr) munmap(base_, bytes_);
  }
  /** nullptr where there is no memory. */
  uint8_t* room(uint64_t bytes) {
    if (bytes <= bytes_) return base_;
    void* made = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED) return nullptr;
    if (base_ != nullptr) munmap(base_, bytes_);
    base_ = static_cast<uint8_t*>(made);
    bytes_ = bytes;
    return base_;
  }

 private:
  uint8_t* base_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace diskwright
