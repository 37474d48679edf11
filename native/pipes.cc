#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "pipes.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace diskwright {

namespace {

// What any user may have: /proc/sys/fs/pipe-max-size.
constexpr uint64_t kPipeBytes = uint64_t{1} << 20;
constexpr uint64_t kPageBytes = 4096;

/** What <linux/mman.h> has from Linux 6.5 on. */
constexpr long kCachestat = 451;
struct CachestatRange {
  uint64_t offset;
  uint64_t length;
};
struct Cachestat {
  uint64_t cached;
  uint64_t dirty;
  uint64_t writeback;
  uint64_t evicted;
  uint64_t recentlyEvicted;
};

/** True where all pages of the range are in the page cache; false also where the system does not tell (an older one, another user's file). */
bool isCached(int fd, uint64_t offset, uint64_t length) {
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  CachestatRange range{offset, length};
  Cachestat found{};
  if (syscall(kCachestat, fd, &range, &found, 0) != 0) return false;
  return found.cached >= (offset + length - 1) / page - offset / page + 1;
}

}  // namespace

Pipes::~Pipes() {
  for (uint32_t number = 1; number <= pipes_.size(); number++) close(number);
}

int Pipes::hold(int fd, uint64_t offset, uint64_t length) {
  if (length == 0 || length > kPipeBytes || offset % kPageBytes + length > kPipeBytes) return -EINVAL;
  if (Faults::take(faults_.again) || !isCached(fd, offset, length)) return -EAGAIN;
  const uint64_t before = offset % kPageBytes;
  const uint32_t number = take((before + length + kPageBytes - 1) / kPageBytes * kPageBytes);
  if (number == 0) return -ENOBUFS;
  Pipe& pipe = pipes_[number - 1];
  auto at = static_cast<loff_t>(offset);
  uint64_t held = 0;
  int failed = 0;
  while (held < length && failed == 0) {
    const int32_t cap = faults_.maxBytes.load(std::memory_order_relaxed);
    const uint64_t part = cap > 0 ? std::min<uint64_t>(length - held, static_cast<uint64_t>(cap)) : length - held;
    const ssize_t moved = splice(fd, &at, pipe.to, nullptr, part, SPLICE_F_NONBLOCK);
    if (moved > 0) held += static_cast<uint64_t>(moved);
    // The end of the file: what lies behind it is zeroes, which no page holds.
    else if (moved == 0) failed = -ENODATA;
    else if (errno != EINTR) failed = -errno;
  }
  pipe.bytes = held;
  pipe.state = State::kHeld;
  if (failed == 0) return static_cast<int>(number);
  drop(number);
  return failed;
}

bool Pipes::claim(uint32_t number, uint64_t length) {
  Pipe* pipe = find(number);
  if (pipe == nullptr || pipe->state != State::kHeld || pipe->bytes != length) return false;
  pipe->state = State::kClaimed;
  return true;
}

ssize_t Pipes::send(uint32_t number, int socket, size_t left) {
  Pipe& pipe = pipes_[number - 1];
  const ssize_t moved = splice(pipe.from, nullptr, socket, nullptr, left, SPLICE_F_NONBLOCK);
  if (moved < 0) return -errno;
  pipe.bytes -= static_cast<uint64_t>(moved);
  if (pipe.bytes == 0) release(number);
  return moved;
}

void Pipes::drop(uint32_t number) {
  Pipe* pipe = find(number);
  if (pipe == nullptr || pipe->state == State::kClosed || pipe->state == State::kFree) return;
  if (pipe->bytes > 0) close(number);
  else release(number);
}

void Pipes::rest() {
  if (free_.empty() || free_.size() + closed_.size() < pipes_.size()) return;
  for (const uint32_t number : free_) close(number);
  free_.clear();
}

/** An empty pipe with room for so many bytes, in whole pages; 0 where there is none. */
uint32_t Pipes::take(uint64_t room) {
  uint32_t number = 0;
  if (!free_.empty()) {
    number = free_.back();
    if (!grow(pipes_[number - 1], room)) return 0;
    free_.pop_back();
    return number;
  }
  if (refused_ || (closed_.empty() && pipes_.size() == kMost)) return 0;
  if (closed_.empty()) {
    pipes_.emplace_back();
    closed_.push_back(static_cast<uint32_t>(pipes_.size()));
  }
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return 0;
  number = closed_.back();
  closed_.pop_back();
  Pipe& pipe = pipes_[number - 1];
  pipe = Pipe{ends[0], ends[1], State::kFree, 0, 0};
  if (grow(pipe, room)) return number;
  close(number);
  // Until one of this process is closed. Where there is none, others of this user have them all, and may give them back at any time.
  refused_ = closed_.size() < pipes_.size();
  return 0;
}

bool Pipes::grow(Pipe& pipe, uint64_t room) {
  if (pipe.room >= room) return true;
  const int made = fcntl(pipe.to, F_SETPIPE_SZ, static_cast<int>(room));
  if (made > 0) pipe.room = static_cast<uint64_t>(made);
  return pipe.room >= room;
}

void Pipes::release(uint32_t number) {
  pipes_[number - 1].state = State::kFree;
  free_.push_back(number);
}

void Pipes::close(uint32_t number) {
  Pipe& pipe = pipes_[number - 1];
  if (pipe.state == State::kClosed) return;
  ::close(pipe.from);
  ::close(pipe.to);
  pipe = Pipe{};
  closed_.push_back(number);
  refused_ = false;
}

}  // namespace diskwright
