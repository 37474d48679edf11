#include "engine.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

#include "cipher.h"
#include "compare.h"
#include "move.h"

namespace diskwright {

namespace {

// Cold reads up to this go to the ring; larger ones run side by side on workers.
constexpr uint64_t kRingReadMax = 128 << 10;
constexpr uint64_t kInlineWriteMax = 64 << 10;
// All that one submit copies inline: about a millisecond.
constexpr uint64_t kInlineBudget = 4 << 20;
// So many requests go to the ring with one system call: the device is to begin with the first ones while the others are handed over.
constexpr unsigned kRingChunk = 2;
// So many of the ring's answers are delivered before the others: the device is to begin with what they bring while JavaScript is busy with the rest.
constexpr unsigned kFirstAnswers = 4;
// A buffered write that took longer was throttled by the kernel: for a while, writes go to the workers.
constexpr uint64_t kStallNs = 1000000;
constexpr uint64_t kStallPauseNs = 50000000;
constexpr uint64_t kMaxTransfer = uint64_t{1} << 40;
constexpr uint64_t kMaxCodecBytes = uint64_t{1} << 30;
constexpr uint64_t kMaxSecretBytes = uint64_t{1} << 20;
// So much is encrypted or decrypted on the JavaScript thread: a hand-over to a worker takes longer.
constexpr uint64_t kInlineCipherMax = 16 << 10;
constexpr int kMaxVector = 1 << 16;
constexpr unsigned kMaxRingEntries = 1024;
constexpr unsigned kDirectThreads = 16;

const std::atomic<bool> kNotStopping{false};

/** Calls that an engine makes itself where its program has nothing else to do, as those of `opensFile`: a hand-over to a worker takes longer than most of them. */
bool changesFile(const Request& request) {
  switch (request.op) {
    case kTruncate:
    case kFallocate:
    case kDataSync:
      return true;
    default:
      return false;
  }
}

bool opensFile(const Request& request) { return request.op == kOpen || request.op == kClose; }

/** Asked for once: the C library reads a file for it. */
unsigned cores() {
  static const unsigned count = std::max(1U, std::thread::hardware_concurrency());
  return count;
}

int32_t int32At(const uint8_t* at) {
  int32_t value;
  std::memcpy(&value, at, 4);
  return value;
}

/** A double that holds a whole number from 0 to 2^63; anything else becomes UINT64_MAX, which fails every check. */
uint64_t wholeAt(const uint8_t* at) {
  double value;
  std::memcpy(&value, at, 8);
  if (!(value >= 0 && value < 9223372036854775808.0)) return UINT64_MAX;
  return static_cast<uint64_t>(value);
}

}  // namespace

Engine::Engine(uv_loop_t* loop, const Tables& tables, OnBatch onBatch)
    : loop_(loop), tables_(tables), onBatch_(std::move(onBatch)), requests_(tables.slots), busy_(tables.slots) {
  for (uint32_t i = 0; i < tables.slots; i++) requests_[i].slot = i;
}

Engine::~Engine() = default;

int Engine::start(bool wantRing, uint64_t inlineReadMax, bool waits, bool opens) {
  inlineReadMax_ = inlineReadMax;
  waits_ = waits;
  opens_ = opens;
  if (wantRing) {
    ring_ = std::make_unique<Uring>(faults_);
    const int failed = ring_->open(std::min(tables_.slots, kMaxRingEntries));
    if (failed != 0) {
      ring_.reset();
      return failed;
    }
  }
  const Pool::Done done = [this](Request* request) { workerDone(request); };
  workers_ = std::make_unique<Pool>(std::min(4U, cores() * 2), faults_, done);
  codecWorkers_ = std::make_unique<Pool>(cores(), faults_, done);
  background_ = std::make_unique<Background>(cores(), tables_.guests, faults_, done);
  if (!ring_) directWorkers_ = std::make_unique<Pool>(kDirectThreads, faults_, done);
  const int failed = uv_async_init(loop_, &async_, onAsync);
  if (failed != 0) return failed;
  open_ = true;
  async_.data = this;
  uv_unref(reinterpret_cast<uv_handle_t*>(&async_));
  handles_ = 1;
  if (ring_) {
    const int unwatched = uv_poll_init(loop_, &poll_, ring_->fd());
    if (unwatched != 0) {
      ring_.reset();
      close([] {});
      return unwatched;
    }
    poll_.data = this;
    uv_poll_start(&poll_, UV_READABLE, onPoll);
    uv_unref(reinterpret_cast<uv_handle_t*>(&poll_));
    handles_ = 2;
  }
  return 0;
}

int Engine::load(Request& r, const uint8_t* d) {
  r.op = int32At(d);
  r.fd = int32At(d + 4);
  r.offset = wholeAt(d + 8);
  const uint64_t address = wholeAt(d + 16);
  r.length = wholeAt(d + 24);
  r.flags = int32At(d + 32);
  r.extra = int32At(d + 36);
  r.offset2 = wholeAt(d + 40);
  const uint64_t address2 = wholeAt(d + 48);
  r.fd2 = int32At(d + 56);
  r.data = reinterpret_cast<uint8_t*>(address);
  r.data2 = reinterpret_cast<uint8_t*>(address2);
  r.position = r.offset;
  r.result = 0;
  r.pace = nullptr;
  if (r.offset > INT64_MAX || r.length > INT64_MAX || r.offset2 > INT64_MAX) return -EINVAL;
  if (r.length > INT64_MAX - r.offset) return -EFBIG;
  switch (r.op) {
    case kRead:
    case kWrite:
      if (r.length > kMaxTransfer || !arena_.contains(address, r.length)) return -EFAULT;
      if ((r.flags & kFlagScan) != 0) {
        if (r.extra <= 0) return -EINVAL;
        const uint64_t steps = (r.length + r.extra - 1) / static_cast<uint64_t>(r.extra);
        if (!arena_.contains(address2, steps)) return -EFAULT;
      }
      r.one = iovec{r.data, r.length};
      r.iov = &r.one;
      r.iovCount = r.length > 0 ? 1 : 0;
      return 0;
    case kReadv:
    case kWritev:
      return loadVector(r);
    case kOpen:
      if (!arena_.contains(address, r.length + 1) || !arena_.contains(address2, 12)) return -EFAULT;
      return r.data[r.length] == 0 ? 0 : -EINVAL;
    case kCompress:
    case kDecompress:
      if (r.length > kMaxCodecBytes || r.offset2 > kMaxCodecBytes) return -EINVAL;
      return arena_.contains(address, r.length) && arena_.contains(address2, r.offset2) ? 0 : -EFAULT;
    case kCipher:
      if (r.length % kCipherSectorBytes != 0 || r.length > kMaxCodecBytes) return -EINVAL;
      return arena_.contains(address, r.length) && arena_.contains(address2, r.length) ? 0 : -EFAULT;
    case kDerive:
      if (r.length > kMaxSecretBytes || r.offset2 > kMaxSecretBytes || r.extra < 0) return -EINVAL;
      return arena_.contains(address, r.length) && arena_.contains(address2, static_cast<uint64_t>(r.extra) + r.offset2) ? 0 : -EFAULT;
    case kMove:
      return loadMove(r, arena_, faults_);
    case kCompare:
      return loadCompare(r, arena_);
    default:
      return 0;
  }
}

int Engine::loadVector(Request& r) {
  if (r.extra < 0 || r.extra > kMaxVector) return -EINVAL;
  const auto count = static_cast<unsigned>(r.extra);
  if (!arena_.contains(reinterpret_cast<uint64_t>(r.data), uint64_t{count} * 16)) return -EFAULT;
  r.many.clear();
  uint64_t total = 0;
  for (unsigned i = 0; i < count; i++) {
    const uint64_t address = wholeAt(r.data + i * 16);
    const uint64_t length = wholeAt(r.data + i * 16 + 8);
    if (length > kMaxTransfer || !arena_.contains(address, length)) return -EFAULT;
    if (length == 0) continue;
    r.many.push_back(iovec{reinterpret_cast<void*>(address), length});
    total += length;
  }
  if (total != r.length) return -EINVAL;
  r.iov = r.many.data();
  r.iovCount = static_cast<unsigned>(r.many.size());
  return 0;
}

void Engine::push(Request& request) {
  double* at = tables_.completions + size_t{answered_} * 2;
  at[0] = request.slot;
  at[1] = static_cast<double>(request.result);
  answered_++;
  inFlight_--;
  busy_[request.slot] = false;
}

/**
 * A file is closed when its close was done, not when that was asked for: what a worker has not begun is dropped where the engine ends. A number may be in
 * `files_` twice, where it was given to a new file before the answer to the old one's close was taken.
 */
void Engine::noteFile(const Request& request) {
  if (request.op == kOpen && request.result >= 0) files_.push_back(static_cast<int>(request.result));
  if (request.op != kClose) return;
  const auto closed = std::find(files_.begin(), files_.end(), request.fd);
  if (closed != files_.end()) files_.erase(closed);
}

void Engine::finish(Request& request) {
  noteFile(request);
  push(request);
}

unsigned Engine::submit(unsigned count) {
  answered_ = 0;
  inlineLeft_ = kInlineBudget;
  if (!open_) return 0;
  for (unsigned i = 0; i < count; i++) {
    const auto slot = static_cast<uint32_t>(tables_.order[i]);
    if (slot >= tables_.slots || busy_[slot]) continue;
    Request& request = requests_[slot];
    busy_[slot] = true;
    inFlight_++;
    const int wrong = load(request, tables_.descriptors + size_t{slot} * 64);
    if (wrong != 0) {
      request.result = wrong;
      push(request);
    } else {
      begin(request);
    }
  }
  if (ring_) {
    flushRing();
    reapRing(tables_.slots);
  }
  settleReference();
  return answered_;
}

void Engine::begin(Request& request) {
  if (request.op == kCipher && request.length <= kInlineCipherMax && request.length <= inlineLeft_) {
    inlineLeft_ -= request.length;
    runBlocking(request, faults_, kNotStopping);
    push(request);
    return;
  }
  if (request.isTransfer() && (request.iovCount == 0 || (!request.direct() && tryInline(request)))) {
    push(request);
    return;
  }
  beginElsewhere(request);
}

bool Engine::tryInline(Request& request) {
  if (request.length > (request.isRead() ? inlineReadMax_ : kInlineWriteMax)) return false;
  if (request.length > inlineLeft_) return false;
  // A large read belongs to this thread only while the workers have something to do, too (measured: a tenth of a copy's time).
  if (request.isRead() && request.length > kRingReadMax && workers_->quiet()) return false;
  inlineLeft_ -= request.length;
  if (request.isRead()) {
    if (transfer(request, RWF_NOWAIT, faults_) == Step::kWouldBlock) return false;
    scanForZeroes(request);
    return true;
  }
  const uint64_t before = uv_hrtime();
  if (before < writesStallUntil_) return false;
  transfer(request, 0, faults_);
  const uint64_t after = uv_hrtime();
  if (after - before > kStallNs) writesStallUntil_ = after + kStallPauseNs;
  return true;
}

void Engine::beginElsewhere(Request& request) {
  if ((waits_ && changesFile(request)) || (opens_ && opensFile(request))) {
    runBlocking(request, faults_, kNotStopping);
    finish(request);
  } else if (request.op == kMove && (request.flags & kFlagBackground) != 0) {
    // Before it is looked at whether it decompresses: guests go first there, too.
    background_->push(&request);
  } else if (request.usesCodec()) {
    codecWorkers_->push(&request);
  } else if (!request.isTransfer()) {
    workers_->push(&request);
  } else if (ring_) {
    const bool ringHelps = request.direct() || (request.isRead() && request.length <= kRingReadMax);
    if (!ringHelps) {
      workers_->push(&request);
      return;
    }
    if (!ring_->queue(&request)) {
      // Full: hand over what is in it, then there is room; a worker is there for the case that there is not.
      flushRing();
      if (!ring_->queue(&request)) workers_->push(&request);
    }
    if (ring_->unsubmitted() >= kRingChunk) flushRing();
  } else {
    (request.direct() ? directWorkers_ : workers_)->push(&request);
  }
}

void Engine::flushRing() {
  RequestList refused = ring_->flush();
  while (Request* request = refused.pop()) workers_->push(request);
}

/** Takes answers from the ring until `most` are in the table. */
void Engine::reapRing(unsigned most) {
  int64_t answer;
  bool again = false;
  while (answered_ < most) {
    Request* request = ring_->reap(answer);
    if (request == nullptr) break;
    if (answer == -EAGAIN || answer == -EINTR) {
      workers_->push(request);
    } else if (transferred(*request, answer)) {
      scanForZeroes(*request);
      finish(*request);
    } else if (ring_->queue(request)) {
      again = true;
    } else {
      workers_->push(request);
    }
  }
  if (again) flushRing();
}

void Engine::workerDone(Request* request) {
  {
    std::lock_guard<std::mutex> lock(doneMutex_);
    done_.push(request);
  }
  uv_async_send(&async_);
}

void Engine::deliver() {
  if (!open_) return;
  answered_ = 0;
  RequestList done;
  {
    std::lock_guard<std::mutex> lock(doneMutex_);
    std::swap(done, done_);
  }
  while (Request* request = done.pop()) finish(*request);
  if (ring_) reapRing(std::min(answered_ + kFirstAnswers, tables_.slots));
  settleReference();
  if (answered_ == 0) return;
  // JavaScript takes the answers from the table, and may submit (which uses the table again) or close.
  onBatch_(answered_);
  if (!open_ || !ring_) return;
  answered_ = 0;
  reapRing(tables_.slots);
  settleReference();
  if (answered_ > 0) onBatch_(answered_);
}

/** The loop stays alive while something is in flight, and only then. */
void Engine::settleReference() {
  const bool wanted = inFlight_ > 0;
  if (wanted == referenced_) return;
  referenced_ = wanted;
  auto* handle = reinterpret_cast<uv_handle_t*>(&async_);
  if (wanted) uv_ref(handle);
  else uv_unref(handle);
}

void Engine::onAsync(uv_async_t* handle) { static_cast<Engine*>(handle->data)->deliver(); }

void Engine::onPoll(uv_poll_t* handle, int status, int events) { static_cast<Engine*>(handle->data)->deliver(); }

void Engine::onClosed(uv_handle_t* handle) {
  auto* engine = static_cast<Engine*>(handle->data);
  if (--engine->handles_ == 0) engine->closed_();
}

void Engine::close(std::function<void()> closed) {
  if (!open_) return;
  open_ = false;
  closed_ = std::move(closed);
  workers_->stop();
  codecWorkers_->stop();
  background_->stop();
  if (directWorkers_) directWorkers_->stop();
  if (ring_) {
    uv_poll_stop(&poll_);
    ring_->shut();
  }
  for (Request& request : requests_) {
    if (request.move != nullptr) withdrawMove(request);
  }
  // Files that workers have opened and closed, whose answers never reached JavaScript.
  while (Request* request = done_.pop()) noteFile(*request);
  for (const int fd : files_) ::close(fd);
  files_.clear();
  arena_.clear();
  requests_ = {};
  uv_close(reinterpret_cast<uv_handle_t*>(&async_), onClosed);
  if (ring_) uv_close(reinterpret_cast<uv_handle_t*>(&poll_), onClosed);
}

}  // namespace diskwright
