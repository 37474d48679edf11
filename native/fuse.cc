#include "fuse.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace diskwright {

namespace {

constexpr uint64_t kPage = 4096;
// The headers of a read or a write request.
constexpr uint64_t kHeaders = 80;
constexpr int32_t kMostRequests = kPage / 4;
// So often one wake-up reads; then it is the turn of the others.
constexpr int kRounds = 16;
// One wake-up ends after about so long, whatever comes.
constexpr uint64_t kTurnNs = 1000000;
constexpr uint64_t kMaxBytes = uint64_t{1} << 31;

bool whole(double value, uint64_t limit) { return value >= 0 && value <= static_cast<double>(limit); }

/** The first place from `at` on behind which, after the headers, a page begins. */
uint64_t placeFrom(uint64_t at) { return (at + kHeaders + kPage - 1) / kPage * kPage - kHeaders; }

}  // namespace

FuseChannels::FuseChannels(uv_loop_t* loop, Arena& arena, double* rows, uint32_t count, OnEvent onEvent)
    : arena_(arena), onEvent_(std::move(onEvent)), channels_(loop, rows, count) {}

int FuseChannels::attach(uint32_t id, int fd) {
  const int failed = channels_.attach(id, fd);
  if (failed == 0) channels_.find(id)->owner = this;
  return failed;
}

void FuseChannels::arm(uint32_t id) {
  Channel* channel = channels_.find(id);
  if (channel != nullptr) watch(*channel, true);
}

void FuseChannels::watch(Channel& channel, bool on) {
  if (!channel.open || on == channel.watched) return;
  channel.watched = on;
  if (on) uv_poll_start(&channel.poll, UV_READABLE, onPoll);
  else uv_poll_stop(&channel.poll);
}

int FuseChannels::reply(uint32_t id, uint64_t table, uint32_t count) {
  Channel* channel = channels_.find(id);
  if (channel == nullptr) return -EBADF;
  if (!arena_.contains(table, uint64_t{count} * 16)) return -EFAULT;
  const double* pairs = reinterpret_cast<const double*>(table);
  int failed = 0;
  for (uint32_t i = 0; i < count; i++) {
    const double address = pairs[2 * i];
    const double length = pairs[2 * i + 1];
    if (!whole(address, INT64_MAX) || !whole(length, kMaxBytes) ||
        !arena_.contains(static_cast<uint64_t>(address), static_cast<uint64_t>(length))) {
      return -EFAULT;
    }
    ssize_t done;
    do {
      done = ::write(channel->fd, reinterpret_cast<const void*>(static_cast<uint64_t>(address)), static_cast<size_t>(length));
    } while (done < 0 && errno == EINTR);
    // ENOENT: whoever waited was killed. ENODEV: the mount is gone, which reading tells.
    if (done < 0 && failed == 0 && errno != ENOENT && errno != ENODEV) failed = -errno;
  }
  return failed;
}

void FuseChannels::onPoll(uv_poll_t* handle, int status, int events) {
  auto& channel = *static_cast<Channel*>(handle->data);
  if (!channel.open) return;
  if (status < 0) {
    // The loop has stopped watching: reading tells why.
    channel.watched = false;
    channel.owner->watch(channel, true);
  }
  channel.owner->onReadable(channel);
}

void FuseChannels::onReadable(Channel& channel) {
  double* shared = channels_.row(channel);
  const uint64_t began = uv_hrtime();
  for (int round = 0; round < kRounds && channel.open; round++) {
    if (shared[1] == 0) {
      watch(channel, false);
      return;
    }
    const bool sane = whole(shared[0], INT64_MAX) && whole(shared[1], kMaxBytes) && whole(shared[2], kMaxBytes);
    const auto address = sane ? static_cast<uint64_t>(shared[0]) : 0;
    const auto bytes = sane ? static_cast<uint64_t>(shared[1]) : 0;
    const auto least = sane ? static_cast<uint64_t>(shared[2]) : 0;
    if (!sane || least < kHeaders || !arena_.contains(address, bytes) || bytes < placeFrom(kPage) + least) {
      end(channel, -EFAULT);
      return;
    }
    int32_t count = 0;
    const int failed = fill(channel, reinterpret_cast<uint8_t*>(address), bytes, least, count);
    if (count > 0) {
      shared[1] = 0;
      onEvent_(channel.id, count);
      if (!channel.open) return;
    }
    if (failed == -EAGAIN) {
      if (uv_hrtime() - began > kTurnNs || !more(channel)) return;
      round = 0;
    } else if (failed != 0) {
      end(channel, failed == -ENODEV ? 0 : failed);
      return;
    }
  }
}

/** Reads requests until the window has no room (0), or as `errno` says. */
int FuseChannels::fill(Channel& channel, uint8_t* window, uint64_t bytes, uint64_t least, int32_t& count) {
  auto* offsets = reinterpret_cast<int32_t*>(window);
  uint64_t at = placeFrom(kPage);
  while (count < kMostRequests && bytes - at >= least) {
    const ssize_t done = ::read(channel.fd, window + at, bytes - at);
    if (done > 0) {
      offsets[count++] = static_cast<int32_t>(at);
      at = placeFrom(at + static_cast<uint64_t>(done));
      if (at >= bytes) return 0;
    } else if (done == 0) {
      return -ENODEV;
    } else if (errno != EINTR && errno != ENOENT) {
      // ENOENT: the request was taken back while it was read.
      return -errno;
    }
  }
  return 0;
}

bool FuseChannels::more(Channel& channel) {
  return lookOut_.more(channel.id, channel.fd, channel.open && channels_.row(channel)[1] != 0);
}

void FuseChannels::end(Channel& channel, int why) {
  const uint32_t id = channel.id;
  channels_.release(channel);
  onEvent_(id, why);
}

void FuseChannels::close(uint32_t id) {
  Channel* channel = channels_.find(id);
  if (channel != nullptr) channels_.release(*channel);
}

void FuseChannels::closeAll(std::function<void()> closed) {
  channels_.closeAll([this](Channel& channel) { channels_.release(channel); }, std::move(closed));
}

int openFuse() {
  const int fd = ::open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  return fd < 0 ? -errno : fd;
}

int mountFuse(const std::string& source, const std::string& path, const std::string& type, const std::string& options) {
  return ::mount(source.c_str(), path.c_str(), type.c_str(), MS_NOSUID | MS_NODEV, options.c_str()) == 0 ? 0 : -errno;
}

int unmountFuse(const std::string& path, bool detach) {
  return ::umount2(path.c_str(), UMOUNT_NOFOLLOW | (detach ? MNT_DETACH : 0)) == 0 ? 0 : -errno;
}

int socketPair(int ends[2]) { return ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0 ? 0 : -errno; }

int receiveDescriptor(int socket) {
  char byte;
  iovec piece{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < 0) return -errno;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return -ENODATA;
  int fd;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0 && ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0) return fd;
  const int failed = -errno;
  ::close(fd);
  return failed;
}

}  // namespace diskwright
