#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ops.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "bytes.h"
#include "cipher.h"
#include "codecs.h"
#include "compare.h"
#include "files.h"
#include "move.h"

namespace diskwright {

namespace {

constexpr unsigned kMaxIov = 1024;
constexpr int kMaxAgain = 2000;  // times 1 ms: a worker's patience with EAGAIN
constexpr uint64_t kCopyStep = uint64_t{64} << 20;

void sleepMs(int ms) {
  timespec left{ms / 1000, (ms % 1000) * 1000000L};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

void zeroRest(Request& request) {
  for (; request.iovCount > 0; request.iov++, request.iovCount--) {
    std::memset(request.iov->iov_base, 0, request.iov->iov_len);
  }
}

int64_t callOnce(Request& request, int rwf, Faults& faults) {
  if (Faults::take(faults.interrupts)) return -EINTR;
  const off_t offset = static_cast<off_t>(request.position);
  const iovec* iov = request.iov;
  int count = static_cast<int>(std::min(request.iovCount, kMaxIov));
  iovec capped{};
  const int32_t cap = faults.maxBytes.load(std::memory_order_relaxed);
  if (cap > 0) {
    capped = *request.iov;
    capped.iov_len = std::min(capped.iov_len, static_cast<size_t>(cap));
    iov = &capped;
    count = 1;
  }
  ssize_t moved;
  if (request.isRead()) {
    if ((rwf & RWF_NOWAIT) != 0 && Faults::take(faults.again)) return -EAGAIN;
    moved = preadv2(request.fd, iov, count, offset, rwf);
  } else {
    moved = pwritev2(request.fd, iov, count, offset, rwf);
  }
  return moved < 0 ? -errno : moved;
}

int64_t copyRange(Request& request, const std::atomic<bool>& stopping) {
  auto from = static_cast<loff_t>(request.offset);
  auto to = static_cast<loff_t>(request.offset2);
  uint64_t done = 0;
  while (done < request.length && !stopping.load(std::memory_order_relaxed)) {
    const size_t step = std::min(request.length - done, kCopyStep);
    const ssize_t moved = copy_file_range(request.fd, &from, request.fd2, &to, step, 0);
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) return done > 0 ? static_cast<int64_t>(done) : -errno;
    if (moved == 0) break;
    done += static_cast<uint64_t>(moved);
  }
  return static_cast<int64_t>(done);
}

int64_t blockIoctl(const Request& request, unsigned long command) {
  uint64_t range[2] = {request.offset, request.length};
  return ioctl(request.fd, command, range) == 0 ? 0 : -errno;
}

template <typename Call>
int64_t untilNotInterrupted(Call call) {
  int64_t result;
  do {
    result = call() == 0 ? 0 : -errno;
  } while (result == -EINTR);
  return result;
}

int64_t runOther(Request& r, Faults& faults, const std::atomic<bool>& stopping) {
  switch (r.op) {
    case kDataSync:
      return untilNotInterrupted([&] { return fdatasync(r.fd); });
    case kTruncate:
      return untilNotInterrupted([&] { return ftruncate(r.fd, static_cast<off_t>(r.offset)); });
    case kFallocate:
      return untilNotInterrupted([&] {
        return fallocate(r.fd, r.extra, static_cast<off_t>(r.offset), static_cast<off_t>(r.length));
      });
    case kWriteback:
      return sync_file_range(r.fd, static_cast<off64_t>(r.offset), static_cast<off64_t>(r.length), SYNC_FILE_RANGE_WRITE) == 0
                 ? 0
                 : -errno;
    case kCopyRange:
      return copyRange(r, stopping);
    case kOpen: {
      const OpenedFile file = openFile(reinterpret_cast<const char*>(r.data), r.extra);
      const uint32_t findings[3] = {file.memoryAlign, file.offsetAlign, file.type};
      std::memcpy(r.data2, findings, sizeof findings);
      return file.fd;
    }
    case kClose:
      // Linux has closed the descriptor even where close() was interrupted.
      return close(r.fd) == 0 || errno == EINTR ? 0 : -errno;
    case kBlockDiscard:
      return blockIoctl(r, BLKDISCARD);
    case kBlockZeroOut:
      return blockIoctl(r, BLKZEROOUT);
    case kCompress:
      return compress(r.fd, r.extra, r.data, r.length, r.data2, r.offset2);
    case kDecompress:
      return decompress(r.fd, r.data, r.length, r.data2, r.offset2);
    case kCipher:
      return runCipher(r.fd, r.extra != 0, r.offset, r.data, r.data2, r.length);
    case kDerive: {
      const auto saltBytes = static_cast<size_t>(r.extra);
      return deriveKey(static_cast<Hash>(r.fd), r.data, r.length, r.data2, saltBytes, r.offset, r.data2 + saltBytes, r.offset2);
    }
    case kMove:
      runMove(r);
      return 0;
    case kCompare:
      runCompare(r, faults);
      return 0;
    default:
      return -ENOSYS;
  }
}

}  // namespace

bool Faults::take(std::atomic<int32_t>& count) {
  if (count.load(std::memory_order_relaxed) <= 0) return false;
  return count.fetch_sub(1, std::memory_order_relaxed) > 0;
}

bool transferred(Request& request, int64_t answer) {
  if (answer < 0) {
    request.result = answer;
    return true;
  }
  if (answer == 0) {
    // The end of the file: what lies behind it reads as zeroes. A write that moves nothing has no excuse.
    if (request.isRead()) zeroRest(request);
    request.result = request.isRead() ? 0 : -EIO;
    return true;
  }
  request.advance(static_cast<uint64_t>(answer));
  const bool odd = (static_cast<uint64_t>(answer) & (request.alignment() - 1)) != 0;
  if (request.iovCount > 0 && request.direct() && request.isRead() && odd) {
    // O_DIRECT stops in the middle of a block only at the end of the file; going on from there would be refused.
    zeroRest(request);
  }
  request.result = 0;
  return request.iovCount == 0;
}

Step transfer(Request& request, int rwf, Faults& faults) {
  int again = 0;
  while (request.iovCount > 0) {
    const int64_t answer = callOnce(request, rwf, faults);
    if (answer == -EINTR) continue;
    if ((rwf & RWF_NOWAIT) != 0 && (answer == -EAGAIN || answer == -EOPNOTSUPP)) return Step::kWouldBlock;
    if (answer == -EAGAIN && again++ < kMaxAgain) {
      sleepMs(1);
      continue;
    }
    if (transferred(request, answer)) break;
  }
  return Step::kDone;
}

void scanForZeroes(Request& request) {
  if ((request.flags & kFlagScan) == 0 || request.result < 0) return;
  zeroMap(request.data, request.length, static_cast<size_t>(request.extra), request.data2);
}

void runBlocking(Request& request, Faults& faults, const std::atomic<bool>& stopping) {
  const int32_t delay = faults.delayMs.load(std::memory_order_relaxed);
  if (delay > 0) sleepMs(delay);
  if (!request.isTransfer()) {
    request.result = runOther(request, faults, stopping);
    return;
  }
  transfer(request, 0, faults);
  scanForZeroes(request);
}

}  // namespace diskwright
