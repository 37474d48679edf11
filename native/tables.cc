#include "tables.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

namespace diskwright {

namespace {

/** A big-endian number. */
template <typename Number>
Number load(const uint8_t* at) {
  Number value;
  std::memcpy(&value, at, sizeof value);
  if constexpr (std::endian::native == std::endian::big || sizeof value == 1) return value;
  if constexpr (sizeof value == 2) return __builtin_bswap16(value);
  if constexpr (sizeof value == 4) return __builtin_bswap32(value);
  return static_cast<Number>(__builtin_bswap64(value));
}

template <typename Number>
void store(uint8_t* at, Number value) {
  // Swapping twice is nothing: what `load` makes of it is how it is stored.
  uint8_t bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  value = load<Number>(bytes);
  std::memcpy(at, &value, sizeof value);
}

/** Refcounts of a byte and more. */
template <typename Number>
struct Wide {
  uint8_t* block;
  uint64_t get(size_t index) const { return load<Number>(block + index * sizeof(Number)); }
  void set(size_t index, uint64_t value) const { store<Number>(block + index * sizeof(Number), static_cast<Number>(value)); }
};

/** Refcounts below a byte, from its least significant bit on. */
struct Narrow {
  uint8_t* block;
  uint32_t order;
  uint32_t shift(size_t index) const { return static_cast<uint32_t>(index & ((8u >> order) - 1)) << order; }
  uint8_t mask() const { return static_cast<uint8_t>((1u << (1u << order)) - 1); }
  uint8_t& byte(size_t index) const { return block[index >> (3 - order)]; }
  uint64_t get(size_t index) const { return static_cast<uint64_t>(byte(index) >> shift(index)) & mask(); }
  void set(size_t index, uint64_t value) const {
    const auto others = static_cast<uint8_t>(byte(index) & ~(mask() << shift(index)));
    byte(index) = static_cast<uint8_t>(others | (value << shift(index)));
  }
};

/** Changes that are made together where none of them is wrong: without a branch for each, the compiler makes vector code of it. */
constexpr size_t kTogether = 64;

/** False where one of the changes is wrong: nothing was done then. A sum of a refcount and a change that is negative or above `max` stays above `max` as a `Sum`, which has no sign and wraps around. */
template <typename Sum, typename Number>
bool settleTogether(uint8_t* __restrict block, uint64_t max, const int32_t* __restrict changes, uint8_t* __restrict ones, bool& freed) {
  Sum after[kTogether];
  uint32_t wrong = 0;
  for (size_t i = 0; i < kTogether; i++) {
    const Sum was = load<Number>(block + i * sizeof(Number));
    after[i] = was + static_cast<Sum>(changes[i]);
    wrong |= static_cast<uint32_t>(changes[i] != 0) & (static_cast<uint32_t>(was == 0) | static_cast<uint32_t>(after[i] > static_cast<Sum>(max)));
  }
  if (wrong != 0) return false;
  uint32_t zeroes = 0;
  for (size_t i = 0; i < kTogether; i++) {
    const bool changed = changes[i] != 0;
    zeroes |= static_cast<uint32_t>(changed) & static_cast<uint32_t>(after[i] == 0);
    ones[i] = changed ? static_cast<uint8_t>(after[i] == 1) : ones[i];
    store<Number>(block + i * sizeof(Number), static_cast<Number>(after[i]));
  }
  freed |= zeroes != 0;
  return true;
}

template <typename Refcounts>
bool settleTogether(const Refcounts& refcounts, uint64_t max, size_t first, const int32_t* changes, uint8_t* ones, bool& freed) {
  if constexpr (std::is_same_v<Refcounts, Wide<uint16_t>>) {
    return settleTogether<uint32_t, uint16_t>(refcounts.block + first * 2, max, changes, ones, freed);
  } else if constexpr (std::is_same_v<Refcounts, Wide<uint8_t>>) {
    return settleTogether<uint32_t, uint8_t>(refcounts.block + first, max, changes, ones, freed);
  } else {
    return false;
  }
}

template <typename Refcounts>
int64_t settle(const Refcounts& refcounts, uint64_t max, size_t first, const int32_t* changes, uint8_t* ones, size_t count) {
  bool freed = false;
  for (size_t i = 0; i < count;) {
    if (count - i >= kTogether && settleTogether(refcounts, max, first + i, changes + i, ones + i, freed)) {
      i += kTogether;
      continue;
    }
    for (const size_t end = std::min(count, i + kTogether); i < end; i++) {
      const int64_t change = changes[i];
      if (change == 0) continue;
      const uint64_t was = refcounts.get(first + i);
      const uint64_t after = was + static_cast<uint64_t>(change);
      const bool fits = change > 0 ? after > was : static_cast<uint64_t>(-change) <= was;
      if (was == 0 || !fits || after > max) return static_cast<int64_t>(i);
      refcounts.set(first + i, after);
      ones[i] = after == 1 ? 1 : 0;
      freed |= after == 0;
    }
  }
  return static_cast<int64_t>(freed ? Settled::kFreed : Settled::kKept);
}

/** What `visit` makes of the refcounts of `block`, whose width is known where it is compiled. */
template <typename Visitor>
auto withWidth(uint8_t* block, uint32_t order, const Visitor& visit) {
  switch (order) {
    case 3:
      return visit(Wide<uint8_t>{block});
    case 4:
      return visit(Wide<uint16_t>{block});
    case 5:
      return visit(Wide<uint32_t>{block});
    case 6:
      return visit(Wide<uint64_t>{block});
    default:
      return visit(Narrow{block, order});
  }
}

}  // namespace

size_t risingNumbers(const uint8_t* at, size_t count, uint64_t step) {
  constexpr size_t kAtOnce = 8;
  if (count == 0) return 0;
  const auto first = load<uint64_t>(at);
  size_t run = 1;
  for (; run + kAtOnce <= count; run += kAtOnce) {
    uint64_t differing = 0;
    for (size_t i = 0; i < kAtOnce; i++) differing |= load<uint64_t>(at + (run + i) * 8) ^ (first + (run + i) * step);
    if (differing != 0) break;
  }
  while (run < count && load<uint64_t>(at + run * 8) == first + run * step) run++;
  return run;
}

void makeRising(uint8_t* at, size_t count, uint64_t step) {
  if (count == 0) return;
  const auto first = load<uint64_t>(at);
  for (size_t i = 1; i < count; i++) store<uint64_t>(at + i * 8, first + i * step);
}

void addToAll(int32_t* numbers, size_t count, int32_t change) {
  for (size_t i = 0; i < count; i++) numbers[i] += change;
}

int64_t settleRefcounts(uint8_t* block, uint32_t order, uint64_t max, size_t first, const int32_t* changes, uint8_t* ones, size_t count) {
  return withWidth(block, order, [=](const auto& refcounts) { return settle(refcounts, max, first, changes, ones, count); });
}

size_t nextFreed(const uint8_t* block, uint32_t order, size_t first, const int32_t* changes, size_t count) {
  return withWidth(const_cast<uint8_t*>(block), order, [=](const auto& refcounts) {
    size_t at = 0;
    while (at < count && (changes[at] >= 0 || refcounts.get(first + at) != 0)) at++;
    return at;
  });
}

bool setCopiedFlags(uint8_t* entry, size_t stride, const int32_t* changes, const uint8_t* ones, size_t count) {
  uint8_t differing = 0;
  for (size_t i = 0; i < count; i++, entry += stride) {
    if (changes[i] == 0) continue;
    const auto after = static_cast<uint8_t>((*entry & 0x7f) | (ones[i] << 7));
    differing |= *entry ^ after;
    *entry = after;
  }
  return differing != 0;
}

}  // namespace diskwright
