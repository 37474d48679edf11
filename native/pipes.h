// Bytes of files on their way to sockets, without being copied: a pipe holds the pages of the page cache until they are sent.
//
//   hold(file, offset, length) -> number of a pipe, with exactly these bytes -> send(number, socket, bytes left), until none is left
//                                                                           \-> drop(number)
//
// Only what the page cache holds already is taken: the JavaScript thread does not wait for a disk, unless a page goes in that moment. What was taken cannot fail any more. JavaScript thread only.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "ops.h"

namespace diskwright {

class Pipes {
 public:
  /** An ordinary user may have 64 of this size in all (/proc/sys/fs/pipe-user-pages-soft). */
  static constexpr size_t kMost = 16;
  explicit Pipes(Faults& faults) : faults_(faults) {}
  ~Pipes();
  Pipes(const Pipes&) = delete;
  Pipes& operator=(const Pipes&) = delete;

  /**
   * The number of a pipe (from 1 on) that holds [offset, offset + length) of `fd`; or -EAGAIN where not all of it is in the page cache, -ENOBUFS where no pipe
   * is free, or what the system says. `length` is not 0, and with the part of its first page that lies before it at most `kPipeBytes`.
   */
  int hold(int fd, uint64_t offset, uint64_t length);
  /** True where `number` is a pipe with `length` bytes that nobody has claimed; it is the caller's from now on. */
  bool claim(uint32_t number, uint64_t length);
  /** Bytes that went to `socket`, or -errno. A claimed pipe is free again when `left`, all that it holds, has gone. */
  ssize_t send(uint32_t number, int socket, size_t left);
  /** Forgets what a pipe holds; it is free again. Another number does nothing. */
  void drop(uint32_t number);
  /** Gives the pipes back to the system, where none of them holds anything: a user has few. */
  void rest();

 private:
  enum class State { kClosed, kFree, kHeld, kClaimed };
  struct Pipe {
    int from = -1;  // what was taken is read here
    int to = -1;
    State state = State::kClosed;
    uint64_t room = 0;   // bytes, in whole pages
    uint64_t bytes = 0;  // that it holds
  };

  Pipe* find(uint32_t number) { return number > 0 && number <= pipes_.size() ? &pipes_[number - 1] : nullptr; }
  uint32_t take(uint64_t room);
  bool grow(Pipe& pipe, uint64_t room);
  void release(uint32_t number);
  void close(uint32_t number);

  Faults& faults_;
  std::vector<Pipe> pipes_;
  std::vector<uint32_t> free_;    // open and empty ones, the last one used last
  std::vector<uint32_t> closed_;  // numbers
  bool refused_ = false;          // this user has as many as one may have
};

}  // namespace diskwright
