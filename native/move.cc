#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "move.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "bytes.h"
#include "codecs.h"
#include "move_queue.h"
#include "slice_buffers.h"
#include "worker_buffer.h"

namespace diskwright {

namespace {

constexpr uint64_t kMaxMoveBytes = uint64_t{8} << 20;
constexpr uint64_t kPieceBytes = 48;
/** The largest cluster that is decompressed; it may be stored in twice as many bytes. */
constexpr int32_t kMaxClusterBytes = 2 << 20;
constexpr uint64_t kOutcomeBytes = 24;
constexpr uint64_t kSliceRowBytes = 16;
/** Shorter runs of data are written without their space being reserved first. */
constexpr uint64_t kReserveMin = uint64_t{256} << 10;
constexpr double kFromRun = -1;

struct Piece {
  double offset;
  double length;
  double to;
  int32_t fd;
  int32_t packing;
  int32_t stored;
  int32_t cluster;
  int32_t lead;
  int32_t unused;

  bool packed() const { return packing != 0; }
};
static_assert(sizeof(Piece) == kPieceBytes);

struct Outcome {
  double failedAt;
  int32_t side;
  int32_t piece;
  int32_t failure;
  int32_t unshareable;
};
static_assert(sizeof(Outcome) == kOutcomeBytes);

struct Slice {
  double start;
  double taken;
};
static_assert(sizeof(Slice) == kSliceRowBytes);

/** What this thread decompressed last, and kept, since not all of it was wanted: the cluster of a piece of a step. */
struct Kept {
  uint64_t step = 0;
  const Piece* piece = nullptr;
};

thread_local WorkerBuffer storedBuffer;
thread_local WorkerBuffer clusterBuffer;
thread_local Kept kept;
/** Steps are numbered, from 1 on. */
std::atomic<uint64_t> steps{0};

/** Writes gathered into few calls: what follows the last one in the target is added to it. */
class Writer {
 public:
  Writer(int fd, bool reserves, Faults& faults) : fd_(fd), reserves_(reserves), faults_(faults) {}

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
    // A file that grows is written a third faster where its blocks are there already (measured on ext4). A failure is no news: the write tells.
    if (reserves_ && end_ - start_ >= kReserveMin) {
      fallocate(fd_, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(start_), static_cast<off_t>(end_ - start_));
    }
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
  const bool reserves_;
  Faults& faults_;
  std::vector<iovec> vector_;
  uint64_t start_ = 0;
  uint64_t end_ = 0;
  int32_t piece_ = 0;
};

/** Lets `fd` share the blocks of a range of `source`. 0, or -errno. */
int clone(int source, uint64_t offset, uint64_t length, int fd, uint64_t to) {
  file_clone_range range{source, offset, length, to};
  int result;
  do {
    result = ioctl(fd, FICLONERANGE, &range) == 0 ? 0 : -errno;
  } while (result == -EINTR);
  return result;
}

/** The answer of `clone` holds for all of the two files. */
bool neverShare(int answer) {
  return answer == -EXDEV || answer == -EOPNOTSUPP || answer == -ENOTTY || answer == -ENOSYS || answer == -EPERM;
}

void fail(Outcome* outcome, MoveSide side, int32_t piece, uint64_t at, int64_t failure) {
  outcome->side = static_cast<int32_t>(side);
  outcome->piece = piece;
  outcome->failedAt = static_cast<double>(at);
  outcome->failure = static_cast<int32_t>(failure);
}

/** What a packed piece says of its cluster can be: nothing is read or allocated beyond these bounds. */
bool isPacked(const Piece& piece) {
  if (piece.fd < 0 || piece.packing < 0 || piece.packing > 1 + kZstd) return false;
  if (piece.cluster <= 0 || piece.cluster > kMaxClusterBytes || piece.stored <= 0 || piece.stored > 2 * kMaxClusterBytes) return false;
  return piece.lead >= 0 && piece.lead <= piece.cluster && piece.length <= piece.cluster - piece.lead;
}

bool sameCluster(const Piece& a, const Piece& b) {
  return a.fd == b.fd && a.offset == b.offset && a.stored == b.stored && a.packing == b.packing && a.cluster == b.cluster;
}

/** 0, or -errno. */
int check(const Request& r, Arena& arena) {
  const auto slice = static_cast<uint64_t>(r.fd2);
  if (r.length == 0 || r.length > kMaxMoveBytes || r.extra <= 0 || r.fd2 <= 0 || slice > kMaxMoveBytes) return -EINVAL;
  const auto count = static_cast<uint64_t>(r.extra);
  const auto pieces = reinterpret_cast<uint64_t>(r.data);
  const auto outcome = reinterpret_cast<uint64_t>(r.data2);
  const uint64_t granule = r.offset2;
  if (granule > slice || (granule != 0 && slice % granule != 0)) return -EINVAL;
  if (granule != 0 && (r.flags & kFlagShare) != 0) return -EINVAL;
  const uint64_t steps = granule == 0 ? 0 : (r.length + granule - 1) / granule;
  const uint64_t slices = (r.length + slice - 1) / slice;
  if (count > r.length || !arena.contains(pieces, count * kPieceBytes)) return -EFAULT;
  if (!arena.contains(outcome, kOutcomeBytes + slices * kSliceRowBytes + steps)) return -EFAULT;
  uint64_t total = 0;
  bool needsRun = false;
  for (uint64_t i = 0; i < count; i++) {
    Piece piece;
    std::memcpy(&piece, r.data + i * kPieceBytes, sizeof piece);
    if (!isOffset(piece.offset) || !isOffset(piece.length) || piece.length > static_cast<double>(r.length)) return -EINVAL;
    if (piece.to != kFromRun && !isOffset(piece.to)) return -EINVAL;
    if (piece.packed() && !isPacked(piece)) return -EINVAL;
    needsRun = needsRun || piece.to == kFromRun;
    total += static_cast<uint64_t>(piece.length);
  }
  if (total != r.length) return -EINVAL;
  return !needsRun || arena.contains(r.offset, sizeof(double)) ? 0 : -EFAULT;
}

/** A step under way: where it is in the pieces. */
class Move : public SlicedWork {
 public:
  Move(const Request& r, Faults& faults)
      : r_(r),
        faults_(faults),
        pieces_(reinterpret_cast<const Piece*>(r.data)),
        outcome_(reinterpret_cast<Outcome*>(r.data2)),
        slices_(reinterpret_cast<Slice*>(r.data2 + kOutcomeBytes)),
        sliceBytes_(static_cast<uint64_t>(r.fd2)),
        granule_(r.offset2),
        shares_((r.flags & kFlagShare) != 0) {
    const uint64_t count = (r.length + sliceBytes_ - 1) / sliceBytes_;
    map_ = r.data2 + kOutcomeBytes + count * kSliceRowBytes;
    *outcome_ = Outcome{0, static_cast<int32_t>(MoveSide::kNone), 0, 0, 0};
    Place place;
    for (uint64_t i = 0; i < count; i++) {
      slices_[i] = Slice{kFromRun, 0};
      here(place, 1);
      begins_.push_back(place);
      for (uint64_t left = lengthAt(i); left > 0;) {
        const uint64_t bytes = here(place, left);
        place.done += bytes;
        left -= bytes;
      }
    }
  }

  uint64_t sliceBytes() const override { return std::min(r_.length, sliceBytes_); }
  uint64_t sliceCount() const override { return begins_.size(); }
  bool writesUnread() const override { return shares_; }

  bool continues(uint64_t slice) const override {
    const Place& begin = begins_[slice];
    const Piece& piece = pieces_[begin.piece];
    return piece.packed() && (begin.done > 0 || (begin.piece > 0 && sameCluster(piece, pieces_[begin.piece - 1])));
  }

  ReadFault read(uint64_t slice, uint8_t* buffer) override {
    const uint64_t length = lengthAt(slice);
    const ReadFault fault = readPieces(begins_[slice], length, buffer);
    if (fault.failure == 0 && granule_ != 0) zeroMap(buffer, length, granule_, mapOf(slice));
    return fault;
  }

  bool write(uint64_t slice, uint8_t* buffer, const ReadFault& fault) override {
    if (fault.failure < 0) return failToRead(fault);
    if (buffer == nullptr) return shareSlice(begins_[slice], lengthAt(slice), slices_[slice]);
    return writePieces(begins_[slice], lengthAt(slice), buffer, granule_ == 0 ? nullptr : mapOf(slice), slices_[slice]);
  }

 private:
  /** A position in the pieces. */
  struct Place {
    int32_t piece = 0;
    uint64_t done = 0;
  };

  uint64_t lengthAt(uint64_t slice) const { return std::min(sliceBytes_, r_.length - slice * sliceBytes_); }
  uint8_t* mapOf(uint64_t slice) const { return map_ + slice * (sliceBytes_ / granule_); }
  uint64_t lengthOf(int32_t piece) const { return static_cast<uint64_t>(pieces_[piece].length); }

  /** What of the piece at `place` is left, at most `most`; pieces of nothing are passed over. */
  uint64_t here(Place& place, uint64_t most) const {
    while (place.done == lengthOf(place.piece)) place = Place{place.piece + 1, 0};
    return std::min(most, lengthOf(place.piece) - place.done);
  }

  /** Reads `length` bytes from `place` on. */
  ReadFault readPieces(Place place, uint64_t length, uint8_t* into) {
    if (into == nullptr) return atPiece(place.piece, -ENOMEM);
    for (uint64_t at = 0; at < length;) {
      const uint64_t bytes = here(place, length - at);
      const Piece& piece = pieces_[place.piece];
      ReadFault fault;
      if (piece.fd < 0) std::memset(into + at, 0, bytes);
      else if (piece.packed()) fault = unpack(place, into + at, bytes);
      else fault = readFile(place.piece, static_cast<uint64_t>(piece.offset) + place.done, into + at, bytes);
      if (fault.failure < 0) return fault;
      at += bytes;
      place.done += bytes;
    }
    return ReadFault{};
  }

  /** Reads from the file of a piece. */
  ReadFault readFile(int32_t piece, uint64_t offset, uint8_t* to, uint64_t bytes) {
    iovec one{to, bytes};
    Request read;
    read.op = kReadv;
    read.fd = pieces_[piece].fd;
    read.position = offset;
    read.iov = &one;
    read.iovCount = 1;
    transfer(read, 0, faults_);
    return read.result >= 0 ? ReadFault{} : ReadFault{read.result, MoveSide::kSource, piece, read.position};
  }

  /** Decompresses the cluster of the piece at `place`, and takes what is wanted of it. */
  ReadFault unpack(const Place& place, uint8_t* to, uint64_t bytes) {
    const Piece& piece = pieces_[place.piece];
    const auto size = static_cast<uint64_t>(piece.cluster);
    const auto stored = static_cast<uint64_t>(piece.stored);
    const bool whole = bytes == size;
    // Of a cluster that is larger than a slice, or lies in two, the rest is wanted soon, and by this thread (`continues`).
    const bool again = !whole && kept.step == number_ && sameCluster(*kept.piece, piece);
    uint8_t* const cluster = whole ? to : clusterBuffer.room(size);
    if (!again) {
      uint8_t* const in = storedBuffer.room(stored);
      if (in == nullptr || cluster == nullptr) return atPiece(place.piece, -ENOMEM);
      if (!whole) kept = Kept{};
      const ReadFault fault = readFile(place.piece, static_cast<uint64_t>(piece.offset), in, stored);
      if (fault.failure < 0) return fault;
      const int64_t answer = decompress(piece.packing - 1, in, stored, cluster, size);
      if (answer != 0) return atPiece(place.piece, answer);
    }
    if (whole) return ReadFault{};
    kept = Kept{number_, &piece};
    std::memcpy(to, cluster + static_cast<uint64_t>(piece.lead) + place.done, bytes);
    return ReadFault{};
  }

  ReadFault atPiece(int32_t piece, int64_t failure) const {
    const MoveSide side = failure == -EBADMSG ? MoveSide::kData : MoveSide::kSource;
    return ReadFault{failure, side, piece, static_cast<uint64_t>(pieces_[piece].offset)};
  }

  bool failToRead(const ReadFault& fault) {
    fail(outcome_, fault.side, fault.piece, fault.at, fault.failure);
    return false;
  }

  /** Where a piece cannot be shared, the slice's is copied at once, since the place in the run of what follows depends on it; those after it are read. */
  bool shareSlice(Place place, uint64_t length, Slice& slice) {
    for (uint64_t at = 0; at < length;) {
      const uint64_t bytes = here(place, length - at);
      const Piece& piece = pieces_[place.piece];
      const uint64_t from = static_cast<uint64_t>(piece.offset) + place.done;
      const bool fromRun = piece.to == kFromRun;
      const auto to = fromRun ? static_cast<uint64_t>(*runCursor()) : static_cast<uint64_t>(piece.to) + place.done;
      const int answer = piece.fd < 0 || piece.packed() ? -EINVAL : clone(piece.fd, from, bytes, r_.fd, to);
      if (answer != 0) {
        // EINVAL: these blocks do not line up, which says nothing of others. All else is told, if it is an error, by the copy; what no file system can
        // do with these files is not tried again.
        if (answer != -EINVAL) shares_ = false;
        if (neverShare(answer)) outcome_->unshareable = place.piece + 1;
        if (!copyPiece(place, bytes, slice)) return false;
      } else if (fromRun) {
        take(slice, bytes);
      }
      at += bytes;
      place.done += bytes;
    }
    return true;
  }

  bool copyPiece(Place place, uint64_t bytes, Slice& slice) {
    const SliceBuffer buffer(bytes);
    const ReadFault fault = readPieces(place, bytes, buffer.data());
    return fault.failure < 0 ? failToRead(fault) : writePieces(place, bytes, buffer.data(), nullptr, slice);
  }

  double* runCursor() const { return reinterpret_cast<double*>(r_.offset); }

  /** Takes the next bytes of the run; returns where they lie. */
  uint64_t take(Slice& slice, uint64_t bytes) {
    const double to = *runCursor();
    *runCursor() += static_cast<double>(bytes);
    if (slice.start == kFromRun) slice.start = to;
    slice.taken += static_cast<double>(bytes);
    return static_cast<uint64_t>(to);
  }

  bool writePieces(Place place, uint64_t length, uint8_t* data, const uint8_t* map, Slice& slice) {
    Writer writer(r_.fd, (r_.flags & kFlagReserve) != 0, faults_);
    for (uint64_t at = 0; at < length;) {
      uint64_t bytes = here(place, length - at);
      if (map != nullptr) {
        const uint64_t step = at / granule_;
        bytes = std::min(bytes, (step + 1) * granule_ - at);
        if (map[step] != 0) {
          at += bytes;
          place.done += bytes;
          continue;
        }
      }
      const Piece& piece = pieces_[place.piece];
      auto to = static_cast<uint64_t>(piece.to) + place.done;
      if (piece.to == kFromRun) to = take(slice, bytes);
      if (!writer.add(to, data + at, bytes, place.piece)) break;
      at += bytes;
      place.done += bytes;
    }
    if (writer.failure >= 0 && writer.flush()) return true;
    fail(outcome_, MoveSide::kTarget, writer.failedPiece(), writer.failedAt, writer.failure);
    return false;
  }

  const Request& r_;
  Faults& faults_;
  const Piece* const pieces_;
  Outcome* const outcome_;
  Slice* const slices_;
  const uint64_t sliceBytes_;
  const uint64_t granule_;
  bool shares_;
  const uint64_t number_ = ++steps;
  uint8_t* map_ = nullptr;
  /** Where each slice begins. */
  std::vector<Place> begins_;
};

}  // namespace

int loadMove(Request& r, Arena& arena, Faults& faults) {
  const int wrong = check(r, arena);
  if (wrong == 0) r.move = MoveQueue::enter(r.fd, std::make_unique<Move>(r, faults), (r.flags & kFlagBackground) != 0);
  return wrong;
}

void runMove(Request& r) { MoveQueue::finish(std::exchange(r.move, nullptr), r.pace); }

void withdrawMove(Request& r) { MoveQueue::withdraw(std::exchange(r.move, nullptr)); }

}  // namespace diskwright
