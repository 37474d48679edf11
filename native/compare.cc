#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "compare.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "bytes.h"
#include "worker_buffer.h"

namespace diskwright {

namespace {

constexpr uint64_t kMaxCompareBytes = uint64_t{4} << 20;
constexpr uint64_t kPieceBytes = 32;
constexpr uint64_t kOutcomeBytes = 24;
/** Of one side. Measured: 128 KiB to 512 KiB are alike. */
constexpr uint64_t kSliceBytes = uint64_t{256} << 10;

struct Piece {
  double offsets[2];
  double length;
  int32_t fds[2];
};
static_assert(sizeof(Piece) == kPieceBytes);

struct Outcome {
  double difference;
  double failedAt;
  int32_t side;
  int32_t failure;
};
static_assert(sizeof(Outcome) == kOutcomeBytes);

thread_local WorkerBuffer buffer;

/** Reads [done, done + bytes) of a piece's side. 0, or -errno. */
int64_t readSide(const Piece& piece, int side, uint64_t done, uint8_t* into, uint64_t bytes, Faults& faults) {
  iovec one{into, bytes};
  Request read;
  read.op = kReadv;
  read.fd = piece.fds[side];
  read.position = static_cast<uint64_t>(piece.offsets[side]) + done;
  read.iov = &one;
  read.iovCount = 1;
  transfer(read, 0, faults);
  return std::min<int64_t>(read.result, 0);
}

/** Index of the first byte that is not zero, -1 if there is none. */
int64_t firstByte(const uint8_t* data, uint64_t length) {
  if (isZero(data, length)) return -1;
  return std::find_if(data, data + length, [](uint8_t byte) { return byte != 0; }) - data;
}

}  // namespace

int loadCompare(const Request& r, Arena& arena) {
  if (r.length == 0 || r.length > kMaxCompareBytes || r.extra <= 0) return -EINVAL;
  const auto count = static_cast<uint64_t>(r.extra);
  if (count > r.length || !arena.contains(reinterpret_cast<uint64_t>(r.data), count * kPieceBytes)) return -EFAULT;
  if (!arena.contains(reinterpret_cast<uint64_t>(r.data2), kOutcomeBytes)) return -EFAULT;
  uint64_t total = 0;
  for (uint64_t i = 0; i < count; i++) {
    Piece piece;
    std::memcpy(&piece, r.data + i * kPieceBytes, sizeof piece);
    if (!isOffset(piece.offsets[0]) || !isOffset(piece.offsets[1]) || !isOffset(piece.length)) return -EINVAL;
    if (piece.length > static_cast<double>(r.length)) return -EINVAL;
    total += static_cast<uint64_t>(piece.length);
  }
  return total == r.length ? 0 : -EINVAL;
}

void runCompare(const Request& r, Faults& faults) {
  const auto* const pieces = reinterpret_cast<const Piece*>(r.data);
  auto* const outcome = reinterpret_cast<Outcome*>(r.data2);
  *outcome = Outcome{-1, 0, static_cast<int32_t>(CompareSide::kNone), 0};
  uint64_t at = 0;
  const auto fail = [&](int side, int64_t failure) {
    outcome->failedAt = static_cast<double>(at);
    outcome->side = static_cast<int32_t>(side == 0 ? CompareSide::kA : CompareSide::kB);
    outcome->failure = static_cast<int32_t>(failure);
  };
  uint8_t* const base = buffer.room(2 * kSliceBytes);
  if (base == nullptr) return fail(0, -ENOMEM);
  uint8_t* const data[2] = {base, base + kSliceBytes};
  for (int32_t i = 0; i < r.extra; i++) {
    const Piece& piece = pieces[i];
    const auto length = static_cast<uint64_t>(piece.length);
    for (uint64_t done = 0; done < length;) {
      const uint64_t bytes = std::min(length - done, kSliceBytes);
      for (int side = 0; side < 2; side++) {
        if (piece.fds[side] < 0) continue;
        const int64_t failed = readSide(piece, side, done, data[side], bytes, faults);
        if (failed < 0) return fail(side, failed);
      }
      int64_t found = -1;
      if (piece.fds[0] >= 0 && piece.fds[1] >= 0) found = firstDifference(data[0], data[1], bytes);
      else if (piece.fds[0] >= 0) found = firstByte(data[0], bytes);
      else if (piece.fds[1] >= 0) found = firstByte(data[1], bytes);
      if (found >= 0) {
        outcome->difference = static_cast<double>(at + static_cast<uint64_t>(found));
        return;
      }
      done += bytes;
      at += bytes;
    }
  }
}

}  // namespace diskwright
