// The copy steps that write to one file, in the order in which they came, and the workers that serve them together:
//
//   steps     |  written | slice | slice | slice || slice | slice | ...         each worker brought one step, and stays until that is done
//                          ^ being    ^ read, in     ^ being read
//                            written    a buffer       by another worker
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

 protected:
  ~SlicedWork() = default;
};

class MoveQueue {
 public:
  /**
   * Does the work, which writes to `fd`, together with whoever does other work on that file; returns when this work is done, or has failed. Where there is
   * a `pace`, this worker rests as that says, holding nothing.
   */
  static void run(int fd, SlicedWork& work, Pace* pace);

 private:
  struct Slice {
    uint8_t* buffer = nullptr;
    bool read = false;
    ReadFault fault;
  };

  struct Step {
    explicit Step(SlicedWork& of) : work(of), slices(of.sliceCount()), unread(of.writesUnread()) {}
    SlicedWork& work;
    std::vector<Slice> slices;
    /** Slices before have been read, or are being read. */
    size_t reading = 0;
    size_t written = 0;
    /** Slices that a worker reads or writes right now. */
    unsigned busy = 0;
    bool failed = false;
    /** As the work's `writesUnread`, which only the one that writes may ask. */
    bool unread;
    /** The worker that brought it sleeps. */
    bool sleeps = false;
    std::condition_variable wake;

    bool ended() const { return failed || written == slices.size(); }
    bool done() const { return ended() && busy == 0; }
  };

  using Lock = std::unique_lock<std::mutex>;

  void serve(Step& mine, Pace* pace);
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
