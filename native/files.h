// Opening files (with the alignment that O_DIRECT wants), their size, and byte-range locks that belong to the open
// file description, as QEMU's image locks do. All results are values or -errno.
#pragma once

#include <cstdint>

namespace diskwright {

/** What `openFile` found out. JavaScript reads the words in this order. */
struct OpenedFile {
  int64_t fd = -1;          // or -errno
  uint32_t memoryAlign = 1;
  uint32_t offsetAlign = 1;
  uint32_t type = 0;        // S_IFMT bits of st_mode, shifted right by 12
  uint32_t flags = 0;       // of `duplicateFile`: what F_GETFL says
};

/** Never blocks on a FIFO, never becomes inherited. Regular files and devices only. */
OpenedFile openFile(const char* path, int flags);
/** Another descriptor of the same open file description. Regular files and devices only. */
OpenedFile duplicateFile(int fd);
/** Bytes: st_size, or the size of a block device. */
int64_t fileSize(int fd);
/** Bytes of a block device's logical sector; 1 of a file. -errno. */
int64_t sectorBytes(int fd);
/** SEEK_DATA and SEEK_HOLE: end of the run at `offset` * 2, + 1 where it is data, or -errno. At or behind the file's end: its size. */
int64_t seekRun(int fd, int64_t offset);
/** `kind`: F_RDLCK, F_WRLCK or F_UNLCK. 0, or -errno (-EAGAIN where another holder conflicts). */
int64_t ofdLock(int fd, int kind, uint64_t start, uint64_t length);
/** flock: an exclusive lock of the whole open file description, without waiting. 0, or -errno (-EAGAIN where another holds it). */
int64_t fileLock(int fd);
/** FS_NOCOW_FL: what is written to the new, empty file is not copied. 0, or -errno. */
int64_t setNoCow(int fd);
/** FS_XFLAG_EXTSIZE: space for the new, empty file is allocated in units of `bytes`; 0: as the file system likes. 0, or -errno. */
int64_t setExtentSize(int fd, int64_t bytes);
/** Moves the offset of the open file description by `bytes`; the new offset, or -errno (-ESPIPE of what has none). */
int64_t moveOffset(int fd, int64_t bytes);
/** 1 where a lock of `kind` would conflict with another holder's, 0 where not. */
int64_t ofdTest(int fd, int kind, uint64_t start, uint64_t length);

}  // namespace diskwright
