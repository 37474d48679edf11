#include "socket.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "address.h"

namespace diskwright {

namespace {

// So often one wake-up reads or sends for one socket; then it is the turn of the others.
constexpr int kRounds = 16;
constexpr int kAcceptRounds = 16;
// One wake-up ends after about so long, whatever comes.
constexpr uint64_t kTurnNs = 1000000;
// Of one message.
constexpr size_t kMostDescriptors = 16;
// A queue that has grown large is given back when it is empty.
constexpr size_t kKeptPieces = 1024;
// Sent pieces at the head of a queue that is never empty, from which on it is worth moving the others.
constexpr size_t kSentPieces = 1024;
constexpr uint64_t kMaxBytes = uint64_t{1} << 40;
// Of a UNIX socket that sends pages without copying them: twice as much lies ready, and the other side waits less (measured: a quarter more). It is
// what every system allows (net.core.wmem_max), and the kernel doubles it. For copied data it would be worse: they leave the CPU's cache.
constexpr int kRoomyBytes = 212992;
// No address is below; pipes are numbered so.
constexpr uint64_t kFirstAddress = 4096;

/** Where the bytes go that nobody wants. */
uint8_t nowhere[64 << 10];

double* at(uint64_t address) { return reinterpret_cast<double*>(address); }

bool isPipe(const iovec& piece) { return reinterpret_cast<uintptr_t>(piece.iov_base) < kFirstAddress; }

uint32_t pipeOf(const iovec& piece) { return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(piece.iov_base)); }

bool whole(double value, uint64_t limit) { return value >= 0 && value <= static_cast<double>(limit); }

}  // namespace

Sockets::Sockets(uv_loop_t* loop, Arena& arena, Faults& faults, double* rows, uint32_t count, OnEvent onEvent)
    : arena_(arena), pipes_(faults), onEvent_(std::move(onEvent)), sockets_(loop, rows, count) {}

int Sockets::attach(uint32_t id, int fd, SocketKind kind) {
  const int failed = sockets_.attach(id, fd);
  if (failed != 0) return failed;
  Socket& socket = *sockets_.find(id);
  socket.owner = this;
  socket.kind = kind;
  if (kind != SocketKind::kListening) sendAtOnce(fd);
  if (kind == SocketKind::kConnecting) watch(socket, UV_WRITABLE);
  return 0;
}

void Sockets::arm(uint32_t id) {
  Socket* socket = sockets_.find(id);
  if (socket != nullptr && !socket->finishing) watch(*socket, socket->events | UV_READABLE);
}

void Sockets::watch(Socket& socket, int events) {
  if (!socket.open || events == socket.events) return;
  socket.events = events;
  row(socket)[4] = (events & UV_READABLE) != 0 ? 1 : 0;
  if (events == 0) uv_poll_stop(&socket.poll);
  else uv_poll_start(&socket.poll, events, onPoll);
}

bool Sockets::load(Socket& socket, uint64_t table, uint32_t count) {
  if (!arena_.contains(table, uint64_t{count} * 16)) return false;
  const double* pairs = at(table);
  double bytes = 0;
  for (uint32_t i = 0; i < count; i++) {
    const double address = pairs[2 * i];
    const double length = pairs[2 * i + 1];
    if (!whole(address, INT64_MAX) || !whole(length, kMaxBytes)) return false;
    const bool pipe = address < kFirstAddress;
    if (pipe ? !pipes_.claim(static_cast<uint32_t>(address), static_cast<uint64_t>(length))
             : !arena_.contains(static_cast<uint64_t>(address), static_cast<uint64_t>(length))) {
      return false;
    }
    socket.queue.push_back(
        iovec{reinterpret_cast<void*>(static_cast<uint64_t>(address)), static_cast<size_t>(length)});
    bytes += length;
  }
  row(socket)[3] += bytes;
  return true;
}

/** Of pieces that are not sent. */
void Sockets::dropPipes(uint64_t table, uint32_t count) {
  if (!arena_.contains(table, uint64_t{count} * 16)) return;
  for (uint32_t i = 0; i < count; i++) {
    const double address = at(table)[2 * i];
    if (whole(address, kFirstAddress - 1)) pipes_.drop(static_cast<uint32_t>(address));
  }
}

int Sockets::hold(uint32_t id, int fd, uint64_t offset, uint64_t length) {
  Socket* socket = sockets_.find(id);
  if (socket == nullptr) return -EBADF;
  // Half of them for one socket: a client that takes nothing, or a server that a job copies into, leaves others some.
  const auto held = std::count_if(socket->queue.begin(), socket->queue.end(), isPipe);
  if (static_cast<size_t>(held) >= Pipes::kMost / 2) return -ENOBUFS;
  const int pipe = pipes_.hold(fd, offset, length);
  if (pipe > 0 && !socket->roomy) {
    socket->roomy = true;
    int domain = 0;
    socklen_t size = sizeof domain;
    ::getsockopt(socket->fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
    int now = 0;
    size = sizeof now;
    ::getsockopt(socket->fd, SOL_SOCKET, SO_SNDBUF, &now, &size);
    // TCP finds out itself what the way needs, as long as nobody says a size.
    if (domain == AF_UNIX && now < 2 * kRoomyBytes) {
      ::setsockopt(socket->fd, SOL_SOCKET, SO_SNDBUF, &kRoomyBytes, sizeof kRoomyBytes);
    }
  }
  return pipe;
}

bool Sockets::flush(uint32_t id, uint64_t table, uint32_t count) {
  Socket* socket = sockets_.find(id);
  if (socket == nullptr) return false;
  if (socket->failed != 0) {
    dropPipes(table, count);
    return false;
  }
  if (!load(*socket, table, count)) {
    socket->failed = -EFAULT;
    // Makes the loop tell: this call must not.
    ::shutdown(socket->fd, SHUT_RDWR);
    watch(*socket, UV_READABLE | UV_WRITABLE);
    return false;
  }
  // Somebody waits for room already: what comes later stands behind it.
  if ((socket->events & UV_WRITABLE) == 0) send(*socket);
  return socket->failed == 0 && socket->queue.empty();
}

void Sockets::send(Socket& socket) {
  for (int round = 0; round < kRounds && socket.first < socket.queue.size(); round++) {
    size_t offered = 0;
    const ssize_t done = sendSome(socket, offered);
    if (done >= 0) {
      sent(socket, static_cast<size_t>(done));
      // Short: it is full.
      if (static_cast<size_t>(done) < offered) break;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
      break;
    } else if (errno != EINTR) {
      socket.failed = -errno;
      ::shutdown(socket.fd, SHUT_RDWR);
      watch(socket, UV_READABLE | UV_WRITABLE);
      return;
    }
  }
  if (socket.queue.empty()) {
    watch(socket, socket.events & ~UV_WRITABLE);
    if (socket.finishing) ::shutdown(socket.fd, SHUT_WR);
  } else {
    watch(socket, socket.events | UV_WRITABLE);
  }
}

/** One call for the next pieces: those up to the next pipe, or a pipe. As sendmsg; `offered`: bytes of these pieces. */
ssize_t Sockets::sendSome(Socket& socket, size_t& offered) {
  iovec* const first = socket.queue.data() + socket.first;
  if (isPipe(*first)) {
    offered = first->iov_len;
    const ssize_t done = pipes_.send(pipeOf(*first), socket.fd, offered);
    if (done >= 0) return done;
    errno = static_cast<int>(-done);
    return -1;
  }
  msghdr message{};
  message.msg_iov = first;
  const size_t most = std::min<size_t>(socket.queue.size() - socket.first, IOV_MAX);
  size_t count = 0;
  for (; count < most && !isPipe(first[count]); count++) offered += first[count].iov_len;
  message.msg_iovlen = count;
  // A header goes with what the pipe behind it holds.
  const int more = count < most ? MSG_MORE : 0;
  return ::sendmsg(socket.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT | more);
}

void Sockets::sent(Socket& socket, size_t bytes) {
  double* shared = row(socket);
  shared[3] -= static_cast<double>(bytes);
  while (socket.first < socket.queue.size()) {
    iovec& piece = socket.queue[socket.first];
    if (piece.iov_len > bytes) {
      if (!isPipe(piece)) piece.iov_base = static_cast<uint8_t*>(piece.iov_base) + bytes;
      piece.iov_len -= bytes;
      // A peer that is always a little behind would have it grow for ever.
      if (socket.first >= kSentPieces && socket.first * 2 >= socket.queue.size()) {
        socket.queue.erase(socket.queue.begin(), socket.queue.begin() + static_cast<ptrdiff_t>(socket.first));
        socket.first = 0;
      }
      return;
    }
    bytes -= piece.iov_len;
    socket.first++;
    shared[2]++;
  }
  socket.first = 0;
  socket.queue.clear();
  if (socket.queue.capacity() > kKeptPieces) socket.queue.shrink_to_fit();
}

void Sockets::onPoll(uv_poll_t* handle, int status, int events) {
  auto& socket = *static_cast<Socket*>(handle->data);
  Sockets& all = *socket.owner;
  if (!socket.open) return;
  if (socket.failed != 0) {
    all.end(socket, socket.failed);
    return;
  }
  if (status < 0) {
    // The loop has stopped watching (a peer that left with replies unread). The next call finds out why; until then data may still come.
    events = socket.events;
    socket.events = 0;
    all.watch(socket, events);
  }
  if (socket.kind == SocketKind::kListening) {
    all.accept(socket);
    return;
  }
  if ((events & UV_WRITABLE) != 0) all.onWritable(socket);
  if (socket.open && (events & UV_READABLE) != 0) all.onReadable(socket);
}

void Sockets::onReadable(Socket& socket) {
  if (socket.finishing) {
    drain(socket);
    return;
  }
  double* shared = row(socket);
  const uint64_t began = uv_hrtime();
  for (int round = 0; round < kRounds && socket.open && !socket.finishing; round++) {
    const double room = shared[1];
    if (room == 0) {
      watch(socket, socket.events & ~UV_READABLE);
      return;
    }
    const bool sane = whole(shared[0], INT64_MAX) && whole(room, kMaxBytes);
    const auto address = sane ? static_cast<uint64_t>(shared[0]) : 0;
    const auto length = sane ? static_cast<uint64_t>(room) : 0;
    if (!sane || !arena_.contains(address, length)) {
      end(socket, -EFAULT);
      return;
    }
    void* const at = reinterpret_cast<void*>(address);
    const ssize_t count = socket.takesDescriptors ? receive(socket, at, length)
                                                  : ::recv(socket.fd, at, length, MSG_DONTWAIT);
    // JavaScript may have closed it at the sight of a descriptor.
    if (!socket.open) return;
    if (count > 0) {
      const bool full = static_cast<uint64_t>(count) == length;
      shared[6] += static_cast<double>(count);
      if (shared[7] != 0 && !full) {
        shared[0] += static_cast<double>(count);
        shared[1] -= static_cast<double>(count);
      } else {
        const double gathered = shared[6];
        shared[1] = 0;
        shared[6] = 0;
        onEvent_(socket.id, kReceived, gathered);
      }
      // Less than there was room for: that was all, for now.
      if (!full) {
        if (uv_hrtime() - began > kTurnNs || !more(socket)) return;
        round = 0;
      }
    } else if (count == 0) {
      end(socket, 0);
    } else if (errno != EINTR) {
      if (errno != EAGAIN && errno != EWOULDBLOCK) end(socket, -errno);
      return;
    }
  }
}

/**
 * As recv, with the descriptors that come along, at most `kMostDescriptors` of one message: the system closes others. They are closed in a program
 * that this one starts.
 */
ssize_t Sockets::receive(Socket& socket, void* at, size_t length) {
  alignas(cmsghdr) char control[CMSG_SPACE(kMostDescriptors * sizeof(int))];
  iovec piece{at, length};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t count = ::recvmsg(socket.fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (count < 0) return count;
  const int failed = errno;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t bytes = header->cmsg_len - CMSG_LEN(0);
    for (size_t offset = 0; offset + sizeof(int) <= bytes; offset += sizeof(int)) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + offset, sizeof fd);
      if (socket.open) onEvent_(socket.id, kDescriptor, fd);
      else ::close(fd);
    }
  }
  errno = failed;
  return count;
}

bool Sockets::more(Socket& socket) {
  const bool wanted = socket.open && !socket.finishing && socket.events == UV_READABLE && row(socket)[1] != 0;
  return lookOut_.more(socket.id, socket.fd, wanted);
}

void Sockets::onWritable(Socket& socket) {
  if (socket.kind == SocketKind::kConnecting) {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      end(socket, -error);
      return;
    }
    socket.kind = SocketKind::kConnected;
    watch(socket, socket.events & ~UV_WRITABLE);
    onEvent_(socket.id, kConnected, 0);
    return;
  }
  const double before = row(socket)[2];
  send(socket);
  if (socket.failed != 0) end(socket, socket.failed);
  else if (row(socket)[2] != before && !socket.finishing) onEvent_(socket.id, kProgressed, 0);
}

void Sockets::accept(Socket& socket) {
  for (int round = 0; round < kAcceptRounds && socket.open; round++) {
    const int fd = ::accept4(socket.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      onEvent_(socket.id, kAccepted, fd);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    } else if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO) {
      // No descriptor to be had, say. It stays readable: watched on, the loop would spin.
      const int why = errno;
      watch(socket, 0);
      onEvent_(socket.id, kAcceptFailed, -why);
      return;
    }
  }
}

void Sockets::takeDescriptors(uint32_t id) {
  Socket* socket = sockets_.find(id);
  if (socket != nullptr) socket->takesDescriptors = true;
}

void Sockets::finish(uint32_t id) {
  Socket* socket = sockets_.find(id);
  if (socket == nullptr || socket->finishing) return;
  socket->finishing = true;
  if (socket->queue.empty()) ::shutdown(socket->fd, SHUT_WR);
  watch(*socket, socket->events | UV_READABLE);
}

void Sockets::drain(Socket& socket) {
  for (int round = 0; round < kRounds; round++) {
    const ssize_t count = ::recv(socket.fd, nowhere, sizeof nowhere, MSG_DONTWAIT);
    if (count > 0) row(socket)[5] += static_cast<double>(count);
    if (count > 0 || (count < 0 && errno == EINTR)) continue;
    if (count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) end(socket, 0);
    return;
  }
}

void Sockets::end(Socket& socket, int why) {
  const uint32_t id = socket.id;
  release(socket);
  onEvent_(id, kClosed, why);
}

void Sockets::close(uint32_t id) {
  Socket* socket = sockets_.find(id);
  if (socket != nullptr) release(*socket);
}

int Sockets::detach(uint32_t id) {
  Socket* socket = sockets_.find(id);
  if (socket == nullptr) return -EBADF;
  // A number of its own: the loop may still know the old one.
  const int fd = ::fcntl(socket->fd, F_DUPFD_CLOEXEC, 0);
  const int result = fd < 0 ? -errno : fd;
  release(*socket);
  return result;
}

void Sockets::release(Socket& socket) {
  for (size_t i = socket.first; i < socket.queue.size(); i++) {
    if (isPipe(socket.queue[i])) pipes_.drop(pipeOf(socket.queue[i]));
  }
  socket.queue = {};
  pipes_.rest();
  sockets_.release(socket);
}

void Sockets::closeAll(std::function<void()> closed) {
  sockets_.closeAll([this](Socket& socket) { release(socket); }, std::move(closed));
}

}  // namespace diskwright
