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

/** The queue of each file that steps write to, and how many there are. */
struct Queues {
  std::mutex mutex;
  std::map<int, std::pair<MoveQueue, unsigned>> byFile;
};

/** Never destroyed: workers may still be there when the process ends. */
Queues& queues() {
  static auto& only = *new Queues;
  return only;
}

}  // namespace

QueuedMove* MoveQueue::enter(int fd, std::unique_ptr<SlicedWork> work, bool background) {
  MoveQueue* queue;
  {
    Queues& all = queues();
    const std::lock_guard<std::mutex> lock(all.mutex);
    auto& [found, steps] = all.byFile[fd];
    steps++;
    queue = &found;
  }
  auto* const step = new QueuedMove(*queue, fd, std::move(work), background);
  const std::lock_guard<std::mutex> lock(queue->mutex_);
  auto& steps = queue->steps_;
  // What is begun has buffers, so it stays in front: nothing would make room for what is before it.
  const auto waits = [](const Step* other) { return other->background_ && !other->begun(); };
  steps.insert(background ? steps.end() : std::find_if(steps.begin(), steps.end(), waits), step);
  return step;
}

void MoveQueue::finish(QueuedMove* step, Pace* pace) {
  step->queue_.serve(*step, pace);
  leave(step);
}

void MoveQueue::withdraw(QueuedMove* step) {
  step->queue_.drop(*step);
  leave(step);
}

/** The queue goes with its last step. */
void MoveQueue::leave(QueuedMove* step) {
  const int fd = step->fd_;
  delete step;
  Queues& all = queues();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto entry = all.byFile.find(fd);
  if (--entry->second.second == 0) all.byFile.erase(entry);
}

void MoveQueue::drop(Step& step) {
  Lock lock(mutex_);
  step.failed_ = true;
  std::erase(steps_, &step);
  dropBuffers(step);
  if (step.done()) return;
  step.sleeps_ = true;
  step.wake_.wait(lock, [&step] { return !step.sleeps_; });
}

void MoveQueue::serve(Step& mine, Pace* pace) {
  Lock lock(mutex_);
  while (!mine.done()) {
    if (Step* const step = toWrite()) {
      writeSlice(*step, lock);
    } else if (Step* const other = toRead()) {
      readSlices(*other, lock);
    } else {
      mine.sleeps_ = true;
      mine.wake_.wait(lock, [&mine] { return !mine.sleeps_; });
    }
    const uint64_t restNs = pace == nullptr || mine.done() ? 0 : pace->dueNs();
    if (restNs > 0) {
      // Another worker may be here for a step that a guest waits for.
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
  return step->unread_ || step->slices_[step->written_].read ? step : nullptr;
}

/** The first step with a slice that is to be read, if there is room for it. */
MoveQueue::Step* MoveQueue::toRead() {
  if (readers_ >= kMaxReaders) return nullptr;
  for (Step* const step : steps_) {
    if (step->unread_ || step->reading_ == step->slices_.size()) continue;
    const uint64_t bytes = step->work_->sliceBytes();
    // All others wait for the slice that is written next, so there is always room for it: a step that could not share blocks after all may find the
    // buffers full of what follows.
    const bool isNext = step == steps_.front() && step->reading_ == step->written_;
    return isNext || bufferBytes_ + bytes <= kBufferBytes || bufferBytes_ < 2 * bytes ? step : nullptr;
  }
  return nullptr;
}

/** Reads the next slice, and those that continue it. */
void MoveQueue::readSlices(Step& step, Lock& lock) {
  const uint64_t bytes = step.work_->sliceBytes();
  size_t index = step.reading_++;
  while (step.reading_ < step.slices_.size() && step.work_->continues(step.reading_)) step.reading_++;
  const size_t end = step.reading_;
  bufferBytes_ += (end - index) * bytes;
  step.busy_++;
  readers_++;
  for (; index < end; index++) {
    lock.unlock();
    uint8_t* const buffer = SliceBuffers::take(bytes);
    const ReadFault fault = step.work_->read(index, buffer);
    lock.lock();
    Step::Slice& slice = step.slices_[index];
    slice.buffer = buffer;
    slice.fault = fault;
    slice.read = true;
    ready_++;
    if (step.failed_) break;
  }
  if (index < end) bufferBytes_ -= (end - index - 1) * bytes;
  readers_--;
  step.busy_--;
  if (step.failed_) dropBuffers(step);
  release(step);
}

void MoveQueue::writeSlice(Step& step, Lock& lock) {
  const size_t index = step.written_;
  // It is out of the way of who drops the step's buffers.
  const Step::Slice slice = std::exchange(step.slices_[index], Step::Slice{});
  step.busy_++;
  writing_ = true;
  lock.unlock();
  const bool wrote = step.work_->write(index, slice.buffer, slice.fault);
  const bool unread = step.work_->writesUnread();
  lock.lock();
  writing_ = false;
  step.busy_--;
  if (slice.read) {
    SliceBuffers::give(slice.buffer, step.work_->sliceBytes());
    bufferBytes_ -= step.work_->sliceBytes();
    ready_--;
  }
  step.written_++;
  step.reading_ = std::max(step.reading_, step.written_);
  step.unread_ = unread;
  if (!wrote) {
    step.failed_ = true;
    dropBuffers(step);
  }
  // Somebody may have withdrawn it.
  if (step.ended()) std::erase(steps_, &step);
  release(step);
  if (readers_ == 0 && ready_ <= kEnoughReady && toRead() != nullptr) wakeOne();
}

void MoveQueue::dropBuffers(Step& step) {
  for (Step::Slice& slice : step.slices_) {
    if (!slice.read) continue;
    SliceBuffers::give(slice.buffer, step.work_->sliceBytes());
    bufferBytes_ -= step.work_->sliceBytes();
    slice = Step::Slice{};
    ready_--;
  }
}

/** Wakes the worker that came for a step which is done. */
void MoveQueue::release(Step& step) {
  if (!step.done() || !step.sleeps_) return;
  step.sleeps_ = false;
  step.wake_.notify_one();
}

/** Wakes the worker that stays longest. */
void MoveQueue::wakeOne() {
  for (auto step = steps_.rbegin(); step != steps_.rend(); step++) {
    if (!(*step)->sleeps_) continue;
    (*step)->sleeps_ = false;
    (*step)->wake_.notify_one();
    return;
  }
}

}  // namespace diskwright
