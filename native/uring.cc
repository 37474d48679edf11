#include "uring.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace diskwright {

namespace {

template <typename T>
T* at(void* base, uint32_t offset) {
  return reinterpret_cast<T*>(static_cast<uint8_t*>(base) + offset);
}

int setup(unsigned entries, io_uring_params& params, uint32_t flags) {
  std::memset(&params, 0, sizeof params);
  params.flags = flags;
  params.cq_entries = entries * 4;
  const long fd = syscall(__NR_io_uring_setup, entries, &params);
  return fd < 0 ? -errno : static_cast<int>(fd);
}

}  // namespace

int Uring::open(unsigned entries) {
  io_uring_params params;
  uint32_t flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
#if defined(IORING_SETUP_SUBMIT_ALL)
  fd_ = setup(entries, params, flags | IORING_SETUP_SUBMIT_ALL);
  if (fd_ == -EINVAL)
#endif
    fd_ = setup(entries, params, flags);
  if (fd_ < 0) return fd_;
  // One mapping for both rings (5.4), no completion is ever dropped (5.5), plain READ and WRITE (5.6, with RW_CUR_POS).
  constexpr uint32_t kNeeded = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_RW_CUR_POS;
  if ((params.features & kNeeded) != kNeeded) {
    shut();
    return -ENOSYS;
  }
  ringsBytes_ = std::max(params.sq_off.array + params.sq_entries * sizeof(unsigned),
                         params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe));
  entriesBytes_ = params.sq_entries * sizeof(io_uring_sqe);
  constexpr int kProtection = PROT_READ | PROT_WRITE;
  constexpr int kMapping = MAP_SHARED | MAP_POPULATE;
  void* rings = mmap(nullptr, ringsBytes_, kProtection, kMapping, fd_, IORING_OFF_SQ_RING);
  void* entriesMap = mmap(nullptr, entriesBytes_, kProtection, kMapping, fd_, IORING_OFF_SQES);
  rings_ = rings == MAP_FAILED ? nullptr : rings;
  entries_ = entriesMap == MAP_FAILED ? nullptr : static_cast<io_uring_sqe*>(entriesMap);
  if (rings_ == nullptr || entries_ == nullptr) {
    shut();
    return -ENOMEM;
  }
  sqHead_ = at<unsigned>(rings_, params.sq_off.head);
  sqTail_ = at<unsigned>(rings_, params.sq_off.tail);
  sqMask_ = *at<unsigned>(rings_, params.sq_off.ring_mask);
  sqSize_ = params.sq_entries;
  sqArray_ = at<unsigned>(rings_, params.sq_off.array);
  cqHead_ = at<unsigned>(rings_, params.cq_off.head);
  cqTail_ = at<unsigned>(rings_, params.cq_off.tail);
  cqMask_ = *at<unsigned>(rings_, params.cq_off.ring_mask);
  completions_ = at<io_uring_cqe>(rings_, params.cq_off.cqes);
  return 0;
}

int Uring::enter(unsigned submit, unsigned wait, unsigned flags) {
  const long taken = syscall(__NR_io_uring_enter, fd_, submit, wait, flags, nullptr, 0);
  return taken < 0 ? -errno : static_cast<int>(taken);
}

io_uring_sqe* Uring::nextEntry() {
  const unsigned tail = *sqTail_;
  if (tail - __atomic_load_n(sqHead_, __ATOMIC_ACQUIRE) >= sqSize_) return nullptr;
  const unsigned index = tail & sqMask_;
  sqArray_[index] = index;
  __atomic_store_n(sqTail_, tail + 1, __ATOMIC_RELEASE);
  unsubmitted_++;
  std::memset(&entries_[index], 0, sizeof(io_uring_sqe));
  return &entries_[index];
}

bool Uring::queue(Request* request) {
  if (Faults::take(faults_.ringFull)) return false;
  io_uring_sqe* entry = nextEntry();
  if (entry == nullptr) return false;
  entry->fd = request->fd;
  entry->off = request->position;
  entry->user_data = reinterpret_cast<uint64_t>(request);
  const int32_t cap = faults_.maxBytes.load(std::memory_order_relaxed);
  if (request->iovCount == 1 || cap > 0) {
    const size_t length = cap > 0 ? std::min(request->iov->iov_len, static_cast<size_t>(cap)) : request->iov->iov_len;
    entry->opcode = request->isRead() ? IORING_OP_READ : IORING_OP_WRITE;
    entry->addr = reinterpret_cast<uint64_t>(request->iov->iov_base);
    entry->len = static_cast<uint32_t>(std::min(length, size_t{1} << 30));
  } else {
    entry->opcode = request->isRead() ? IORING_OP_READV : IORING_OP_WRITEV;
    entry->addr = reinterpret_cast<uint64_t>(request->iov);
    entry->len = std::min(request->iovCount, 1024U);
  }
  inRing_++;
  return true;
}

RequestList Uring::flush() {
  RequestList refused;
  while (unsubmitted_ > 0) {
    const int taken = enter(unsubmitted_, 0, 0);
    if (taken == -EINTR) continue;
    if (taken > 0) {
      unsubmitted_ -= static_cast<unsigned>(taken);
      continue;
    }
    // EAGAIN, EBUSY, or worse: the kernel reads entries only inside enter, so those behind its head are ours again.
    const unsigned tail = *sqTail_;
    for (unsigned i = tail - unsubmitted_; i != tail; i++) {
      auto* request = reinterpret_cast<Request*>(entries_[i & sqMask_].user_data);
      if (request == nullptr) continue;
      refused.push(request);
      inRing_--;
    }
    __atomic_store_n(sqTail_, tail - unsubmitted_, __ATOMIC_RELEASE);
    unsubmitted_ = 0;
  }
  return refused;
}

Request* Uring::reap(int64_t& answer) {
  for (;;) {
    const unsigned head = *cqHead_;
    if (head == __atomic_load_n(cqTail_, __ATOMIC_ACQUIRE)) return nullptr;
    const io_uring_cqe& completion = completions_[head & cqMask_];
    auto* request = reinterpret_cast<Request*>(completion.user_data);
    answer = completion.res;
    __atomic_store_n(cqHead_, head + 1, __ATOMIC_RELEASE);
    if (request == nullptr) continue;  // the answer to a cancel
    inRing_--;
    if (Faults::take(faults_.interrupts)) answer = -EINTR;
    else if (Faults::take(faults_.again)) answer = -EAGAIN;
    return request;
  }
}

void Uring::shut() {
  if (fd_ < 0) return;
  if (inRing_ > 0) {
    flush();
#if defined(IORING_ASYNC_CANCEL_ANY)
    if (io_uring_sqe* entry = nextEntry()) {
      entry->opcode = IORING_OP_ASYNC_CANCEL;
      entry->cancel_flags = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY;
      flush();
    }
#endif
  }
  // The kernel writes into our memory until each request has been answered.
  int64_t answer;
  while (inRing_ > 0) {
    while (reap(answer) != nullptr) {
    }
    if (inRing_ == 0) break;
    const int waited = enter(0, 1, IORING_ENTER_GETEVENTS);
    if (waited < 0 && waited != -EINTR && waited != -EAGAIN && waited != -EBUSY) break;
  }
  if (rings_ != nullptr) munmap(rings_, ringsBytes_);
  if (entries_ != nullptr) munmap(entries_, entriesBytes_);
  close(fd_);
  fd_ = -1;
  rings_ = nullptr;
  entries_ = nullptr;
}

}  // namespace diskwright
