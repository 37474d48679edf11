// The copy step: a worker reads pieces of files into a buffer, tests them for zeroes, and writes what is not zero, without a word from JavaScript in
// between. It works slice by slice, so that the data stays in a core's cache:
//
//   pieces   | file, offset, length, to | ... |         back to back, cut into slices
//   buffer   |  data  |00000|  data  | data |           (1) read a slice, decompressing what is packed (2) zero test, a byte of the map for each granule
//   target   in the order of the slices:                (3) a piece with a place of its own goes there; one without takes the next
//            |  data  |  data  | data |                     free bytes of the run, so that what is written without zeroes lies together
//
// The workers whose steps write to one file serve them together (move_queue.h): several read, one writes, slice by slice and step by step. So a run's places
// are given in the order of the steps' data, and the bytes that a step takes from it lie together.
//
// Where blocks may be shared (kFlagShare, without a zero test), a slice is not read but cloned (FICLONERANGE) when it is to be written, with the same
// places. What the file system does not clone (blocks that do not line up, a hole behind the end) is read and written; where it cannot clone between the two files
// at all, the outcome says so, and the rest is copied.
//
// Memory that JavaScript fills and reads, all of it in the arena (src/host/real/move.ts writes the same layout):
//
//   piece, 48 bytes       0 f64 offset    8 f64 length   16 f64 to, or -1: from the run   24 i32 fd, or -1: zeroes
//                      28 i32 packing: 0, or 1 + the codec of a compressed cluster, which is at `offset`; only then, bytes:
//                      32 i32 stored   36 i32 the whole cluster   40 i32 those before what is wanted of it   44 i32 unused
//   run, 8 bytes          0 f64 next free byte of the target
//   outcome, 24 bytes     0 f64 offset of a failure   8 i32 its side   12 i32 its piece   16 i32 -errno
//                      20 i32 1 + the piece whose blocks cannot be shared with the target, or 0
//   slices, 16 bytes each 0 f64 first byte that the slice took from the run, or -1   8 f64 bytes taken
//   map                   behind the slices: 1 for each granule of zeroes
#pragma once

#include <cstdint>

#include "arena.h"
#include "ops.h"
#include "request.h"

namespace diskwright {

/** Where a step failed: nowhere, in a piece's file, in the target, in what was read: it does not decompress to a cluster. */
enum class MoveSide : int32_t { kNone = 0, kSource = 1, kTarget = 2, kData = 3 };

/** Checks the memory that a step names, and puts it behind the other steps that write to its file. 0, or -errno. */
int loadMove(Request& request, Arena& arena, Faults& faults);
/** Carries out a step that was loaded; the outcome says how it went. */
void runMove(Request& request);
/** Takes a step that was loaded, and that nobody will carry out, out of the others. Its memory is not touched any more. */
void withdrawMove(Request& request);

}  // namespace diskwright
