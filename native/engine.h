// One engine of one JavaScript environment: takes descriptors in batches, answers at once what can be answered at
// once, and the rest in batches from the event loop.
//
//   submit(n) -> read descriptors -> inline (preadv2 NOWAIT, small buffered writes) -> completions at once
//                                 -> io_uring (O_DIRECT, cold reads)   -> poll on the ring's descriptor --+
//                                 -> workers (everything else)         -> uv_async, coalesced ------------+-> onBatch(n)
//                                 -> codec workers                     -> uv_async                        |
//                                 -> workers of jobs (copy steps)      -> uv_async                        |
//
// Everything here runs on the JavaScript thread, but for `workerDone`.
#pragma once

#include <uv.h>

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "arena.h"
#include "background.h"
#include "ops.h"
#include "pool.h"
#include "request.h"
#include "uring.h"

namespace diskwright {

/** Tables that JavaScript and the engine share. They belong to JavaScript, which keeps them alive. */
struct Tables {
  const uint8_t* descriptors = nullptr;  // slots * 64 bytes
  const int32_t* order = nullptr;        // slots to submit
  double* completions = nullptr;         // slots * 2
  const uint32_t* guests = nullptr;      // raised with each request of a guest
  uint32_t slots = 0;
};

class Engine {
 public:
  using OnBatch = std::function<void(unsigned)>;
  Engine(uv_loop_t* loop, const Tables& tables, OnBatch onBatch);
  ~Engine();

  /**
   * 0, or why there is no io_uring (-errno); the engine works in both cases where `wantRing` is false. `waits`, `opens`: the JavaScript thread
   * itself makes the calls that change a whole file (truncate, flush, ...), and those that open and close one.
   */
  int start(bool wantRing, uint64_t inlineReadMax, bool waits, bool opens);
  /** Takes the slots order[0..count). The result is how many completions there are already. */
  unsigned submit(unsigned count);
  /** Ends threads and ring, waits for what the kernel has begun, closes files and handles; then `closed` is called. */
  void close(std::function<void()> closed);
  bool isOpen() const { return open_; }
  /** Takes a descriptor that was not opened by a request: a request closes it, or the end of the engine. */
  void adopt(int fd) { files_.push_back(fd); }

  Arena& arena() { return arena_; }
  Faults& faults() { return faults_; }

 private:
  int load(Request& request, const uint8_t* descriptor);
  int loadVector(Request& request);
  void begin(Request& request);
  bool tryInline(Request& request);
  void beginElsewhere(Request& request);
  void push(Request& request);
  void finish(Request& request);
  void noteFile(const Request& request);
  void reapRing(unsigned most);
  void flushRing();
  void workerDone(Request* request);
  void deliver();
  void settleReference();
  static void onAsync(uv_async_t* handle);
  static void onPoll(uv_poll_t* handle, int status, int events);
  static void onClosed(uv_handle_t* handle);

  uv_loop_t* const loop_;
  const Tables tables_;
  const OnBatch onBatch_;
  Faults faults_;
  Arena arena_;
  std::vector<Request> requests_;
  std::vector<bool> busy_;
  std::vector<int> files_;  // descriptors that were opened here and are not closed yet
  std::unique_ptr<Uring> ring_;
  std::unique_ptr<Pool> workers_;
  std::unique_ptr<Pool> directWorkers_;
  std::unique_ptr<Pool> codecWorkers_;
  std::unique_ptr<Background> background_;
  std::mutex doneMutex_;
  RequestList done_;
  uv_async_t async_{};
  uv_poll_t poll_{};
  int handles_ = 0;
  bool open_ = false;
  bool referenced_ = false;
  unsigned inFlight_ = 0;   // submitted, not answered
  unsigned answered_ = 0;   // completions in the table that JavaScript has not been told of
  uint64_t inlineReadMax_ = 0;
  bool waits_ = false;
  bool opens_ = false;
  uint64_t writesStallUntil_ = 0;
  uint64_t inlineLeft_ = 0;  // bytes that this submit may still copy on the JavaScript thread
  std::function<void()> closed_;
};

}  // namespace diskwright
