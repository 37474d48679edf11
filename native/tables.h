// Arithmetic over the tables of qcow2: runs of L2 entries, refcounts of every width. The same is written in TypeScript, for hosts without this
// (src/drivers/formats/qcow2/table-math.ts), and says what it means. Nobody checks lengths here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace diskwright {

/** How many of `count` big-endian numbers of 64 bits from `at` on are the first one, plus `step`, plus twice `step`, ... */
size_t risingNumbers(const uint8_t* at, size_t count, uint64_t step);

/** Makes the `count - 1` numbers behind the first one of such a run. */
void makeRising(uint8_t* at, size_t count, uint64_t step);

void addToAll(int32_t* numbers, size_t count, int32_t change);

enum class Settled : int32_t { kKept = -1, kFreed = -2 };
/**
 * Changes the refcounts of 2^order bits from index `first` of `block` on, each by its own change; `ones` becomes 1 where one becomes 1, 0 where it does not,
 * and stays for those without a change. Returns a `Settled`, or the index among `changes` of one that was 0, or would be below 0 or above `max`.
 */
int64_t settleRefcounts(uint8_t* block, uint32_t order, uint64_t max, size_t first, const int32_t* changes, uint8_t* ones, size_t count);

/** The first of them that `settleRefcounts` has lowered to 0; `count` where there is none. */
size_t nextFreed(const uint8_t* block, uint32_t order, size_t first, const int32_t* changes, size_t count);

/** Sets the top bit of each entry, `stride` bytes long, whose refcount changes: to what `ones` says. True where one was not like that. */
bool setCopiedFlags(uint8_t* entry, size_t stride, const int32_t* changes, const uint8_t* ones, size_t count);

}  // namespace diskwright
