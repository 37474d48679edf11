#include "pool.h"

#include "thread.h"

namespace diskwright {

namespace {

bool takesTurns(const Request& request) { return request.isTransfer() && !request.isRead() && !request.direct(); }

}  // namespace

Pool::Pool(unsigned maxThreads, Faults& faults, Done done)
    : maxThreads_(maxThreads), faults_(faults), done_(std::move(done)) {}

void Pool::push(Request* request) {
  bool alone = false;
  pending_.fetch_add(1, std::memory_order_relaxed);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (waitsForWriter(request)) return;
    if (queued_ >= idle_ && threads_.size() < maxThreads_) startThread();
    alone = threads_.empty();
    if (!alone) {
      if (takesTurns(*request)) writers_.push_back(Writer{request->fd, {}});
      queue_.push(request);
      queued_++;
    }
  }
  if (!alone) {
    wake_.notify_one();
    return;
  }
  runBlocking(*request, faults_, stopping_);
  pending_.fetch_sub(1, std::memory_order_relaxed);
  done_(request);
}

/** Puts a buffered write behind the one of the same file that is queued or under way, if there is one. */
bool Pool::waitsForWriter(Request* request) {
  if (!takesTurns(*request)) return false;
  for (Writer& writer : writers_) {
    if (writer.fd != request->fd) continue;
    writer.waiting.push(request);
    return true;
  }
  return false;
}

/** The write that waits for this one; null where none does. */
Request* Pool::following(Request* request) {
  if (!takesTurns(*request)) return nullptr;
  std::lock_guard<std::mutex> lock(mutex_);
  for (size_t i = 0; i < writers_.size(); i++) {
    if (writers_[i].fd != request->fd) continue;
    Request* next = stopping_ ? nullptr : writers_[i].waiting.pop();
    if (next == nullptr) writers_.erase(writers_.begin() + static_cast<std::ptrdiff_t>(i));
    return next;
  }
  return nullptr;
}

void Pool::startThread() {
  const auto run = [](void* pool) -> void* {
    static_cast<Pool*>(pool)->work();
    return nullptr;
  };
  startWorker(threads_, run, this);
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
    while (request != nullptr) {
      runBlocking(*request, faults_, stopping_);
      Request* next = following(request);
      pending_.fetch_sub(1, std::memory_order_relaxed);
      done_(request);
      request = next;
    }
  }
}

void Pool::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    queue_ = RequestList{};
    writers_.clear();
    queued_ = 0;
  }
  wake_.notify_all();
  for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
  threads_.clear();
}

}  // namespace diskwright
