#include "arena.h"

#include <sys/mman.h>

namespace diskwright {

namespace {
constexpr size_t kHugePage = size_t{2} << 20;
}

std::atomic<int64_t> Slab::mapped_{0};

Slab* Slab::create(size_t bytes) {
  // Map one huge page more than asked, and give back what lies before and after the aligned part.
  const size_t room = bytes + kHugePage;
  void* raw = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  const auto start = reinterpret_cast<uintptr_t>(raw);
  const uintptr_t aligned = (start + kHugePage - 1) & ~(kHugePage - 1);
  if (aligned > start) munmap(raw, aligned - start);
  const size_t tail = start + room - (aligned + bytes);
  if (tail > 0) munmap(reinterpret_cast<void*>(aligned + bytes), tail);
  auto* base = reinterpret_cast<uint8_t*>(aligned);
  // A child made by fork() must not turn pages under O_DIRECT into copies; both hints may fail without harm.
  madvise(base, bytes, MADV_DONTFORK);
  madvise(base, bytes, MADV_HUGEPAGE);
  return new Slab(base, bytes);
}

void Slab::release() {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

Slab::~Slab() {
  munmap(base, bytes);
  mapped_.fetch_sub(1, std::memory_order_relaxed);
}

void Arena::clear() {
  for (Slab* slab : slabs_) slab->release();
  slabs_.clear();
  last_ = 0;
}

Slab* Arena::add(size_t bytes) {
  Slab* slab = Slab::create(bytes);
  if (slab != nullptr) slabs_.push_back(slab);
  return slab;
}

bool Arena::drop(const uint8_t* base) {
  for (size_t i = 0; i < slabs_.size(); i++) {
    if (slabs_[i]->base != base) continue;
    slabs_[i]->release();
    slabs_.erase(slabs_.begin() + static_cast<std::ptrdiff_t>(i));
    last_ = 0;
    return true;
  }
  return false;
}

bool Arena::vacate(uint64_t address, uint64_t length) {
  // A hint that fails leaves the pages where they are.
  return contains(address, length) && madvise(reinterpret_cast<void*>(address), length, MADV_DONTNEED) == 0;
}

bool Arena::contains(uint64_t address, uint64_t length) {
  // Requests come in runs from the same slab: start with the one that was right last time.
  const size_t count = slabs_.size();
  for (size_t step = 0; step < count; step++) {
    size_t i = last_ + step;
    if (i >= count) i -= count;
    const auto base = reinterpret_cast<uint64_t>(slabs_[i]->base);
    if (address < base || address - base > slabs_[i]->bytes) continue;
    if (length > slabs_[i]->bytes - (address - base)) continue;
    last_ = i;
    return true;
  }
  return false;
}

}  // namespace diskwright
