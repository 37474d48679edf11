// An io_uring by raw system calls, for reads and writes. Default flags: with DEFER_TASKRUN a poll on the ring's
// descriptor was seen to lose wake-ups. Used on the JavaScript thread only.
#pragma once

#include <linux/io_uring.h>

#include <cstddef>
#include <cstdint>

#include "ops.h"
#include "request.h"

namespace diskwright {

class Uring {
 public:
  explicit Uring(Faults& faults) : faults_(faults) {}
  ~Uring() { shut(); }
  /** 0, or -errno where there is no io_uring (or none that is new enough). */
  int open(unsigned entries);
  int fd() const { return fd_; }
  unsigned inRing() const { return inRing_; }
  unsigned unsubmitted() const { return unsubmitted_; }

  /** Puts what is left of a read or write into the ring; false where it is full. */
  bool queue(Request* request);
  /** Hands what was queued to the kernel. What it does not take comes back as a list: somebody else must do it. */
  RequestList flush();
  /** The next completion: its request and what it answered; nullptr when there is none now. */
  Request* reap(int64_t& answer);
  /** Cancels and waits until nothing is in flight, then takes the ring down. */
  void shut();

 private:
  io_uring_sqe* nextEntry();
  int enter(unsigned submit, unsigned wait, unsigned flags);

  Faults& faults_;
  int fd_ = -1;
  unsigned inRing_ = 0;
  unsigned unsubmitted_ = 0;
  void* rings_ = nullptr;
  size_t ringsBytes_ = 0;
  io_uring_sqe* entries_ = nullptr;
  size_t entriesBytes_ = 0;
  unsigned* sqHead_ = nullptr;
  unsigned* sqTail_ = nullptr;
  unsigned sqMask_ = 0;
  unsigned sqSize_ = 0;
  unsigned* sqArray_ = nullptr;
  unsigned* cqHead_ = nullptr;
  unsigned* cqTail_ = nullptr;
  unsigned cqMask_ = 0;
  io_uring_cqe* completions_ = nullptr;
};

}  // namespace diskwright
