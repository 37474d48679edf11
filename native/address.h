// Making sockets: addresses, listening, connecting. All of them are non-blocking and closed in children. JavaScript thread only.
#pragma once

#include <cstdint>
#include <string>

namespace diskwright {

/** A path, or a name in the abstract name space. A descriptor, or -errno. */
int bindUnix(const std::string& name, bool abstract);
/** `fd`, or -errno: then `fd` is closed. */
int listenOn(int fd, int backlog);
/** -EAGAIN: the other side's queue is full. */
int connectUnix(const std::string& name, bool abstract);
/** `host`: an IPv4 or IPv6 address in figures. */
int listenInet(const std::string& host, uint16_t port, bool onlyVersion6, int backlog);
/** The descriptor may not be connected yet: it becomes writable when it is. */
int connectInet(const std::string& host, uint16_t port);
/** The port that a TCP service has, by its name (/etc/services and the like); -1 where there is no such service. */
int servicePort(const std::string& name);
/** A descriptor that we were given: 1 it listens, 0 it is connected, or -errno. */
int adoptSocket(int fd);
/** `192.0.2.1:80`, `[::1]:80`; empty where it is no such socket. */
std::string nameOfSocket(int fd, bool peer);
/** Nothing is held back to make larger packets. No effect on other sockets than TCP's. */
void sendAtOnce(int fd);
/** Has the system ask, now and then, whether the other side is still there. */
int keepAlive(int fd);

}  // namespace diskwright
