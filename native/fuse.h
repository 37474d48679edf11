// Channels to the kernel's FUSE: descriptors of /dev/fuse of one JavaScript environment, over uv_poll.
//
//   readable -> read, one request a call, into the window, as long as it has room -> JavaScript once for all of them, which names the next window
//   reply    -> pairs (address, length) from a table, each one answer -> write, which copies it and never waits
//
//   window   [ offsets of the requests, as 32-bit numbers: one page | request | request ... ]
//            What follows the headers of a read or a write (80 bytes) lies on a page: it can be written to a file as it is.
//
//   row of a channel, 8 doubles that JavaScript shares:
//     0 window address   1 window bytes (0: none; used up by what arrives)   2 bytes that a read must have room for
//
// JavaScript thread only, but for `Mounting`.
#pragma once

#include <uv.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "arena.h"

namespace diskwright {

class FuseChannels {
 public:
  /** `count` requests lie in the window; 0: the file is mounted no longer; or -errno. After the last two the channel is closed already. */
  using OnEvent = std::function<void(uint32_t id, int32_t count)>;
  FuseChannels(uv_loop_t* loop, Arena& arena, double* rows, uint32_t count, OnEvent onEvent);

  /** Takes `fd` over under a number that is free. 0 or -errno; `fd` is closed then. */
  int attach(uint32_t id, int fd);
  /** Reads into the window that the row names. */
  void arm(uint32_t id);
  /** Sends `count` answers, pairs of doubles at `table`. 0, or the first -errno: of a request that nobody waits for any more there is none. */
  int reply(uint32_t id, uint64_t table, uint32_t count);
  void close(uint32_t id);
  /** Closes all; then nothing but `closed` is called. */
  void closeAll(std::function<void()> closed);

 private:
  struct Channel {
    uv_poll_t poll{};
    FuseChannels* all = nullptr;
    uint32_t id = 0;
    int fd = -1;
    bool open = true;
    bool watched = false;
  };

  double* row(const Channel& channel) { return rows_ + size_t{channel.id} * 8; }
  Channel* find(uint32_t id) { return id < channels_.size() ? channels_[id] : nullptr; }
  void watch(Channel& channel, bool on);
  void onReadable(Channel& channel);
  int fill(Channel& channel, uint8_t* window, uint64_t bytes, uint64_t least, int32_t& count);
  bool more(Channel& channel);
  void end(Channel& channel, int why);
  void release(Channel& channel);
  static void onPoll(uv_poll_t* handle, int status, int events);
  static void onGone(uv_handle_t* handle);

  uv_loop_t* const loop_;
  Arena& arena_;
  double* const rows_;
  const uint32_t count_;
  const OnEvent onEvent_;
  std::vector<Channel*> channels_;
  unsigned handles_ = 0;  // not closed yet by the loop
  uint32_t lastReader_ = UINT32_MAX;
  int hope_ = 0;          // how often looking out has paid lately
  unsigned passed_ = 0;   // wake-ups without looking out
  bool closing_ = false;
  std::function<void()> closed_;
};

/** A descriptor of /dev/fuse, or -errno. */
int openFuse();
/** mount(2) and umount2(2). 0 or -errno. They may wait for answers of a channel of this very process: not on the JavaScript thread. */
int mountFuse(const std::string& source, const std::string& path, const std::string& type, const std::string& options);
int unmountFuse(const std::string& path, bool detach);
/** Both ends of a pair of UNIX sockets. 0 or -errno. */
int socketPair(int ends[2]);
/** The descriptor that lies ready in a UNIX socket, non-blocking from now on; or -errno. */
int receiveDescriptor(int socket);

}  // namespace diskwright
