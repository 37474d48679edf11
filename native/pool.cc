#include "pool.h"

#include <signal.h>

namespace diskwright {

Pool::Pool(unsigned maxThreads, Faults& faults, Done done)
    : maxThreads_(maxThreads), faults_(faults), done_(std::move(done)) {}

void Pool::push(Request* request) {
  bool alone = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (queued_ >= idle_ && threads_.size() < maxThreads_) startThread();
    alone = threads_.empty();
    if (!alone) {
      queue_.push(request);
      queued_++;
    }
  }
  if (!alone) {
    wake_.notify_one();
    return;
  }
  runBlocking(*request, faults_, stopping_);
  done_(request);
}

void Pool::startThread() {
  // Signals are for the main thread: a worker starts with all of them blocked.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const auto run = [](void* pool) -> void* {
    static_cast<Pool*>(pool)->work();
    return nullptr;
  };
  const bool started = pthread_create(&thread, nullptr, run, this) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (started) threads_.push_back(thread);
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
  for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
  threads_.clear();
}

}  // namespace diskwright
