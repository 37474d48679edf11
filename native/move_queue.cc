#include "move_queue.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <thread>
#include <utility>

#include "background.h"
#include "slice_buffers.h"

namespace diskwright {

namespace {

/**
 * Workers that read at once. Measured on two cores: with one, the writer waits for it whenever it was asleep; with more, they take the writer's core.
 */
const unsigned kMaxReaders = std::max(2U, std::thread::hardware_concurrency());
/** Bytes of all buffers of a queue, which has two of them in any case. */
constexpr uint64_t kBufferBytes = uint64_t{2} << 20;
/** Where more slices than these are ready, the writer wakes no reader: a wake-up costs about as much as a write. */
constexpr unsigned kEnoughReady = 4;

}  // namespace

void MoveQueue::run(int fd, SlicedWork& work, Pace* pace) {
  // Never destroyed: workers may still be there when the process ends.
  static auto& mutex = *new std::mutex;
  static auto& queues = *new std::map<int, std::pair<MoveQueue, unsigned>>;
  MoveQueue* queue;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    auto& [found, users] = queues[fd];
    users++;
    queue = &found;
  }
  Step step(work);
  queue->serve(step, pace);
  const std::lock_guard<std::mutex> lock(mutex);
  const auto entry = queues.find(fd);
  if (--entry->second.second == 0) queues.erase(entry);
}

void MoveQueue::serve(Step& mine, Pace* pace) {
  Lock lock(mutex_);
  steps_.push_back(&mine);
  while (!mine.done()) {
    if (Step* const step = toWrite()) {
      writeSlice(*step, lock);
    } else if (Step* const other = toRead()) {
      readSlices(*other, lock);
    } else {
      mine.sleeps = true;
      mine.wake.wait(lock, [&mine] { return !mine.sleeps; });
    }
    const uint64_t restNs = pace == nullptr || mine.done() ? 0 : pace->dueNs();
    if (restNs > 0) {
      // Somebody may be here for a guest.
      if (toWrite() != nullptr || toRead() != nullptr) wakeOne();
      lock.unlock();
      Pace::rest(restNs);
      lock.lock();
    }
  }
  if (toWrite() != nullptr || toRead() != nullptr) wakeOne();
}

/** The step whose next slice can be written now, and that nobody writes; nullptr where there is none. */
MoveQueue::Step* MoveQueue::toWrite() {
  if (writing_ || steps_.empty()) return nullptr;
  Step* const step = steps_.front();
  return step->unread || step->slices[step->written].read ? step : nullptr;
}

/** The first step with a slice that is to be read, if there is room for it. */
MoveQueue::Step* MoveQueue::toRead() {
  if (readers_ >= kMaxReaders) return nullptr;
  for (Step* const step : steps_) {
    if (step->unread || step->reading == step->slices.size()) continue;
    const uint64_t bytes = step->work.sliceBytes();
    // All others wait for the slice that is written next, so there is always room for it: a step that could not share blocks after all may find the
    // buffers full of what follows.
    const bool isNext = step == steps_.front() && step->reading == step->written;
    return isNext || bufferBytes_ + bytes <= kBufferBytes || bufferBytes_ < 2 * bytes ? step : nullptr;
  }
  return nullptr;
}

/** Reads the next slice, and those that continue it. */
void MoveQueue::readSlices(Step& step, Lock& lock) {
  const uint64_t bytes = step.work.sliceBytes();
  size_t index = step.reading++;
  while (step.reading < step.slices.size() && step.work.continues(step.reading)) step.reading++;
  const size_t end = step.reading;
  bufferBytes_ += (end - index) * bytes;
  step.busy++;
  readers_++;
  for (; index < end; index++) {
    lock.unlock();
    uint8_t* const buffer = SliceBuffers::take(bytes);
    const ReadFault fault = step.work.read(index, buffer);
    lock.lock();
    Slice& slice = step.slices[index];
    slice.buffer = buffer;
    slice.fault = fault;
    slice.read = true;
    ready_++;
    if (step.failed) break;
  }
  if (index < end) bufferBytes_ -= (end - index - 1) * bytes;
  readers_--;
  step.busy--;
  if (step.failed) dropBuffers(step);
  release(step);
}

void MoveQueue::writeSlice(Step& step, Lock& lock) {
  const size_t index = step.written;
  Slice& slice = step.slices[index];
  step.busy++;
  writing_ = true;
  lock.unlock();
  const bool wrote = step.work.write(index, slice.buffer, slice.fault);
  const bool unread = step.work.writesUnread();
  lock.lock();
  writing_ = false;
  step.busy--;
  if (slice.read) {
    SliceBuffers::give(slice.buffer, step.work.sliceBytes());
    bufferBytes_ -= step.work.sliceBytes();
    slice = Slice{};
    ready_--;
  }
  step.written++;
  step.reading = std::max(step.reading, step.written);
  step.unread = unread;
  if (!wrote) {
    step.failed = true;
    dropBuffers(step);
  }
  if (step.ended()) steps_.pop_front();
  release(step);
  if (readers_ == 0 && ready_ <= kEnoughReady && toRead() != nullptr) wakeOne();
}

void MoveQueue::dropBuffers(Step& step) {
  for (Slice& slice : step.slices) {
    if (!slice.read) continue;
    SliceBuffers::give(slice.buffer, step.work.sliceBytes());
    bufferBytes_ -= step.work.sliceBytes();
    slice = Slice{};
    ready_--;
  }
}

/** Wakes the worker that brought a step which is done. */
void MoveQueue::release(Step& step) {
  if (!step.done() || !step.sleeps) return;
  step.sleeps = false;
  step.wake.notify_one();
}

/** Wakes the worker that stays longest. */
void MoveQueue::wakeOne() {
  for (auto step = steps_.rbegin(); step != steps_.rend(); step++) {
    if (!(*step)->sleeps) continue;
    (*step)->sleeps = false;
    (*step)->wake.notify_one();
    return;
  }
}

}  // namespace diskwright
