#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "files.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace diskwright {

namespace {

constexpr uint32_t kMaxAlign = 65536;

bool plausible(uint32_t align) { return align >= 1 && align <= kMaxAlign && (align & (align - 1)) == 0; }

bool alignmentFromStatx(int fd, OpenedFile& file) {
#if defined(STATX_DIOALIGN)
  struct statx info {};
  if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) != 0) return false;
  if ((info.stx_mask & STATX_DIOALIGN) == 0 || info.stx_dio_offset_align == 0) return false;
  if (!plausible(info.stx_dio_offset_align) || !plausible(info.stx_dio_mem_align)) return false;
  file.memoryAlign = info.stx_dio_mem_align;
  file.offsetAlign = info.stx_dio_offset_align;
  return true;
#else
  return false;
#endif
}

/** Reads with less and less alignment say what the kernel takes; 4096 where nothing can be learnt (empty file). */
void alignmentFromTrialReads(int fd, OpenedFile& file) {
  file.memoryAlign = 4096;
  file.offsetAlign = 4096;
  void* buffer = mmap(nullptr, 2 * kMaxAlign, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (buffer == MAP_FAILED) return;
  auto* bytes = static_cast<uint8_t*>(buffer);
  for (uint32_t align = 512; align <= kMaxAlign; align *= 2) {
    const ssize_t got = pread(fd, bytes, align, 0);
    if (got < 0 && errno == EINVAL) continue;
    if (got > 0) file.offsetAlign = align;
    break;
  }
  for (uint32_t align = 512; align <= 4096; align *= 2) {
    const ssize_t got = pread(fd, bytes + align, file.offsetAlign, 0);
    if (got < 0 && errno == EINVAL) continue;
    if (got > 0) file.memoryAlign = align;
    break;
  }
  munmap(buffer, 2 * kMaxAlign);
}

struct flock lockOf(int kind, uint64_t start, uint64_t length) {
  struct flock lock {};
  lock.l_type = static_cast<short>(kind);
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(start);
  lock.l_len = static_cast<off_t>(length);
  return lock;
}

/** What kind of file `fd` is, and its alignment where `flags` have O_DIRECT. An errno where it is nothing to read from any offset, or 0. */
int lookAt(int fd, int flags, OpenedFile& file) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return errno;
  if (S_ISDIR(info.st_mode)) return EISDIR;
  if (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode)) return ESPIPE;
  file.fd = fd;
  file.type = (info.st_mode & S_IFMT) >> 12;
  if ((flags & O_DIRECT) != 0 && !alignmentFromStatx(fd, file)) alignmentFromTrialReads(fd, file);
  return 0;
}

OpenedFile refused(int fd, int error) {
  close(fd);
  OpenedFile file;
  file.fd = -error;
  return file;
}

}  // namespace

OpenedFile openFile(const char* path, int flags) {
  OpenedFile file;
  int fd;
  do {
    // O_NONBLOCK: opening a FIFO by mistake must not hang a thread.
    fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    file.fd = -errno;
    return file;
  }
  const int wrong = lookAt(fd, flags, file);
  if (wrong != 0) return refused(fd, wrong);
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) != 0) return refused(fd, errno);
  return file;
}

OpenedFile duplicateFile(int fd) {
  OpenedFile file;
  const int flags = fcntl(fd, F_GETFL);
  const int own = flags < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (own < 0) {
    file.fd = -errno;
    return file;
  }
  const int wrong = (flags & O_PATH) != 0 ? EBADF : lookAt(own, flags, file);
  if (wrong != 0) return refused(own, wrong);
  file.flags = static_cast<uint32_t>(flags);
  return file;
}

int64_t setNoCow(int fd) {
  int flags = 0;
  if (ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0) return -errno;
  flags |= FS_NOCOW_FL;
  return ioctl(fd, FS_IOC_SETFLAGS, &flags) != 0 ? -errno : 0;
}

int64_t setExtentSize(int fd, int64_t bytes) {
  struct fsxattr attributes {};
  if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) != 0) return -errno;
  attributes.fsx_xflags |= FS_XFLAG_EXTSIZE;
  attributes.fsx_extsize = static_cast<uint32_t>(bytes);
  return ioctl(fd, FS_IOC_FSSETXATTR, &attributes) != 0 ? -errno : 0;
}

int64_t moveOffset(int fd, int64_t bytes) {
  const off_t at = lseek(fd, static_cast<off_t>(bytes), SEEK_CUR);
  return at < 0 ? -errno : at;
}

int64_t fileSize(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return -errno;
  if (!S_ISBLK(info.st_mode)) {
    // Files of /proc that have no end say that they are empty; an image ends somewhere.
    if (info.st_size == 0 && S_ISREG(info.st_mode) && lseek(fd, 0, SEEK_END) < 0) return -errno;
    return info.st_size;
  }
  uint64_t bytes = 0;
  if (ioctl(fd, BLKGETSIZE64, &bytes) != 0) return -errno;
  return static_cast<int64_t>(bytes);
}

int64_t sectorBytes(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return -errno;
  if (!S_ISBLK(info.st_mode)) return 1;
  int bytes = 0;
  if (ioctl(fd, BLKSSZGET, &bytes) != 0) return -errno;
  return bytes;
}

int64_t seekRun(int fd, int64_t offset) {
  // The size is asked only where the answer is not the file system's: a raw image has thousands of runs.
  const off_t data = lseek(fd, offset, SEEK_DATA);
  if (data > offset) return data * 2;
  const bool isData = data == offset;
  if (!isData && errno != ENXIO && errno != EINVAL && errno != EOPNOTSUPP) return -errno;
  const bool isHole = !isData && errno == ENXIO;
  const off_t hole = isData ? lseek(fd, offset, SEEK_HOLE) : -1;
  if (hole > offset) return hole * 2 + 1;
  const int64_t size = fileSize(fd);
  if (size < 0) return size;
  return size * 2 + (isHole ? 0 : 1);
}

int64_t ofdLock(int fd, int kind, uint64_t start, uint64_t length) {
  struct flock lock = lockOf(kind, start, length);
  if (fcntl(fd, F_OFD_SETLK, &lock) == 0) return 0;
  return errno == EACCES ? -EAGAIN : -errno;
}

int64_t fileLock(int fd) { return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : -errno; }

int64_t ofdTest(int fd, int kind, uint64_t start, uint64_t length) {
  struct flock lock = lockOf(kind, start, length);
  if (fcntl(fd, F_OFD_GETLK, &lock) != 0) return -errno;
  return lock.l_type == F_UNLCK ? 0 : 1;
}

}  // namespace diskwright
