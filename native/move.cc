#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "move.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "bytes.h"
#include "codecs.h"
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
  int32_t apart;
};
static_assert(sizeof(Outcome) == kOutcomeBytes);

struct Slice {
  double start;
  double taken;
};
static_assert(sizeof(Slice) == kSliceRowBytes);

thread_local WorkerBuffer buffer;
thread_local WorkerBuffer storedBuffer;
thread_local WorkerBuffer clusterBuffer;

/** A slice that is ready to be written; its worker waits for that. */
struct Ready {
  std::function<bool()> write;
  bool wrote = false;
  bool written = false;
  /** Its worker is to go on with the writing. */
  bool promoted = false;
  std::condition_variable changed;
};

/**
 * Who writes to a file. The worker that finds nobody writing does so for all that come meanwhile: they sleep until their slice is written, and
 * the writer never waits for one of them to wake (about 50 us each, which was a sixth of a copy's time).
 */
class Turn {
 public:
  /** Has `mine` written, by this worker or another; true where that went well. */
  bool write(Ready& mine) {
    std::unique_lock<std::mutex> lock(mutex_);
    ready_.push_back(&mine);
    if (writing_) {
      mine.changed.wait(lock, [&mine] { return mine.written || mine.promoted; });
      if (mine.written) return mine.wrote;
    }
    writing_ = true;
    for (int count = 0; !ready_.empty(); count++) {
      if (mine.written && count >= kMaxAtOnce) {
        // Another one goes on: the request of this worker is to be answered.
        ready_.front()->promoted = true;
        ready_.front()->changed.notify_one();
        return mine.wrote;
      }
      Ready* const next = ready_.front();
      ready_.pop_front();
      lock.unlock();
      next->wrote = next->write();
      lock.lock();
      next->written = true;
      if (next != &mine) next->changed.notify_one();
    }
    writing_ = false;
    return mine.wrote;
  }

 private:
  static constexpr int kMaxAtOnce = 16;
  std::mutex mutex_;
  std::deque<Ready*> ready_;
  bool writing_ = false;
};

/** By the file's descriptor. Two files that share one only wait for each other. */
Turn& turnOf(int fd) {
  static std::array<Turn, 64> turns;
  return turns[static_cast<unsigned>(fd) % turns.size()];
}

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

}  // namespace

int loadMove(const Request& r, Arena& arena) {
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

namespace {

/** A step under way: where it is in the pieces. */
class Move {
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
    sliceCount_ = (r.length + sliceBytes_ - 1) / sliceBytes_;
    map_ = r.data2 + kOutcomeBytes + sliceCount_ * kSliceRowBytes;
  }

  void run() {
    *outcome_ = Outcome{0, static_cast<int32_t>(MoveSide::kNone), 0, 0, 0};
    for (uint64_t i = 0; i < sliceCount_; i++) slices_[i] = Slice{kFromRun, 0};
    data_ = buffer.room(std::min(r_.length, sliceBytes_));
    if (data_ == nullptr) {
      fail(outcome_, MoveSide::kSource, 0, static_cast<uint64_t>(pieces_[0].offset), -ENOMEM);
      return;
    }
    for (uint64_t i = 0; i < sliceCount_; i++) {
      const uint64_t length = std::min(sliceBytes_, r_.length - i * sliceBytes_);
      const Place begin = place_;
      if (shares_) {
        Shared shared = Shared::kNothing;
        Ready sharing;
        sharing.write = [&] {
          shared = shareSlice(begin, length, slices_[i]);
          return shared != Shared::kFailed;
        };
        if (!turnOf(r_.fd).write(sharing)) return;
        if (shared == Shared::kAll) continue;
      }
      if (!readSlice(length)) return;
      uint8_t* const map = granule_ == 0 ? nullptr : map_ + i * (sliceBytes_ / granule_);
      if (map != nullptr) zeroMap(data_, length, granule_, map);
      Ready ready;
      ready.write = [&] { return writeSlice(begin, length, map, slices_[i]); };
      if (!turnOf(r_.fd).write(ready)) return;
    }
  }

 private:
  /** A position in the pieces. */
  struct Place {
    int32_t piece = 0;
    uint64_t done = 0;
  };

  uint64_t lengthOf(int32_t piece) const { return static_cast<uint64_t>(pieces_[piece].length); }

  /** What of the piece at `place` is left, at most `most`; pieces of nothing are passed over. */
  uint64_t here(Place& place, uint64_t most) const {
    while (place.done == lengthOf(place.piece)) place = Place{place.piece + 1, 0};
    return std::min(most, lengthOf(place.piece) - place.done);
  }

  bool readSlice(uint64_t length) {
    for (uint64_t at = 0; at < length;) {
      const uint64_t bytes = here(place_, length - at);
      const Piece& piece = pieces_[place_.piece];
      uint8_t* const to = data_ + at;
      const uint64_t done = place_.done;
      at += bytes;
      place_.done += bytes;
      if (piece.fd < 0) std::memset(to, 0, bytes);
      else if (piece.packed()) {
        if (!unpack(piece, static_cast<uint64_t>(piece.lead) + done, to, bytes)) return false;
      } else if (!read(piece, static_cast<uint64_t>(piece.offset) + done, to, bytes)) return false;
    }
    return true;
  }

  /** Reads from the file of `piece`, which is the one at `place_`. */
  bool read(const Piece& piece, uint64_t offset, uint8_t* to, uint64_t bytes) {
    iovec one{to, bytes};
    Request read;
    read.op = kReadv;
    read.fd = piece.fd;
    read.position = offset;
    read.iov = &one;
    read.iovCount = 1;
    transfer(read, 0, faults_);
    if (read.result >= 0) return true;
    fail(outcome_, MoveSide::kSource, place_.piece, read.position, read.result);
    return false;
  }

  /** Decompresses the cluster of `piece`, and takes its bytes from `lead` on. */
  bool unpack(const Piece& piece, uint64_t lead, uint8_t* to, uint64_t bytes) {
    const auto size = static_cast<uint64_t>(piece.cluster);
    const auto stored = static_cast<uint64_t>(piece.stored);
    // Of a cluster that is larger than a slice, or lies in two, the rest is wanted soon.
    const bool again = kept_ != nullptr && kept_->fd == piece.fd && kept_->offset == piece.offset &&
                       kept_->stored == piece.stored && kept_->packing == piece.packing && kept_->cluster == piece.cluster;
    const bool whole = bytes == size;
    uint8_t* const cluster = whole ? to : clusterBuffer.room(size);
    if (!again || whole) {
      uint8_t* const in = storedBuffer.room(stored);
      if (in == nullptr || cluster == nullptr) {
        fail(outcome_, MoveSide::kSource, place_.piece, static_cast<uint64_t>(piece.offset), -ENOMEM);
        return false;
      }
      if (!whole) kept_ = nullptr;
      if (!read(piece, static_cast<uint64_t>(piece.offset), in, stored)) return false;
      const int64_t answer = decompress(piece.packing - 1, in, stored, cluster, size);
      if (answer != 0) {
        const MoveSide side = answer == -EBADMSG ? MoveSide::kData : MoveSide::kSource;
        fail(outcome_, side, place_.piece, static_cast<uint64_t>(piece.offset), answer);
        return false;
      }
    }
    if (whole) return true;
    kept_ = &piece;
    std::memcpy(to, cluster + lead, bytes);
    return true;
  }

  enum class Shared { kNothing, kAll, kFailed };

  /** By whoever writes to the file. What cannot be shared behind what was is copied at once, since its place in the run follows. */
  Shared shareSlice(Place place, uint64_t length, Slice& slice) {
    for (uint64_t at = 0; at < length;) {
      const uint64_t bytes = here(place, length - at);
      const Piece& piece = pieces_[place.piece];
      const uint64_t from = static_cast<uint64_t>(piece.offset) + place.done;
      const bool fromRun = piece.to == kFromRun;
      const auto to = fromRun ? static_cast<uint64_t>(*runCursor()) : static_cast<uint64_t>(piece.to) + place.done;
      const int answer = shares_ && piece.fd >= 0 && !piece.packed() ? clone(piece.fd, from, bytes, r_.fd, to) : -EINVAL;
      if (answer != 0) {
        // EINVAL: these blocks do not line up, which says nothing of others. All else is told, if it is an error, by the copy; what no file system can
        // do with these files is not tried again.
        if (answer != -EINVAL) shares_ = false;
        if (neverShare(answer)) outcome_->apart = place.piece + 1;
        if (at == 0) return Shared::kNothing;
        place_ = place;
        if (!readSlice(bytes) || !writeSlice(place, bytes, nullptr, slice)) return Shared::kFailed;
      } else if (fromRun) {
        take(slice, bytes);
      }
      at += bytes;
      place.done += bytes;
    }
    place_ = place;
    return Shared::kAll;
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

  /** By whoever writes to the file, while this worker waits. */
  bool writeSlice(Place place, uint64_t length, const uint8_t* map, Slice& slice) {
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
      if (!writer.add(to, data_ + at, bytes, place.piece)) break;
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
  uint64_t sliceCount_ = 0;
  uint8_t* map_ = nullptr;
  uint8_t* data_ = nullptr;
  /** The piece whose cluster is in the worker's buffer for one. */
  const Piece* kept_ = nullptr;
  Place place_;
};

}  // namespace

void runMove(const Request& r, Faults& faults) { Move(r, faults).run(); }

}  // namespace diskwright
