// What JavaScript writes for each request, and what the engine keeps of it while it is under way.
//
//   descriptor, 64 bytes, one a slot (src/host/real/table.ts writes the same layout):
//      0 i32 op         4 i32 fd          8 f64 offset     16 f64 address
//     24 f64 length    32 i32 flags      36 i32 extra      40 f64 offset2
//     48 f64 address2  56 i32 fd2        60 i32 unused
//
//   completion, 16 bytes: f64 slot, f64 result (or -errno)
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <vector>

namespace diskwright {

enum Op : int32_t {
  kRead = 1,        // address, length, offset; kFlagScan: extra = granule, address2 = map
  kWrite = 2,
  kReadv = 3,       // address = pairs of f64 (address, length), extra = how many, length = bytes in all
  kWritev = 4,
  kDataSync = 5,
  kTruncate = 6,    // offset = new size
  kFallocate = 7,   // extra = mode
  kWriteback = 8,   // begins to write back; the result says nothing of what is durable
  kCopyRange = 9,   // fd2, offset2 = target; result = bytes
  kOpen = 10,       // address = path (length bytes, NUL behind), extra = flags, address2 = 12 bytes for the findings; result = fd
  kClose = 11,
  kBlockDiscard = 12,
  kBlockZeroOut = 13,
  kCompress = 14,   // address2, offset2 = output and its room; extra = level, fd = codec; result = bytes, 0: no room
  kDecompress = 15,
  kMove = 16,       // fd = target; address = pieces, extra = how many, length = bytes in all, fd2 = bytes of a slice, offset = address of the run,
                    // offset2 = granule or 0, address2 = outcome, slices and map: see move.h
  kCompare = 17,    // address = pieces, extra = how many, length = bytes in all, address2 = outcome: see compare.h
  kCipher = 18,     // fd = cipher; address = input, address2 = output, length = bytes of each, offset = number of the first sector, extra = 1: encrypt
  kDerive = 19,     // fd = hash; address = password (length bytes), address2 = salt (extra bytes) and, behind it, the key (offset2 bytes),
                    // offset = iterations; result = nanoseconds of the processor
};

enum Flags : int32_t {
  kFlagDirect = 1,
  kFlagScan = 2,
  kFlagReserve = 4,     // of a copy step: space is reserved before it is written
  kFlagShare = 8,       // of a copy step: blocks of the sources may be shared
  kFlagUnpack = 16,     // of a copy step: it decompresses, for which there are workers of their own
  kFlagBackground = 32, // of a copy step: guests go first
  kFlagAlignShift = 8,  // bits 8 to 15: log2 of the alignment of a direct file
};

class Pace;
class QueuedMove;

struct Request {
  uint32_t slot = 0;
  int32_t op = 0;
  int32_t fd = -1;
  int32_t fd2 = -1;
  int32_t flags = 0;
  int32_t extra = 0;
  uint64_t offset = 0;
  uint64_t offset2 = 0;
  uint64_t length = 0;
  uint8_t* data = nullptr;
  uint8_t* data2 = nullptr;
  int64_t result = 0;
  Request* next = nullptr;
  /** Of a copy step that lets guests go first; else null. */
  Pace* pace = nullptr;
  /** Of a copy step that is loaded, and has not ended; else null. */
  QueuedMove* move = nullptr;

  // Reads and writes: what is still to transfer. `iov` points to `one` or into `many`.
  iovec* iov = nullptr;
  unsigned iovCount = 0;
  uint64_t position = 0;
  iovec one{};
  std::vector<iovec> many;

  bool isRead() const { return op == kRead || op == kReadv; }
  bool usesCodec() const {
    return op == kCompress || op == kDecompress || op == kCipher || op == kDerive || (op == kMove && (flags & kFlagUnpack) != 0);
  }
  bool isTransfer() const { return op >= kRead && op <= kWritev; }
  bool direct() const { return (flags & kFlagDirect) != 0; }
  uint64_t alignment() const { return uint64_t{1} << ((flags >> kFlagAlignShift) & 31); }

  /** Notes that `bytes` more were transferred. */
  void advance(uint64_t bytes) {
    position += bytes;
    while (bytes > 0 && iovCount > 0) {
      if (bytes < iov->iov_len) {
        iov->iov_base = static_cast<uint8_t*>(iov->iov_base) + bytes;
        iov->iov_len -= bytes;
        return;
      }
      bytes -= iov->iov_len;
      iov++;
      iovCount--;
    }
  }
};

/** An intrusive first-in, first-out list. */
struct RequestList {
  Request* head = nullptr;
  Request* tail = nullptr;
  void push(Request* request) {
    request->next = nullptr;
    if (tail == nullptr) head = request;
    else tail->next = request;
    tail = request;
  }
  Request* pop() {
    Request* request = head;
    if (request == nullptr) return nullptr;
    head = request->next;
    if (head == nullptr) tail = nullptr;
    return request;
  }
};

/** Largest offset that is taken: a double holds the integers up to it. */
constexpr double kMaxOffset = 9007199254740992.0;
/** True for a whole number of bytes that a file may have. */
inline bool isOffset(double value) {
  return value >= 0 && value <= kMaxOffset && value == static_cast<double>(static_cast<int64_t>(value));
}

}  // namespace diskwright
