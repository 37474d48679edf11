/* The bound of a copy over a socket: one process reads a file and sends it, the other receives it and writes a file.
 *
 *   socketcopy SOURCE TARGET
 *
 * Both in pieces of 1 MiB through one UNIX stream socket, with no protocol at all. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE (1u << 20)

static int move(int from, int to) {
    char *buffer = malloc(PIECE);
    for (;;) {
        ssize_t got = read(from, buffer, PIECE);
        if (got <= 0) return got == 0 ? 0 : 1;
        for (ssize_t done = 0; done < got;) {
            ssize_t put = write(to, buffer + done, (size_t)(got - done));
            if (put <= 0) return 1;
            done += put;
        }
    }
}

int main(int argc, char **argv) {
    int pair[2], status;
    if (argc != 3 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        fprintf(stderr, "usage: socketcopy SOURCE TARGET\n");
        return 2;
    }
    int size = 4 << 20;
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    int source = open(argv[1], O_RDONLY), target = open(argv[2], O_WRONLY | O_CREAT, 0644);
    if (source < 0 || target < 0) {
        perror("socketcopy");
        return 2;
    }
    pid_t sender = fork();
    if (sender < 0) return 2;
    if (sender == 0) {
        close(pair[1]);
        _exit(move(source, pair[0]));
    }
    close(pair[0]);
    int failed = move(pair[1], target);
    if (waitpid(sender, &status, 0) < 0 || status != 0) failed = 1;
    return failed;
}
