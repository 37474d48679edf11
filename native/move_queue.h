// The copy steps that write to one file, in the order in which JavaScript submitted them, and the workers that serve them together:
//
//   steps     |  written | slice | slice | slice || slice | slice | ...         each worker came for one step, and stays until that is done
//                          ^ being    ^ read, in     ^ being read
//                            written    a buffer       by another worker
//
// A step enters on JavaScript's thread, before any worker takes it, and whoever is there serves it. So the order does not depend on which worker comes first,
// and nobody waits for a worker that is late, or that never comes since the engine ends.
//
// Slices are read by any of the workers, of whichever step, and written by one worker at a time, strictly in order: the kernel takes the inode's lock for
// each write, and who waits for that spins. So the one that writes never waits for a reader's request to end, and places in a run are given in the order of
// the steps. Who reads stays a few slices ahead of who writes, in buffers that together fit into the cores' caches.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "move.h"

namespace diskwright {

class Pace;

/** What could not be read of a slice: nothing, or -errno. */
struct ReadFault {
  int64_t failure = 0;
  MoveSide side = MoveSide::kSource;
  int32_t piece = 0;
  uint64_t at = 0;
};

/** Work that is cut into slices. It is called by several threads, but never by two to write. */
class SlicedWork {
 public:
  virtual uint64_t sliceBytes() const = 0;
  virtual uint64_t sliceCount() const = 0;
  /** Slices need not be read: `write` is called without a buffer while this is true. It changes within `write` only. */
  virtual bool writesUnread() const = 0;
  /** The slice is read by the worker that read the one before, right after it. */
  virtual bool continues(uint64_t slice) const = 0;
  virtual ReadFault read(uint64_t slice, uint8_t* buffer) = 0;
  /** `buffer`: what was read, or nullptr. False ends the work: its other slices are not written. */
  virtual bool write(uint64_t slice, uint8_t* buffer, const ReadFault& fault) = 0;

  virtual ~SlicedWork() = default;
};

class MoveQueue;

/** Work in the queue of the file that it writes to, from `MoveQueue::enter` on. */
class QueuedMove {
 public:
  QueuedMove(MoveQueue& queue, int fd, std::unique_ptr<SlicedWork> of, bool background)
      : queue_(queue),
        fd_(fd),
        work_(std::move(of)),
        background_(background),
        slices_(work_->sliceCount()),
        unread_(work_->writesUnread()) {}

 private:
  friend class MoveQueue;

  struct Slice {
    uint8_t* buffer = nullptr;
    bool read = false;
    ReadFault fault;
  };

  bool begun() const { return busy_ > 0 || reading_ > 0 || written_ > 0; }
  bool ended() const { return failed_ || written_ == slices_.size(); }
  bool done() const { return ended() && busy_ == 0; }

  MoveQueue& queue_;
  const int fd_;
  const std::unique_ptr<SlicedWork> work_;
  const bool background_;
  std::vector<Slice> slices_;
  /** Slices before have been read, or are being read. */
  size_t reading_ = 0;
  size_t written_ = 0;
  /** Slices that a worker reads or writes right now. */
  unsigned busy_ = 0;
  bool failed_ = false;
  /** As the work's `writesUnread`, which only the one that writes may ask. */
  bool unread_;
  /** The worker that came for it sleeps. */
  bool sleeps_ = false;
  std::condition_variable wake_;
};

class MoveQueue {
 public:
  /**
   * Puts work that writes to `fd` behind all that came before; work that somebody waits for goes before `background` work that nobody has begun. To be
   * ended by `finish` or `withdraw`.
   */
  static QueuedMove* enter(int fd, std::unique_ptr<SlicedWork> work, bool background);
  /**
   * Does the work together with whoever does other work on that file; returns when this work is done, or has failed. Where there is a `pace`, this worker
   * rests as that says, holding nothing.
   */
  static void finish(QueuedMove* step, Pace* pace);
  /** Takes out work that no worker came for; slices of it that others have begun are waited for. */
  static void withdraw(QueuedMove* step);

 private:
  using Step = QueuedMove;
  using Lock = std::unique_lock<std::mutex>;

  static void leave(QueuedMove* step);

  void serve(Step& mine, Pace* pace);
  void drop(Step& step);
  Step* toWrite();
  Step* toRead();
  void writeSlice(Step& step, Lock& lock);
  void readSlices(Step& step, Lock& lock);
  void dropBuffers(Step& step);
  void release(Step& step);
  void wakeOne();

  std::mutex mutex_;
  std::deque<Step*> steps_;
  bool writing_ = false;
  unsigned readers_ = 0;
  /** Slices that are read and not written, and the bytes of all buffers in use. */
  unsigned ready_ = 0;
  uint64_t bufferBytes_ = 0;
};

}  // namespace diskwright
