// How one request is carried out with plain system calls: inline on the JavaScript thread where it cannot block,
// or to its end on a worker. Interrupted calls are made again, short ones are continued.
#pragma once

#include <atomic>
#include <cstdint>

#include "request.h"

namespace diskwright {

/** What a test can force upon system calls. Zero means: nothing. */
struct Faults {
  std::atomic<int32_t> maxBytes{0};   // a read or write moves at most so many bytes
  std::atomic<int32_t> interrupts{0};  // so many of the next reads and writes fail with EINTR
  std::atomic<int32_t> again{0};       // so many of the next io_uring completions and NOWAIT reads say EAGAIN
  std::atomic<int32_t> delayMs{0};     // a worker waits so long before it begins
  std::atomic<int32_t> ringFull{0};    // so many of the next submissions find no room in the ring
  std::atomic<int32_t> heldSteps{0};   // so many of the next copy steps of jobs stand still until faults are set again
  std::atomic<uint32_t> settings{0};   // how often faults were set
  static bool take(std::atomic<int32_t>& count);
};

enum class Step { kDone, kWouldBlock };

/** Reads or writes what is left of `request`, with `rwf` flags of preadv2; `kWouldBlock` only under RWF_NOWAIT. */
Step transfer(Request& request, int rwf, Faults& faults);
/** Takes in what one read or write answered. True when the request is finished (its result is set). */
bool transferred(Request& request, int64_t answer);
/** Carries out any request to its end. `stopping` cuts long ones short. */
void runBlocking(Request& request, Faults& faults, const std::atomic<bool>& stopping);
/** Zero test of what was read, where it was asked for. */
void scanForZeroes(Request& request);

}  // namespace diskwright
