// harness.h - shared by the drivers. Their own memory never comes from the allocator under test.
#pragma once
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + t.tv_nsec;
}

// Returns a figure of /proc/self/status in bytes; -1 if there is none.
static long status(const char *key) {
    static char text[8192];
    int f = open("/proc/self/status", O_RDONLY);
    long n = read(f, text, sizeof text - 1);
    close(f);
    text[n > 0 ? n : 0] = 0;
    char *at = strstr(text, key);
    return at ? strtol(at + strlen(key), 0, 10) * 1024 : -1;
}

// Restarts the high-water mark, and returns the resident memory.
static long restart_peak(void) {
    int f = open("/proc/self/clear_refs", O_WRONLY);
    if (f >= 0) {
        if (write(f, "5", 1) != 1) perror("clear_refs");
        close(f);
    }
    return status("VmRSS:");
}

static long peak_rss(void) { return status("VmHWM:"); }

// Returns memory that is in RAM already.
static void *in_ram(size_t bytes) {
    void *p = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p == MAP_FAILED) fail("no memory");
    return p;
}

// A growing list of elements of one size.
typedef struct {
    void *at;
    size_t count, room;
} list;

static __attribute__((unused)) void *list_add(list *l, size_t element) {
    if (l->count == l->room) {
        size_t old = l->room * element, bytes = old ? old * 2 : 4096;
        l->at = old ? mremap(l->at, old, bytes, MREMAP_MAYMOVE) : in_ram(bytes);
        if (l->at == MAP_FAILED) fail("no memory");
        l->room = bytes / element;
    }
    return (char *)l->at + l->count++ * element;
}
