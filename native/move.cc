#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "move.h"

#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <vector>

#include "bytes.h"

namespace diskwright {

namespace {

constexpr uint64_t kMaxMoveBytes = uint64_t{4} << 20;
constexpr uint64_t kPieceBytes = 32;
constexpr uint64_t kOutcomeBytes = 40;
constexpr double kFromRun = -1;
/** Largest offset of a file: what pread and pwrite take. */
constexpr double kMaxOffset = 9007199254740992.0;

struct Piece {
  double offset;
  double length;
  double to;
  int32_t fd;
  int32_t unused;
};
static_assert(sizeof(Piece) == kPieceBytes);

struct Outcome {
  double start;
  double taken;
  double failedAt;
  int32_t side;
  int32_t piece;
  int32_t failure;
  int32_t unused;
};
static_assert(sizeof(Outcome) == kOutcomeBytes);

/** A worker's buffer: mapped once, kept until the thread ends. */
class Buffer {
 public:
  ~Buffer() {
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

thread_local Buffer buffer;

/** Turns of files by their descriptor. Two files that share one only wait for each other. */
std::mutex& turnOf(int fd) {
  static std::array<std::mutex, 64> turns;
  return turns[static_cast<unsigned>(fd) % turns.size()];
}

bool isOffset(double value) {
  return value >= 0 && value <= kMaxOffset && value == static_cast<double>(static_cast<int64_t>(value));
}

/** Writes gathered into few calls: what follows the last one in the target is added to it. */
class Writer {
 public:
  Writer(int fd, Faults& faults) : fd_(fd), faults_(faults) {}

  bool add(uint64_t offset, uint8_t* data, uint64_t bytes, int32_t piece) {
    if (!vector_.empty() && offset == end_) {
      iovec& last = vector_.back();
      if (static_cast<uint8_t*>(last.iov_base) + last.iov_len == data) last.iov_len += bytes;
      else vector_.push_back(iovec{data, bytes});
    } else {
      if (!flush()) return false;
      start_ = offset;
      piece_ = piece;
      vector_.push_back(iovec{data, bytes});
    }
    end_ = offset + bytes;
    return true;
  }

  bool flush() {
    if (vector_.empty()) return true;
    Request request;
    request.op = kWritev;
    request.fd = fd_;
    request.position = start_;
    request.iov = vector_.data();
    request.iovCount = static_cast<unsigned>(vector_.size());
    transfer(request, 0, faults_);
    vector_.clear();
    failedAt = request.position;
    failure = request.result;
    return failure >= 0;
  }

  int64_t failure = 0;
  uint64_t failedAt = 0;
  int32_t failedPiece() const { return piece_; }

 private:
  const int fd_;
  Faults& faults_;
  std::vector<iovec> vector_;
  uint64_t start_ = 0;
  uint64_t end_ = 0;
  int32_t piece_ = 0;
};

void fail(Outcome* outcome, MoveSide side, int32_t piece, uint64_t at, int64_t failure) {
  outcome->side = static_cast<int32_t>(side);
  outcome->piece = piece;
  outcome->failedAt = static_cast<double>(at);
  outcome->failure = static_cast<int32_t>(failure);
}

}  // namespace

int loadMove(const Request& r, Arena& arena) {
  if (r.length > kMaxMoveBytes || r.extra <= 0) return -EINVAL;
  const auto count = static_cast<uint64_t>(r.extra);
  const auto pieces = reinterpret_cast<uint64_t>(r.data);
  const auto outcome = reinterpret_cast<uint64_t>(r.data2);
  const uint64_t granule = r.offset2;
  const uint64_t steps = granule == 0 ? 0 : (r.length + granule - 1) / granule;
  if (count > r.length || !arena.contains(pieces, count * kPieceBytes)) return -EFAULT;
  if (!arena.contains(outcome, kOutcomeBytes + steps)) return -EFAULT;
  uint64_t total = 0;
  bool needsRun = false;
  for (uint64_t i = 0; i < count; i++) {
    Piece piece;
    std::memcpy(&piece, r.data + i * kPieceBytes, sizeof piece);
    if (!isOffset(piece.offset) || !isOffset(piece.length) || piece.length > static_cast<double>(r.length)) return -EINVAL;
    if (piece.to != kFromRun && !isOffset(piece.to)) return -EINVAL;
    needsRun = needsRun || piece.to == kFromRun;
    total += static_cast<uint64_t>(piece.length);
  }
  if (total != r.length) return -EINVAL;
  return !needsRun || arena.contains(r.offset, sizeof(double)) ? 0 : -EFAULT;
}

void runMove(const Request& r, Faults& faults) {
  auto* outcome = reinterpret_cast<Outcome*>(r.data2);
  uint8_t* map = r.data2 + kOutcomeBytes;
  const auto* pieces = reinterpret_cast<const Piece*>(r.data);
  auto* run = reinterpret_cast<double*>(r.offset);
  *outcome = Outcome{kFromRun, 0, 0, static_cast<int32_t>(MoveSide::kNone), 0, 0, 0};
  uint8_t* const data = buffer.room(r.length);
  if (data == nullptr) return fail(outcome, MoveSide::kSource, 0, static_cast<uint64_t>(pieces[0].offset), -ENOMEM);

  uint64_t at = 0;
  for (int32_t i = 0; i < r.extra; i++) {
    iovec one{data + at, static_cast<size_t>(pieces[i].length)};
    if (pieces[i].fd < 0) {
      std::memset(one.iov_base, 0, one.iov_len);
      at += one.iov_len;
      continue;
    }
    Request read;
    read.op = kReadv;
    read.fd = pieces[i].fd;
    read.position = static_cast<uint64_t>(pieces[i].offset);
    read.iov = &one;
    read.iovCount = one.iov_len > 0 ? 1 : 0;
    at += one.iov_len;
    transfer(read, 0, faults);
    if (read.result < 0) return fail(outcome, MoveSide::kSource, i, read.position, read.result);
  }

  const uint64_t granule = r.offset2 == 0 ? r.length : r.offset2;
  if (r.offset2 != 0) zeroMap(data, r.length, granule, map);

  std::lock_guard<std::mutex> turn(turnOf(r.fd));
  Writer writer(r.fd, faults);
  at = 0;
  for (int32_t i = 0; i < r.extra; i++) {
    const auto length = static_cast<uint64_t>(pieces[i].length);
    for (uint64_t done = 0; done < length;) {
      // Pieces may end within a granule: the end of an image.
      const uint64_t step = (at + done) / granule;
      const uint64_t here = std::min(length - done, (step + 1) * granule - (at + done));
      if (r.offset2 == 0 || map[step] == 0) {
        uint64_t to;
        if (pieces[i].to == kFromRun) {
          to = static_cast<uint64_t>(*run);
          *run += static_cast<double>(here);
          if (outcome->start == kFromRun) outcome->start = static_cast<double>(to);
          outcome->taken += static_cast<double>(here);
        } else {
          to = static_cast<uint64_t>(pieces[i].to) + done;
        }
        if (!writer.add(to, data + at + done, here, i)) {
          return fail(outcome, MoveSide::kTarget, writer.failedPiece(), writer.failedAt, writer.failure);
        }
      }
      done += here;
    }
    at += length;
  }
  if (!writer.flush()) fail(outcome, MoveSide::kTarget, writer.failedPiece(), writer.failedAt, writer.failure);
}

}  // namespace diskwright
