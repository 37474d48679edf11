/* Keeps a virtual machine's memory from going back to its host while we measure.
 *
 * A guest with free page reporting gives free 2 MiB blocks back, and using one again costs host faults: the same write of a new
 * file then takes 0.2 to 3.8 GiB/s. A block that holds one used 4 KiB page is not given back. So: map most of the free memory
 * in 2 MiB blocks, touch it, and free all of each block but one page. About 2 MiB stay in use for each GiB.
 *
 *   stabilise MEBIBYTES     prints "ready" and waits until its standard input ends */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK (2UL << 20)
#define PAGE 4096UL

int main(int argc, char **argv) {
    unsigned long blocks = argc == 2 ? strtoul(argv[1], NULL, 10) / 2 : 0;
    if (blocks == 0) {
        fprintf(stderr, "usage: stabilise MEBIBYTES\n");
        return 2;
    }
    char *map = mmap(NULL, (blocks + 1) * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    char *first = (char *)(((unsigned long)map + BLOCK - 1) & ~(BLOCK - 1));
    madvise(first, blocks * BLOCK, MADV_HUGEPAGE);
    for (unsigned long i = 0; i < blocks; i++) {
        for (unsigned long page = 0; page < BLOCK; page += PAGE) first[i * BLOCK + page] = 1;
        madvise(first + i * BLOCK + PAGE, BLOCK - PAGE, MADV_DONTNEED);
    }
    puts("ready");
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0) {
    }
    return 0;
}
