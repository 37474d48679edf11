// Connected and listening sockets of one JavaScript environment, over uv_poll.
//
//   readable -> recv straight into the window that the link's row names -> JavaScript once, which names the next window -> ...
//   flush    -> pieces from a table -> queue -> sendmsg with all of them -> what is left goes out when the socket takes more
//   hold     -> bytes of a file in a pipe (pipes.h): a piece whose "address" is the pipe's number, in its place in the queue
//
//   row of a link, 8 doubles that JavaScript shares:
//     0 window address   1 window bytes (0: none; used up by what arrives)   2 pieces sent since the link was made
//     3 bytes that wait to be sent   4 1 while it is watched for what arrives   5 bytes that were dropped since it
//     is being finished   6 bytes in the window that JavaScript was not told of   7 1: it is told when the window is full
//
// An idle link costs a row and a Socket: no buffer, no JavaScript object of its own here. JavaScript thread only.
#pragma once

#include <sys/uio.h>
#include <uv.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "arena.h"
#include "descriptors.h"
#include "look_out.h"
#include "pipes.h"

namespace diskwright {

/** What JavaScript is told; `value` in brackets. */
enum SocketEvent : int32_t {
  kReceived = 1,    // (bytes)
  kProgressed = 2,  // more pieces are sent
  kClosed = 3,      // the other side has ended (0), or it failed (-errno); the socket is closed already
  kAccepted = 4,    // (descriptor, which JavaScript now owns)
  kAcceptFailed = 5,  // (-errno) a listener rests until it is armed again
  kConnected = 6,
  kDescriptor = 7,  // (descriptor that came by SCM_RIGHTS, which JavaScript now owns), before the bytes that it came with
};

enum class SocketKind { kConnected, kConnecting, kListening };

class Sockets {
 public:
  using OnEvent = std::function<void(uint32_t id, int32_t event, double value)>;
  /** `rows`: `count` rows that JavaScript keeps alive. */
  Sockets(uv_loop_t* loop, Arena& arena, Faults& faults, double* rows, uint32_t count, OnEvent onEvent);

  /** Takes `fd` over under a number that is free. 0 or -errno; `fd` is closed then. */
  int attach(uint32_t id, int fd, SocketKind kind);
  /** Watches for what arrives. */
  void arm(uint32_t id);
  /** From now on takes descriptors that the other side passes; without this the system closes them. */
  void takeDescriptors(uint32_t id);
  /** `Pipes::hold` for a piece of this socket. */
  int hold(uint32_t id, int fd, uint64_t offset, uint64_t length);
  /** A pipe of `hold` will be no piece. */
  void drop(uint32_t pipe) { pipes_.drop(pipe); }
  /** Sends `count` pieces, pairs of doubles (address or pipe, length) at `table`. True: nothing waits any more. */
  bool flush(uint32_t id, uint64_t table, uint32_t count);
  /** Sends what waits, ends our side, then reads to nowhere until the other side ends: `kClosed`. */
  void finish(uint32_t id);
  /** Closes it without a word. */
  void close(uint32_t id);
  /** Gives the descriptor back, or -errno. */
  int detach(uint32_t id);
  /** Closes all; then nothing but `closed` is called. */
  void closeAll(std::function<void()> closed);

 private:
  struct Socket : Descriptor {
    Sockets* owner = nullptr;
    int events = 0;  // that are watched for
    SocketKind kind = SocketKind::kConnected;
    bool finishing = false;
    bool takesDescriptors = false;
    bool roomy = false;       // its buffer was made larger
    int failed = 0;           // why sending failed, to be told from the loop
    size_t first = 0;         // of `queue`: what is before it is sent
    std::vector<iovec> queue;
  };

  double* row(const Socket& socket) { return sockets_.row(socket); }
  bool load(Socket& socket, uint64_t table, uint32_t count);
  void dropPipes(uint64_t table, uint32_t count);
  void watch(Socket& socket, int events);
  void send(Socket& socket);
  ssize_t sendSome(Socket& socket, size_t& offered);
  void sent(Socket& socket, size_t bytes);
  void onReadable(Socket& socket);
  ssize_t receive(Socket& socket, void* at, size_t length);
  bool more(Socket& socket);
  void onWritable(Socket& socket);
  void accept(Socket& socket);
  void drain(Socket& socket);
  void end(Socket& socket, int why);
  void release(Socket& socket);
  static void onPoll(uv_poll_t* handle, int status, int events);

  Arena& arena_;
  Pipes pipes_;
  const OnEvent onEvent_;
  Descriptors<Socket> sockets_;
  LookOut lookOut_;
};

}  // namespace diskwright
