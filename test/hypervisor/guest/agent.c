/* The program that runs in the guest: it takes one command a line from a virtio serial port and answers there.
 *
 *   write NAME PATH SEED BLOCKS BATCH FIRST   a worker writes records FIRST, FIRST+1, ... into PATH until it is stopped:
 *                                             "ack NAME N" comes after the sync that covers record N, the last of a batch, has
 *                                             returned; "fail NAME N ERRNO" where writing or syncing failed
 *   stop NAME                                 "done NAME": the batch in hand was finished, nothing follows
 *   verify PATH SEED BLOCKS                   "run FIRST COUNT N": these blocks hold record N (0: nothing), read past the page cache;
 *                                             "bad BLOCK" for any other content; then "verified"
 *   run SHELL-COMMAND                         "out LINE" for each line of output, then "exit CODE"
 *
 * Which blocks record N covers, and what is in them, is said in `records.ts`: both sides must agree.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK 4096
#define WORDS (BLOCK / 4)
#define LONGEST 16
#define MAGIC 0x44575254u
#define WORKERS 8

static int port;

/* One write call a line, so that lines of several processes do not mix. */
#define say(...)                                               \
  do {                                                         \
    char line_[256];                                           \
    int length_ = snprintf(line_, sizeof line_, __VA_ARGS__);  \
    send_all(line_, (size_t)length_);                          \
  } while (0)

static void send_all(const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t sent = write(port, bytes, length);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) _exit(3);
    bytes += sent;
    length -= (size_t)sent;
  }
}

static uint32_t mix(uint32_t h) {
  h ^= h >> 16;
  h *= 0x85ebca6bu;
  h ^= h >> 13;
  h *= 0xc2b2ae35u;
  return h ^ (h >> 16);
}

static void place(uint32_t seed, uint32_t n, uint32_t blocks, uint32_t *first, uint32_t *count) {
  uint32_t a = mix(seed ^ mix(n));
  *first = a % blocks;
  *count = 1 + mix(a) % LONGEST;
  if (*count > blocks - *first) *count = blocks - *first;
}

static void fill(uint32_t *words, uint32_t seed, uint32_t block, uint32_t n) {
  uint32_t x = mix(seed ^ mix(block ^ mix(n))) | 1;
  words[0] = MAGIC;
  words[1] = seed;
  words[2] = block;
  words[3] = n;
  for (int i = 4; i < WORDS; i++) {
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    words[i] = x;
  }
}

static volatile sig_atomic_t stopping;

static void stop(int signal) {
  (void)signal;
  stopping = 1;
}

struct work {
  char name[32];
  char path[128];
  uint32_t seed, blocks, batch, first;
};

static void work(const struct work *w) {
  static uint32_t buffer[LONGEST * WORDS];
  /* Both ways to be sure: each write synchronous, or a sync after several. */
  int file = open(w->path, O_WRONLY | O_CREAT | (w->batch == 1 ? O_DSYNC : 0), 0644);
  uint32_t n = w->first;
  if (file < 0) goto failed;
  for (; !stopping || (n - 1) % w->batch != 0; n++) {
    uint32_t first, count;
    place(w->seed, n, w->blocks, &first, &count);
    for (uint32_t i = 0; i < count; i++) fill(buffer + i * WORDS, w->seed, first + i, n);
    size_t length = (size_t)count * BLOCK;
    size_t done = 0;
    while (done < length) {
      ssize_t put = pwrite(file, (char *)buffer + done, length - done, (off_t)first * BLOCK + (off_t)done);
      if (put < 0) goto failed;
      done += (size_t)put;
    }
    if (n % w->batch != 0) continue;
    if (w->batch > 1 && fdatasync(file) != 0) goto failed;
    say("ack %s %u\n", w->name, n);
  }
  return;
failed:
  say("fail %s %u %d\n", w->name, n, errno);
}

static struct {
  char name[32];
  pid_t pid;
} workers[WORKERS];

static void start_worker(const struct work *w) {
  for (int i = 0; i < WORKERS; i++) {
    if (workers[i].pid != 0) continue;
    struct sigaction on_stop = {.sa_handler = stop, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &on_stop, NULL);
    pid_t pid = fork();
    if (pid == 0) {
      work(w);
      _exit(0);
    }
    workers[i].pid = pid;
    memcpy(workers[i].name, w->name, sizeof workers[i].name);
    say("started %s\n", w->name);
    return;
  }
  say("error too many workers\n");
}

static void stop_worker(const char *name) {
  for (int i = 0; i < WORKERS; i++) {
    if (workers[i].pid == 0 || strcmp(workers[i].name, name) != 0) continue;
    kill(workers[i].pid, SIGTERM);
    waitpid(workers[i].pid, NULL, 0);
    workers[i].pid = 0;
    say("done %s\n", name);
    return;
  }
  say("error no worker %s\n", name);
}

/* The record that a block holds; -1 for what no record has put there. */
static int64_t record_in(const uint32_t *words, uint32_t seed, uint32_t block) {
  static uint32_t expected[WORDS];
  if (words[0] == 0) {
    for (int i = 0; i < WORDS; i++)
      if (words[i] != 0) return -1;
    return 0;
  }
  fill(expected, seed, block, words[3]);
  return words[3] != 0 && memcmp(words, expected, BLOCK) == 0 ? (int64_t)words[3] : -1;
}

static void verify(const char *path, uint32_t seed, uint32_t blocks) {
  static uint32_t buffer[LONGEST * WORDS] __attribute__((aligned(BLOCK)));
  int file = open(path, O_RDONLY | O_DIRECT);
  if (file < 0) {
    say("error %s: %s\n", path, strerror(errno));
    return;
  }
  uint32_t run_first = 0, run_count = 0;
  int64_t run_record = 0;
  for (uint32_t block = 0; block < blocks; block += LONGEST) {
    memset(buffer, 0, sizeof buffer);
    if (pread(file, buffer, sizeof buffer, (off_t)block * BLOCK) < 0) {
      say("error %s, block %u: %s\n", path, block, strerror(errno));
      close(file);
      return;
    }
    for (uint32_t i = 0; i < LONGEST && block + i < blocks; i++) {
      int64_t record = record_in(buffer + i * WORDS, seed, block + i);
      if (record < 0) say("bad %u\n", block + i);
      if (run_count > 0 && record == run_record) {
        run_count++;
        continue;
      }
      if (run_count > 0 && run_record >= 0) say("run %u %u %u\n", run_first, run_count, (uint32_t)run_record);
      run_first = block + i;
      run_count = 1;
      run_record = record;
    }
  }
  if (run_count > 0 && run_record >= 0) say("run %u %u %u\n", run_first, run_count, (uint32_t)run_record);
  close(file);
  say("verified\n");
}

static void run(const char *command) {
  char line[200];
  fflush(NULL);
  FILE *output = popen(command, "r");
  if (output == NULL) {
    say("error %s\n", strerror(errno));
    return;
  }
  while (fgets(line, sizeof line, output) != NULL) {
    line[strcspn(line, "\n")] = 0;
    say("out %s\n", line);
  }
  int status = pclose(output);
  say("exit %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int main(int argc, char **argv) {
  static char line[1024];
  if (argc != 2 || (port = open(argv[1], O_RDWR | O_CLOEXEC)) < 0) return 1;
  FILE *commands = fdopen(fcntl(port, F_DUPFD_CLOEXEC, 0), "r");
  say("hello\n");
  while (fgets(line, sizeof line, commands) != NULL) {
    struct work w;
    char name[128];
    uint32_t seed, blocks;
    line[strcspn(line, "\n")] = 0;
    if (sscanf(line, "write %31s %127s %u %u %u %u", w.name, w.path, &w.seed, &w.blocks, &w.batch, &w.first) == 6) {
      start_worker(&w);
    } else if (sscanf(line, "stop %127s", name) == 1) {
      stop_worker(name);
    } else if (sscanf(line, "verify %127s %u %u", name, &seed, &blocks) == 3) {
      verify(name, seed, blocks);
    } else if (strncmp(line, "run ", 4) == 0) {
      run(line + 4);
    } else {
      say("error unknown command\n");
    }
  }
  return 0;
}
