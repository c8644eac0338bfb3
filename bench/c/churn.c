// churn [-zero] [live=100000] [ops=50000000]
//
// Does the work of `offheap bench churn` on one thread, with malloc and free; with -zero, that of `offheap bench -zero churn`, with
// calloc. It follows replace in cmd/offheap/internal/allocbench/loops_heap.go. Equal state proves that the work was the same.
#include "harness.h"

enum { KINDS = 24 };

static const uint32_t size_of[KINDS] = {16,  20,  24,  32,  40,  48,  56,  64,  80,   96,   120,  128,
                                        160, 200, 256, 320, 400, 512, 700, 1024, 1400, 2048, 3000, 4096};
static const uint8_t weights[KINDS] = {85, 31, 45, 61, 57, 52, 47, 61, 72, 72, 50, 48, 69, 64, 54, 42, 35, 30, 24, 13, 7, 3, 1, 1};
static uint8_t kind_of[1024];

static uint64_t state = 1000; // splitmix64
static inline uint64_t next(uint64_t *s) {
    uint64_t z = (*s += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

static unsigned char **slots;
static uint8_t *kinds;

static inline __attribute__((always_inline)) void run_with(uint64_t live, uint64_t ops, int zero) {
    uint64_t s = state;
    for (uint64_t n = 0; n < ops; n++) {
        uint64_t r = next(&s), i = (r >> 32) * live >> 32;
        uint8_t kind = kind_of[r & 1023];
        free(slots[i]);
        unsigned char *p = zero ? calloc(1, size_of[kind]) : malloc(size_of[kind]);
        p[0] = p[size_of[kind] - 1] = r;
        slots[i] = p, kinds[i] = kind;
    }
    state = s;
}

static __attribute__((noinline)) void run(uint64_t live, uint64_t ops) { run_with(live, ops, 0); }
static __attribute__((noinline)) void run_zeroed(uint64_t live, uint64_t ops) { run_with(live, ops, 1); }

int main(int c, char **v) {
    int zero = c > 1 && !strcmp(v[1], "-zero");
    if (zero) c--, v++;
    uint64_t live = c > 1 ? strtoull(v[1], 0, 10) : 100000, ops = c > 2 ? strtoull(v[2], 0, 10) : 50000000;
    if (!live || live >> 32 || !ops) fail("usage: churn [-zero] [live] [ops]");
    for (int k = 0, n = 0; k < KINDS; n += weights[k++]) memset(kind_of + n, k, weights[k]);
    slots = in_ram(live * 8), kinds = in_ram(live);
    long before = restart_peak();
    for (uint64_t i = 0; i < live; i++) {
        uint8_t kind = kind_of[next(&state) & 1023];
        unsigned char *p = zero ? calloc(1, size_of[kind]) : malloc(size_of[kind]);
        p[0] = p[size_of[kind] - 1] = 1;
        slots[i] = p, kinds[i] = kind;
    }
    uint64_t start = now_ns();
    if (zero) run_zeroed(live, ops);
    else run(live, ops);
    uint64_t took = now_ns() - start, bytes = 0;
    long peak = peak_rss() - before;
    for (uint64_t i = 0; i < live; i++) bytes += size_of[kinds[i]];
    printf("ns_op=%.3f peak_ratio=%.3f live_MB=%.3f peak_MB=%.3f state=%016llx\n", (double)took / ops, (double)peak / bytes, bytes / 1e6,
           peak / 1e6, (unsigned long long)state);
    return 0;
}
