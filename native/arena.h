// Memory that I/O runs in: slabs of mapped, 2 MiB aligned memory.
//
//   engine ---+
//             +--> Slab (refcount) --> mmap
//   ArrayBuffer+
//
// A slab is unmapped when its last reference goes. The engine holds one until the slab is released, the
// ArrayBuffer that JavaScript sees holds another until it is collected, so a view that outlives the engine
// still points to memory that is there.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace diskwright {

class Slab {
 public:
  /** nullptr when the system has no memory. `bytes` is rounded up to whole pages by the caller. */
  static Slab* create(size_t bytes);
  void retain() { references_.fetch_add(1, std::memory_order_relaxed); }
  void release();

  uint8_t* const base;
  const size_t bytes;
  /** Slabs of this process that are mapped now: lets a test see that memory does go. */
  static int64_t mapped() { return mapped_.load(std::memory_order_relaxed); }

 private:
  Slab(uint8_t* base, size_t bytes) : base(base), bytes(bytes) { mapped_.fetch_add(1, std::memory_order_relaxed); }
  ~Slab();
  std::atomic<int> references_{1};
  static std::atomic<int64_t> mapped_;
};

/** The live slabs of one engine, by address. Used on the JavaScript thread only. */
class Arena {
 public:
  ~Arena() { clear(); }
  /** Drops the engine's references to all slabs. */
  void clear();
  Slab* add(size_t bytes);
  /** Drops the engine's reference to the slab that starts at `base`; false where there is none. */
  bool drop(const uint8_t* base);
  /** Gives the pages of [address, address + length) back to the system: they read as zeroes when they are used again. */
  bool vacate(uint64_t address, uint64_t length);
  /** True when all of [address, address + length) lies in one live slab. */
  bool contains(uint64_t address, uint64_t length);

 private:
  std::vector<Slab*> slabs_;
  size_t last_ = 0;
};

}  // namespace diskwright
