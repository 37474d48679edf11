#include "background.h"

#include <sys/prctl.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "thread.h"

namespace diskwright {

namespace {

constexpr unsigned kMaxThreads = 8;
constexpr unsigned kAtOnce = 4;
constexpr unsigned kAtOnceIntoOneFile = 4;
/** One more than are at work: it looks after those that take long. */
constexpr unsigned kUsualThreads = kAtOnce + 1;
/** A step that has begun so long ago waits for its file. */
constexpr uint64_t kLongNs = 250000000;
constexpr std::chrono::milliseconds kLookAgain{100};
/** Guests are there for so long after a request. */
constexpr uint64_t kGuestNs = 500000;
/** A worker rests so many times as long as it has worked: a ninth of a processor is for jobs. */
constexpr uint64_t kRestTimes = 8;
constexpr uint64_t kMaxRestNs = 20000000;

/** Of this thread's processor time, what it has rested for. */
thread_local uint64_t counted;

uint64_t nsOf(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000 + static_cast<uint64_t>(now.tv_nsec);
}

void sleepNs(uint64_t ns) {
  timespec left{0, static_cast<long>(ns)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

}  // namespace

bool Pace::guestsAreThere() {
  const uint32_t count = __atomic_load_n(guests_, __ATOMIC_RELAXED);
  const uint64_t now = nsOf(CLOCK_MONOTONIC);
  if (seen_.exchange(count, std::memory_order_relaxed) != count) lastNs_.store(now, std::memory_order_relaxed);
  const uint64_t last = lastNs_.load(std::memory_order_relaxed);
  return last != 0 && now - std::min(now, last) < kGuestNs;
}

uint64_t Pace::dueNs() {
  const uint64_t now = nsOf(CLOCK_THREAD_CPUTIME_ID);
  const uint64_t since = now - std::exchange(counted, now);
  return guestsAreThere() ? std::min(since * kRestTimes, kMaxRestNs) : 0;
}

void Pace::rest(uint64_t ns) { sleepNs(ns); }

Background::Background(unsigned processors, const uint32_t* guests, Faults& faults, Done done)
    : besideGuests_(std::clamp(processors / 2, 1U, kAtOnce)), pace_(guests), faults_(faults), done_(std::move(done)) {}

void Background::push(Request* request) {
  request->pace = &pace_;
  bool alone = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (queue_.size() >= idle_ && threads_.size() < kUsualThreads) startThread();
    alone = threads_.empty();
    if (!alone) {
      queue_.push_back(request);
      // Also where it may not begin yet: somebody has to look again.
      wake_.notify_one();
    }
  }
  if (!alone) return;
  request->pace = nullptr;
  runBlocking(*request, faults_, stopping_);
  done_(request);
}

void Background::startThread() {
  const auto run = [](void* background) -> void* {
    static_cast<Background*>(background)->work();
    return nullptr;
  };
  startWorker(threads_, run, this);
}

unsigned Background::stepsInto(int fd) const {
  return static_cast<unsigned>(
      std::count_if(underWay_.begin(), underWay_.end(), [fd](const Step& step) { return step.request->fd == fd; }));
}

/** Fewer steps are at work than may be. */
bool Background::mayBegin() {
  const uint64_t now = nsOf(CLOCK_MONOTONIC);
  const auto atWork = std::count_if(underWay_.begin(), underWay_.end(),
                                    [now](const Step& step) { return now - step.sinceNs < kLongNs; });
  return static_cast<unsigned>(atWork) < (pace_.guestsAreThere() ? besideGuests_ : kAtOnce);
}

/** Takes the first step that may begin out of the queue; null where none may. */
Request* Background::next() {
  if (queue_.empty() || !mayBegin()) return nullptr;
  const auto found = std::find_if(queue_.begin(), queue_.end(),
                                  [this](const Request* request) { return stepsInto(request->fd) < kAtOnceIntoOneFile; });
  if (found == queue_.end()) return nullptr;
  Request* const request = *found;
  queue_.erase(found);
  return request;
}

/** Another worker takes what may begin. Where nothing may, those that end take it. */
void Background::wakeOne() {
  if (!queue_.empty() && mayBegin()) wake_.notify_one();
}

/** Holds a step up while the test's fault `heldSteps` says so. */
void Background::standStill() {
  const uint32_t since = faults_.settings.load();
  if (!Faults::take(faults_.heldSteps)) return;
  while (faults_.settings.load() == since && !stopping_) sleepNs(1000000);
}

void Background::work() {
  // A rest is to end when it should, not up to 50 us later.
  prctl(PR_SET_TIMERSLACK, 1);
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    Request* request = nullptr;
    idle_++;
    while (!stopping_ && (request = next()) == nullptr) {
      // A step that turns out to take long, and guests that go away, wake nobody: whoever is idle looks again while something is queued.
      if (queue_.empty()) wake_.wait(lock);
      // By the system's clock: waiting by another one needs glibc 2.30, and node runs with 2.28.
      else wake_.wait_until(lock, std::chrono::system_clock::now() + kLookAgain);
    }
    idle_--;
    if (stopping_) return;
    const auto step = underWay_.insert(underWay_.end(), Step{request, nsOf(CLOCK_MONOTONIC)});
    if (!queue_.empty() && idle_ == 0 && threads_.size() < kMaxThreads) startThread();
    wakeOne();
    lock.unlock();
    standStill();
    runBlocking(*request, faults_, stopping_);
    lock.lock();
    underWay_.erase(step);
    lock.unlock();
    done_(request);
    lock.lock();
  }
}

void Background::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    queue_.clear();
  }
  wake_.notify_all();
  for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
  threads_.clear();
}

}  // namespace diskwright
