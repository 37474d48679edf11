#include "terminal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>

namespace diskwright {

Terminal openTerminal() {
  Terminal made;
  made.fd = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  char path[64];
  if (made.fd >= 0 && ::grantpt(made.fd) == 0 && ::unlockpt(made.fd) == 0 &&
      ::ptsname_r(made.fd, path, sizeof path) == 0) {
    made.path = path;
    made.other = ::open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  }
  termios settings{};
  if (made.other >= 0 && ::tcgetattr(made.other, &settings) == 0) {
    ::cfmakeraw(&settings);
    if (::tcsetattr(made.other, TCSANOW, &settings) == 0) return made;
  }
  const int why = -errno;
  if (made.other >= 0) ::close(made.other);
  if (made.fd >= 0) ::close(made.fd);
  made.fd = why;
  return made;
}

}  // namespace diskwright
