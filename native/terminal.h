// Pseudo terminals. JavaScript thread only.
#pragma once

#include <string>

namespace diskwright {

struct Terminal {
  /** This side; -errno where it could not be made. */
  int fd = -1;
  /** The other side, held open: this one reads on where programs that have opened it come and go. */
  int other = -1;
  /** Path by which other programs open the other side. */
  std::string path;
};

/** Both sides are closed in children. The other side is raw: what goes through is not changed, and not echoed. */
Terminal openTerminal();

}  // namespace diskwright
