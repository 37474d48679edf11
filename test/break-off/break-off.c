/* Breaks one call of a program into the files of a folder: loaded with LD_PRELOAD.
 *
 *   BREAK_FOLDER   the folder whose files count
 *   BREAK_NTH      which call breaks, from 1 on
 *   BREAK_KIND     eio: it fails, once; enospc: it and all later ones that take space fail; short: it does a part; kill: SIGKILL in its place;
 *                  int, term: SIGINT or SIGTERM comes, and the call begins so much later that a program that listens has taken note of it
 *   BREAK_HIT      a file that is made when it happened
 *   BREAK_COUNT    where it is set: a file that gets one byte for each call that is counted
 *
 * Counted are the calls by which the addon's worker threads read, write, resize, reserve and flush (DISKWRIGHT_ENGINE=threads).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { NONE, EIO_ONCE, NO_SPACE, SHORT, KILL, INTERRUPT, TERMINATE };

#define NOTICED_US 100000
enum call { READS, WRITES, RESERVES, OTHER };

static atomic_long count;

static int is_counted(int fd) {
  const char *folder = getenv("BREAK_FOLDER");
  char link[64], path[4096];
  if (folder == NULL) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return strncmp(path, folder, strlen(folder)) == 0;
}

static enum kind asked(void) {
  const char *kind = getenv("BREAK_KIND");
  if (kind == NULL) return NONE;
  if (strcmp(kind, "eio") == 0) return EIO_ONCE;
  if (strcmp(kind, "enospc") == 0) return NO_SPACE;
  if (strcmp(kind, "short") == 0) return SHORT;
  if (strcmp(kind, "int") == 0) return INTERRUPT;
  if (strcmp(kind, "term") == 0) return TERMINATE;
  return KILL;
}

static void note(void) {
  const char *notes = getenv("BREAK_COUNT");
  if (notes == NULL) return;
  int fd = open(notes, O_CREAT | O_APPEND | O_WRONLY, 0644);
  if (write(fd, "", 1) != 1) abort();
  close(fd);
}

/* What happens to this call. */
static enum kind broken(int fd, enum call call) {
  if (!is_counted(fd)) return NONE;
  enum kind kind = asked();
  if (kind == NO_SPACE && call != WRITES && call != RESERVES) return NONE;
  if (kind == SHORT && call != READS && call != WRITES) return NONE;
  long mine = atomic_fetch_add(&count, 1) + 1;
  note();
  long nth = atol(getenv("BREAK_NTH"));
  if (kind == NO_SPACE ? mine < nth : mine != nth) return NONE;
  close(open(getenv("BREAK_HIT"), O_CREAT | O_WRONLY, 0644));
  if (kind == KILL) kill(getpid(), SIGKILL);
  if (kind != INTERRUPT && kind != TERMINATE) return kind;
  kill(getpid(), kind == INTERRUPT ? SIGINT : SIGTERM);
  usleep(NOTICED_US);
  return NONE;
}

static int failed(enum kind kind) {
  errno = kind == NO_SPACE ? ENOSPC : EIO;
  return -1;
}

/* The first half, whole sectors, of what was asked for; all of it where that is one sector. */
static ssize_t part(ssize_t (*real)(int, const struct iovec *, int, off64_t, int), int fd, const struct iovec *parts,
                    int parts_count, off64_t offset, int flags) {
  struct iovec first = parts[0];
  size_t half = first.iov_len / 2 / 512 * 512;
  if (half == 0) return real(fd, parts, parts_count, offset, flags);
  first.iov_len = half;
  return real(fd, &first, 1, offset, flags);
}

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwritev64v2(int fd, const struct iovec *parts, int parts_count, off64_t offset, int flags) {
  enum kind kind = broken(fd, WRITES);
  if (kind == SHORT) return part(REAL(pwritev64v2), fd, parts, parts_count, offset, flags);
  return kind == NONE ? REAL(pwritev64v2)(fd, parts, parts_count, offset, flags) : failed(kind);
}

ssize_t preadv64v2(int fd, const struct iovec *parts, int parts_count, off64_t offset, int flags) {
  enum kind kind = broken(fd, READS);
  if (kind == SHORT) return part(REAL(preadv64v2), fd, parts, parts_count, offset, flags);
  return kind == NONE ? REAL(preadv64v2)(fd, parts, parts_count, offset, flags) : failed(kind);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
  enum kind kind = broken(fd, mode & FALLOC_FL_PUNCH_HOLE ? OTHER : RESERVES);
  return kind == NONE ? REAL(fallocate64)(fd, mode, offset, length) : failed(kind);
}

int ftruncate64(int fd, off64_t length) {
  enum kind kind = broken(fd, OTHER);
  return kind == NONE ? REAL(ftruncate64)(fd, length) : failed(kind);
}

int fdatasync(int fd) {
  enum kind kind = broken(fd, OTHER);
  return kind == NONE ? REAL(fdatasync)(fd) : failed(kind);
}
