/* Loads an NBD server without being the bound itself: many requests in one sendmsg, many replies out of one recv.
 *
 *   nbdload (-k PATH | -H HOST -p PORT) [-x EXPORT] [-s] [-w] [-q] [-b BYTES] [-d DEPTH] [-c CONNECTIONS]
 *           [-t SECONDS | -n REQUESTS] [-v SEED] [-i IDLE]
 *
 *   -s structured replies   -w write (else read)   -q sequential (else random)   -b bytes a request (4096)
 *   -v the export holds (reads) or gets (writes) words that follow from their offset and SEED; reads are compared
 *   -i opens IDLE connections, prints "ready" and holds them until its standard input ends
 *
 *   slots:   cookie = (generation << 16) | slot        a reply with another cookie ends the run with status 1
 *   stream:  [header][payload ...][header] ...         replies are parsed where they were received; no copy, no allocation
 *
 * Prints JSON: operations, seconds, rate, bytesPerSecond, p50us, p99us, maxus, cpu (our own seconds). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEPTH 1024
#define MAX_PIECES 1024
#define RECEIVE_BYTES (512u << 10)
#define REQUEST_MAGIC 0x25609513u
#define SIMPLE_MAGIC 0x67446698u
#define CHUNK_MAGIC 0x668e33efu
#define OPTION_MAGIC 0x49484156454f5054ull
#define REPLY_MAGIC 0x3e889045565a9ull

struct request {
    uint32_t magic;
    uint16_t flags, type;
    uint64_t cookie, offset;
    uint32_t length;
} __attribute__((packed));

struct slot {
    uint64_t cookie, offset;
    double sent;
    uint32_t got;
    int busy;
};

struct connection {
    int fd;
    struct slot slots[MAX_DEPTH];
    struct request headers[MAX_DEPTH];
    unsigned idle[MAX_DEPTH], idle_count;
    /* Pieces that wait for the socket: [first, count). */
    struct iovec pieces[2 * MAX_DEPTH];
    unsigned first, count;
    /* Received bytes that are not parsed yet, and the payload that the last header announced. */
    unsigned char *buffer;
    size_t filled;
    struct slot *current;
    uint32_t payload_left;
    uint64_t payload_at;
    int current_done;
};

static const char *unix_path, *host, *port = "10809", *export_name = "";
static int structured, writing, sequential, verify;
static uint32_t block = 4096;
static unsigned depth = 32, connection_count = 1;
static double duration = 2;
static uint64_t request_limit, seed, export_bytes, operations, started, next_block, generation;
static unsigned char *payloads;
static uint64_t histogram[64 * 32];
static double longest;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("nbdload: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- handshake: small messages, blocking ---- */

static void send_all(int fd, const void *data, size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t n = send(fd, (const char *)data + done, length - done, MSG_NOSIGNAL);
        if (n <= 0) fail("send: %s", strerror(errno));
        done += (size_t)n;
    }
}

static void receive_all(int fd, void *data, size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t n = recv(fd, (char *)data + done, length - done, 0);
        if (n <= 0) fail("the server went away in the handshake");
        done += (size_t)n;
    }
}

static void send_option(int fd, uint32_t option, const void *data, uint32_t length) {
    unsigned char head[16];
    uint64_t magic = htobe64(OPTION_MAGIC);
    uint32_t words[2] = {htobe32(option), htobe32(length)};
    memcpy(head, &magic, 8);
    memcpy(head + 8, words, 8);
    send_all(fd, head, sizeof head);
    send_all(fd, data, length);
}

/* One reply; its data goes to `data` (at most `limit` bytes). Returns its type. */
static uint32_t receive_reply(int fd, unsigned char *data, uint32_t limit) {
    unsigned char head[20];
    uint64_t magic;
    uint32_t words[3];
    receive_all(fd, head, sizeof head);
    memcpy(&magic, head, 8);
    memcpy(words, head + 8, 12);
    if (be64toh(magic) != REPLY_MAGIC) fail("not a reply to an option");
    if (be32toh(words[2]) > limit) fail("a reply of %u bytes to an option", be32toh(words[2]));
    receive_all(fd, data, be32toh(words[2]));
    return be32toh(words[1]);
}

static void negotiate(int fd) {
    unsigned char greeting[18], data[4096];
    receive_all(fd, greeting, sizeof greeting);
    if (memcmp(greeting, "NBDMAGICIHAVEOPT", 16) != 0) fail("not a newstyle server");
    uint32_t flags = htobe32(3);
    send_all(fd, &flags, 4);
    if (structured) {
        send_option(fd, 8, NULL, 0);
        if (receive_reply(fd, data, sizeof data) != 1) fail("the server knows no structured replies");
    }
    uint32_t length = (uint32_t)strlen(export_name), wire = htobe32(length);
    if (length > 255) fail("the name of the export is too long");
    memcpy(data, &wire, 4);
    memcpy(data + 4, export_name, length);
    memset(data + 4 + length, 0, 2);
    send_option(fd, 7, data, length + 6);
    for (;;) {
        uint32_t type = receive_reply(fd, data, sizeof data);
        if (type == 1) return;
        if (type != 3) fail("the server refuses the export: reply %#x", type);
        if (data[0] == 0 && data[1] == 0) {
            memcpy(&export_bytes, data + 2, 8);
            export_bytes = be64toh(export_bytes);
        }
    }
}

static int dial(void) {
    int fd = -1;
    if (unix_path != NULL) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        if (strlen(unix_path) >= sizeof address.sun_path) fail("%s: too long", unix_path);
        strcpy(address.sun_path, unix_path);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        while (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
            /* The queue of a listener that is busy accepting is full for a moment. */
            if (errno != EAGAIN) fail("%s: %s", unix_path, strerror(errno));
            usleep(1000);
        }
    } else {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
        if (host == NULL || getaddrinfo(host, port, &hints, &found) != 0) fail("no address");
        fd = socket(found->ai_family, SOCK_STREAM, 0);
        if (connect(fd, found->ai_addr, found->ai_addrlen) != 0) fail("%s:%s: %s", host, port, strerror(errno));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        freeaddrinfo(found);
    }
    negotiate(fd);
    return fd;
}

/* ---- load ---- */

static uint64_t random_word(void) {
    static uint64_t state = 88172645463325252ull;
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static uint64_t word_at(uint64_t offset) { return (offset / 8 + 1) * 0x9e3779b97f4a7c15ull ^ seed; }

static void fill(unsigned char *data, uint64_t offset, uint32_t length) {
    for (uint32_t at = 0; at + 8 <= length; at += 8) {
        uint64_t word = word_at(offset + at);
        memcpy(data + at, &word, 8);
    }
}

/* `data` may start in the middle of a word. */
static void compare(const unsigned char *data, uint64_t offset, uint32_t length) {
    uint32_t at = 0;
    while (at < length) {
        uint64_t word = word_at(offset + at);
        unsigned from = (offset + at) % 8, part = 8 - from;
        if (part > length - at) part = length - at;
        if (memcmp(data + at, (unsigned char *)&word + from, part) != 0)
            fail("wrong bytes at offset %llu", (unsigned long long)(offset + at));
        at += part;
    }
}

static int may_start(double end, double at) { return request_limit ? started < request_limit : at < end; }

/* Puts requests on all idle slots, as far as the pieces reach. */
static void refill(struct connection *c, double end, double at) {
    uint64_t blocks = export_bytes / block;
    if (c->first == c->count) c->first = c->count = 0;
    while (c->idle_count > 0 && c->count + 2 <= 2 * MAX_DEPTH && may_start(end, at)) {
        unsigned index = c->idle[--c->idle_count];
        struct slot *s = &c->slots[index];
        struct request *r = &c->headers[index];
        s->cookie = (++generation << 16) | index;
        s->offset = (sequential ? next_block++ % blocks : random_word() % blocks) * block;
        s->sent = at;
        s->got = 0;
        s->busy = 1;
        *r = (struct request){htobe32(REQUEST_MAGIC), 0, htobe16(writing), htobe64(s->cookie), htobe64(s->offset), htobe32(block)};
        c->pieces[c->count++] = (struct iovec){r, sizeof *r};
        if (writing) {
            unsigned char *data = payloads + (verify ? (size_t)index * block : 0);
            if (verify) fill(data, s->offset, block);
            c->pieces[c->count++] = (struct iovec){data, block};
        }
        started++;
    }
}

static void send_pieces(struct connection *c) {
    while (c->first < c->count) {
        unsigned pieces = c->count - c->first;
        struct msghdr message = {.msg_iov = c->pieces + c->first, .msg_iovlen = pieces < MAX_PIECES ? pieces : MAX_PIECES};
        ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (sent < 0) fail("send: %s", strerror(errno));
        while (c->first < c->count && (size_t)sent >= c->pieces[c->first].iov_len) sent -= (ssize_t)c->pieces[c->first++].iov_len;
        if (sent > 0) {
            c->pieces[c->first].iov_base = (char *)c->pieces[c->first].iov_base + sent;
            c->pieces[c->first].iov_len -= (size_t)sent;
        }
    }
}

static void count_latency(double seconds) {
    uint64_t ns = (uint64_t)(seconds * 1e9) | 32;
    unsigned top = 63 - (unsigned)__builtin_clzll(ns);
    histogram[top * 32 + ((ns >> (top - 5)) & 31)]++;
    if (seconds > longest) longest = seconds;
}

static double percentile(double part) {
    uint64_t want = (uint64_t)((double)operations * part), seen = 0;
    for (unsigned i = 0; i < sizeof histogram / sizeof *histogram; i++) {
        seen += histogram[i];
        if (seen > want) return (double)((uint64_t)(32 + i % 32) << (i / 32 - 5)) / 1e3;
    }
    return longest * 1e6;
}

static void finish(struct connection *c, struct slot *s, double at) {
    if (!writing && s->got != block) fail("a read of %u bytes was answered with %u", block, s->got);
    count_latency(at - s->sent);
    s->busy = 0;
    c->idle[c->idle_count++] = (unsigned)(s - c->slots);
    operations++;
}

static struct slot *slot_of(struct connection *c, const unsigned char *wire) {
    uint64_t cookie;
    memcpy(&cookie, wire, 8);
    cookie = be64toh(cookie);
    struct slot *s = &c->slots[cookie & 0xffff];
    if ((cookie & 0xffff) >= depth || !s->busy || s->cookie != cookie) fail("a reply with a cookie that nobody waits for");
    return s;
}

static uint32_t be32_at(const unsigned char *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return be32toh(value);
}

static uint64_t be64_at(const unsigned char *at) {
    uint64_t value;
    memcpy(&value, at, 8);
    return be64toh(value);
}

/* Parses one header at `at`; returns its length, or 0 when `left` bytes do not hold it yet. */
static size_t parse_header(struct connection *c, const unsigned char *at, size_t left, double time) {
    if (left < 16) return 0;
    struct slot *s = slot_of(c, at + 8);
    if (be32_at(at) == SIMPLE_MAGIC) {
        if (be32_at(at + 4) != 0) fail("error %u", be32_at(at + 4));
        if (structured && !writing) fail("a simple reply to a read");
        c->current = s;
        c->current_done = 1;
        c->payload_left = writing ? 0 : block;
        c->payload_at = s->offset;
        if (c->payload_left == 0) finish(c, s, time);
        return 16;
    }
    if (be32_at(at) != CHUNK_MAGIC || !structured) fail("not a reply: %#x", be32_at(at));
    if (left < 20) return 0;
    unsigned flags = be32_at(at + 4) >> 16, type = be32_at(at + 4) & 0xffff;
    uint32_t length = be32_at(at + 16);
    c->current = s;
    c->current_done = flags & 1;
    if (type == 0) {
        if (length != 0) fail("an empty chunk of %u bytes", length);
        finish(c, s, time);
        return 20;
    }
    if (type == 1) {
        if (left < 28) return 0;
        if (length < 9 || s->got + (length - 8) > block) fail("a data chunk of %u bytes", length);
        c->payload_left = length - 8;
        c->payload_at = be64_at(at + 20);
        return 28;
    }
    if (type == 2) {
        if (left < 32) return 0;
        if (verify) fail("a hole where there is data");
        s->got += be32_at(at + 28);
        if (c->current_done) finish(c, s, time);
        return 32;
    }
    fail("chunk of type %#x", type);
    return 0;
}

static void receive(struct connection *c, int wait) {
    ssize_t n = recv(c->fd, c->buffer + c->filled, RECEIVE_BYTES - c->filled, wait ? 0 : MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (n <= 0) fail("the server went away: %s", n < 0 ? strerror(errno) : "end of stream");
    double time = now();
    size_t end = c->filled + (size_t)n, at = 0;
    while (at < end) {
        if (c->payload_left > 0) {
            uint32_t part = end - at < c->payload_left ? (uint32_t)(end - at) : c->payload_left;
            if (verify) compare(c->buffer + at, c->payload_at, part);
            at += part;
            c->payload_at += part;
            c->payload_left -= part;
            c->current->got += part;
            if (c->payload_left == 0 && c->current_done) finish(c, c->current, time);
            continue;
        }
        size_t head = parse_header(c, c->buffer + at, end - at, time);
        if (head == 0) break;
        at += head;
    }
    memmove(c->buffer, c->buffer + at, end - at);
    c->filled = end - at;
}

static void load(struct connection *all) {
    struct pollfd *polled = calloc(connection_count, sizeof *polled);
    double end = now() + duration;
    for (;;) {
        double at = now();
        unsigned busy = 0, unsent = 0;
        for (unsigned i = 0; i < connection_count; i++) {
            refill(&all[i], end, at);
            send_pieces(&all[i]);
            busy += depth - all[i].idle_count;
            unsent += all[i].first < all[i].count;
            polled[i] = (struct pollfd){all[i].fd, POLLIN | (all[i].first < all[i].count ? POLLOUT : 0), 0};
        }
        if (busy == 0) break;
        if (connection_count == 1 && unsent == 0) {
            receive(&all[0], 1);
            continue;
        }
        poll(polled, connection_count, -1);
        for (unsigned i = 0; i < connection_count; i++)
            if (polled[i].revents & (POLLIN | POLLHUP | POLLERR)) receive(&all[i], 0);
    }
    free(polled);
}

static void hold_idle(unsigned count) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (unsigned i = 0; i < count; i++) dial();
    puts("ready");
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0) {
    }
}

int main(int argc, char **argv) {
    unsigned idle_connections = 0;
    for (int option; (option = getopt(argc, argv, "k:H:p:x:swqb:d:c:t:n:v:i:")) != -1;) {
        switch (option) {
            case 'k': unix_path = optarg; break;
            case 'H': host = optarg; break;
            case 'p': port = optarg; break;
            case 'x': export_name = optarg; break;
            case 's': structured = 1; break;
            case 'w': writing = 1; break;
            case 'q': sequential = 1; break;
            case 'b': block = (uint32_t)strtoul(optarg, NULL, 10); break;
            case 'd': depth = (unsigned)strtoul(optarg, NULL, 10); break;
            case 'c': connection_count = (unsigned)strtoul(optarg, NULL, 10); break;
            case 't': duration = strtod(optarg, NULL); break;
            case 'n': request_limit = strtoull(optarg, NULL, 10); break;
            case 'v': verify = 1; seed = strtoull(optarg, NULL, 10); break;
            case 'i': idle_connections = (unsigned)strtoul(optarg, NULL, 10); break;
            default: return 2;
        }
    }
    if (idle_connections > 0) {
        hold_idle(idle_connections);
        return 0;
    }
    if (depth == 0 || depth > MAX_DEPTH || connection_count == 0 || block == 0 || block % 8 != 0) fail("see the head of the source");
    struct connection *all = calloc(connection_count, sizeof *all);
    payloads = malloc((size_t)block * (verify ? depth : 1));
    for (uint32_t at = 0; at < block; at++) payloads[at] = (unsigned char)(random_word() | 1);
    for (unsigned i = 0; i < connection_count; i++) {
        all[i].fd = dial();
        all[i].buffer = malloc(RECEIVE_BYTES);
        for (unsigned slot = 0; slot < depth; slot++) all[i].idle[all[i].idle_count++] = depth - 1 - slot;
    }
    if (export_bytes < block) fail("the export is smaller than one request");
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    double start = now();
    load(all);
    double seconds = now() - start;
    getrusage(RUSAGE_SELF, &after);
    double cpu = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) +
                 (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1e6;
    struct request bye = {htobe32(REQUEST_MAGIC), 0, htobe16(2), 0, 0, 0};
    for (unsigned i = 0; i < connection_count; i++) send_all(all[i].fd, &bye, sizeof bye);
    printf("{\"operations\":%llu,\"seconds\":%.6f,\"rate\":%.1f,\"bytesPerSecond\":%.0f,\"p50us\":%.1f,\"p99us\":%.1f,\"maxus\":%.1f,\"cpu\":%.3f}\n",
           (unsigned long long)operations, seconds, (double)operations / seconds, (double)operations * block / seconds,
           percentile(0.5), percentile(0.99), longest * 1e6, cpu);
    return 0;
}
