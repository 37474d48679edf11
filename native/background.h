// The workers of jobs. They carry out copy steps while guests go first, and apart from the other workers, so that a step whose file never answers holds
// up no request but those of its kind.
//
//   JavaScript   counts each request of a guest (Tables::guests)
//   worker       slice | guest there? rest | slice | rest | slice | slice | ...
//                                                                 ^ none came lately: no rest
//
// While guests are there, few workers are at work (half as many as there are processors), and each of them for a share of its time alone. So a job goes on
// however busy guests are, and nobody waits for long for a processor. A worker rests between slices, where it holds no lock of a file that a guest could
// wait for. A lower priority of the threads was measured, and is worse: a worker that is put aside in the middle of a write holds the file's lock meanwhile.
//
// A step that takes long (its file does not answer) does not count as one at work, so that another one begins; and one target gets a part of the workers
// only.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <vector>

#include "ops.h"
#include "request.h"

namespace diskwright {

/** Whether guests are there, and the rests of workers between slices. */
class Pace {
 public:
  explicit Pace(const uint32_t* guests) : guests_(guests) {}
  bool guestsAreThere();
  /** How long the worker that calls it is to rest for what it has done since the last call. */
  uint64_t dueNs();
  static void rest(uint64_t ns);

 private:
  const uint32_t* const guests_;
  std::atomic<uint32_t> seen_{0};
  std::atomic<uint64_t> lastNs_{0};
};

class Background {
 public:
  using Done = std::function<void(Request*)>;
  /** `guests` is raised with each request of a guest; `done` is called on the worker. */
  Background(unsigned processors, const uint32_t* guests, Faults& faults, Done done);
  ~Background() { stop(); }
  /** Where not a single thread can be had, the request is done here and now. */
  void push(Request* request);
  /** Forgets what is queued, waits for what has begun, ends the threads. */
  void stop();

 private:
  struct Step {
    Request* request;
    uint64_t sinceNs;
  };

  void work();
  void startThread();
  Request* next();
  bool mayBegin();
  void wakeOne();
  void standStill();
  unsigned stepsInto(int fd) const;

  const unsigned besideGuests_;
  Pace pace_;
  Faults& faults_;
  const Done done_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::list<Request*> queue_;
  std::list<Step> underWay_;
  unsigned idle_ = 0;
  std::atomic<bool> stopping_{false};
  std::vector<pthread_t> threads_;
};

}  // namespace diskwright
