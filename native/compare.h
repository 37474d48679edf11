// The compare step: a worker reads two sides, slice by slice, into a buffer of its own, and says where they differ first. Nothing of it passes JavaScript.
//
//   pieces   | side a: file, offset | side b: file, offset | length |  ...      back to back
//   buffer   | a slice of a | the same of b |                                   both fit into the core's cache
//
// It ends at the first difference, and at what cannot be read: all that lies before either of them is the same then.
//
// Memory that JavaScript fills and reads, all of it in the arena (src/host/real/compare.ts writes the same layout):
//
//   piece, 32 bytes    0 f64 offset of a   8 f64 offset of b   16 f64 length   24 i32 fd of a, or -1: zeroes   28 i32 fd of b
//   outcome, 24 bytes  0 f64 first byte that differs, counted over all pieces, or -1   8 f64 where the slice begins that cannot be read
//                     16 i32 its side   20 i32 -errno
#pragma once

#include <cstdint>

#include "arena.h"
#include "ops.h"
#include "request.h"

namespace diskwright {

/** Which side could not be read. */
enum class CompareSide : int32_t { kNone = 0, kA = 1, kB = 2 };

/** Checks the memory that a step names. 0, or -errno. */
int loadCompare(const Request& request, Arena& arena);
/** Carries out a step; the outcome says how it went. */
void runCompare(const Request& request, Faults& faults);

}  // namespace diskwright
