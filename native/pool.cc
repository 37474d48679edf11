#include "pool.h"

#include <pthread.h>
#include <signal.h>

namespace diskwright {

Pool::Pool(unsigned maxThreads, Faults& faults, Done done)
    : maxThreads_(maxThreads), faults_(faults), done_(std::move(done)) {}

void Pool::push(Request* request) {
  bool start = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    queue_.push(request);
    queued_++;
    start = queued_ > idle_ && threads_.size() < maxThreads_;
    if (start) {
      // Signals are for the main thread: a worker starts with all of them blocked.
      sigset_t all, before;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, &before);
      threads_.emplace_back([this] { work(); });
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
  }
  if (!start) wake_.notify_one();
}

void Pool::work() {
  for (;;) {
    Request* request;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      idle_++;
      wake_.wait(lock, [this] { return stopping_ || queue_.head != nullptr; });
      idle_--;
      if (stopping_) return;
      request = queue_.pop();
      queued_--;
    }
    runBlocking(*request, faults_, stopping_);
    done_(request);
  }
}

void Pool::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    queue_ = RequestList{};
    queued_ = 0;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace diskwright
