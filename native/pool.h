// Worker threads with one queue, started as they are needed, none before.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "ops.h"
#include "request.h"

namespace diskwright {

class Pool {
 public:
  using Done = std::function<void(Request*)>;
  /** `done` is called on the worker. */
  Pool(unsigned maxThreads, Faults& faults, Done done);
  ~Pool() { stop(); }
  /** Where not a single thread can be had, the request is done here and now. */
  void push(Request* request);
  /** Nothing is queued or under way. */
  bool quiet() const { return pending_.load(std::memory_order_relaxed) == 0; }
  /** Forgets what is queued, waits for what has begun, ends the threads. */
  void stop();

 private:
  void work();
  void startThread();
  bool waitsForWriter(Request* request);
  Request* following(Request* request);

  const unsigned maxThreads_;
  Faults& faults_;
  const Done done_;
  std::mutex mutex_;
  std::condition_variable wake_;
  /** Buffered writes of one file, one at a time: the kernel takes the inode's lock for each, and a waiting thread spins. */
  struct Writer {
    int fd;
    RequestList waiting;
  };

  RequestList queue_;
  std::vector<Writer> writers_;
  std::atomic<unsigned> pending_{0};
  unsigned queued_ = 0;
  unsigned idle_ = 0;
  std::atomic<bool> stopping_{false};
  std::vector<pthread_t> threads_;
};

}  // namespace diskwright
