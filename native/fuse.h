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
// JavaScript thread only, but for mountFuse and unmountFuse.
#pragma once

#include <uv.h>

#include <cstdint>
#include <functional>
#include <string>

#include "arena.h"
#include "descriptors.h"
#include "look_out.h"

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
  struct Channel : Descriptor {
    FuseChannels* owner = nullptr;
    bool watched = false;
  };

  void watch(Channel& channel, bool on);
  void onReadable(Channel& channel);
  int fill(Channel& channel, uint8_t* window, uint64_t bytes, uint64_t least, int32_t& count);
  bool more(Channel& channel);
  void end(Channel& channel, int why);
  static void onPoll(uv_poll_t* handle, int status, int events);

  Arena& arena_;
  const OnEvent onEvent_;
  Descriptors<Channel> channels_;
  LookOut lookOut_;
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
