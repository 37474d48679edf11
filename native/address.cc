#include "address.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace diskwright {

namespace {

constexpr int kStream = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};

int unixAddress(const std::string& name, bool abstract, Address& address) {
  auto& un = reinterpret_cast<sockaddr_un&>(address.storage);
  const size_t lead = abstract ? 1 : 0;
  if (name.empty() || name.size() + 1 > sizeof un.sun_path) return -ENAMETOOLONG;
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path + lead, name.data(), name.size());
  // An abstract name has no NUL behind it: it is as long as it is said to be.
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + 1);
  return 0;
}

/** By the C library, for the sake of scopes (`fe80::1%eth0`); figures only, so that it does not wait. */
int inetAddress(const std::string& host, uint16_t port, Address& address) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return -EINVAL;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  address.size = found->ai_addrlen;
  ::freeaddrinfo(found);
  return 0;
}

/** Closes `fd` and keeps the error. */
int failed(int fd) {
  const int why = -errno;
  ::close(fd);
  return why;
}

int option(int fd, int level, int name, int value) {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0 ? 0 : -errno;
}

int bindAt(int fd, const Address& address) {
  return ::bind(fd, address.get(), address.size) == 0 ? fd : failed(fd);
}

}  // namespace

int bindUnix(const std::string& name, bool abstract) {
  Address address;
  const int wrong = unixAddress(name, abstract, address);
  if (wrong != 0) return wrong;
  const int fd = ::socket(AF_UNIX, kStream, 0);
  return fd < 0 ? -errno : bindAt(fd, address);
}

int listenOn(int fd, int backlog) { return ::listen(fd, backlog) == 0 ? fd : failed(fd); }

int connectUnix(const std::string& name, bool abstract) {
  Address address;
  const int wrong = unixAddress(name, abstract, address);
  if (wrong != 0) return wrong;
  const int fd = ::socket(AF_UNIX, kStream, 0);
  if (fd < 0) return -errno;
  return ::connect(fd, address.get(), address.size) == 0 ? fd : failed(fd);
}

int listenInet(const std::string& host, uint16_t port, bool onlyVersion6, int backlog) {
  Address address;
  const int wrong = inetAddress(host, port, address);
  if (wrong != 0) return wrong;
  const int fd = ::socket(address.family(), kStream, 0);
  if (fd < 0) return -errno;
  // A server that is started again must not wait for what is left of its old connections.
  option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (address.family() == AF_INET6) option(fd, IPPROTO_IPV6, IPV6_V6ONLY, onlyVersion6 ? 1 : 0);
  const int bound = bindAt(fd, address);
  return bound < 0 ? bound : listenOn(bound, backlog);
}

int connectInet(const std::string& host, uint16_t port) {
  Address address;
  const int wrong = inetAddress(host, port, address);
  if (wrong != 0) return wrong;
  const int fd = ::socket(address.family(), kStream, 0);
  if (fd < 0) return -errno;
  if (::connect(fd, address.get(), address.size) != 0 && errno != EINPROGRESS) return failed(fd);
  return fd;
}

int servicePort(const std::string& name) {
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  // Without a host, nothing but the service is looked up.
  if (::getaddrinfo(nullptr, name.c_str(), &hints, &found) != 0) return -1;
  const int port = ntohs(reinterpret_cast<const sockaddr_in*>(found->ai_addr)->sin_port);
  ::freeaddrinfo(found);
  return port;
}

int adoptSocket(int fd) {
  int listens = 0;
  socklen_t size = sizeof listens;
  if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0) return -errno;
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return listens;
}

std::string nameOfSocket(int fd, bool peer) {
  Address address;
  address.size = sizeof address.storage;
  auto* to = reinterpret_cast<sockaddr*>(&address.storage);
  if ((peer ? ::getpeername(fd, to, &address.size) : ::getsockname(fd, to, &address.size)) != 0) return "";
  char text[INET6_ADDRSTRLEN];
  std::string name;
  if (address.family() == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(address.storage);
    name.append(::inet_ntop(AF_INET, &in.sin_addr, text, sizeof text));
    return name.append(":").append(std::to_string(ntohs(in.sin_port)));
  }
  if (address.family() != AF_INET6) return name;
  const auto& in6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
  // A socket for both families shows IPv4 addresses in the clothes of IPv6.
  if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
    name.append(::inet_ntop(AF_INET, in6.sin6_addr.s6_addr + 12, text, sizeof text));
  } else {
    name.append("[").append(::inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof text)).append("]");
  }
  return name.append(":").append(std::to_string(ntohs(in6.sin6_port)));
}

void sendAtOnce(int fd) { option(fd, IPPROTO_TCP, TCP_NODELAY, 1); }

int keepAlive(int fd) { return option(fd, SOL_SOCKET, SO_KEEPALIVE, 1); }

}  // namespace diskwright
