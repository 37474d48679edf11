// Starting a worker thread.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <vector>

namespace diskwright {

/** Adds a thread to `threads` that runs `run(owner)`; where there is none to be had, nothing happens. */
inline void startWorker(std::vector<pthread_t>& threads, void* (*run)(void*), void* owner) {
  // Signals are for the main thread: a worker starts with all of them blocked.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const bool started = pthread_create(&thread, nullptr, run, owner) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (started) threads.push_back(thread);
}

}  // namespace diskwright
