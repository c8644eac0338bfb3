// ring.c - the ring of package ring in C: same layout, same steps, between two processes. It does the work of the rows "ring" of
// `offheap ipc`, touched: the sender writes all words of a message in place, the receiver sums them. One line of key=value for each
// pattern: oneway, and pingpong for messages up to 4 KiB.
//
//     ring [BYTES [SECONDS [RING_BYTES]]]
#pragma GCC diagnostic ignored "-Wunused-function" // of harness.h
#include "harness.h"
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { LINE = 128, PAGE = 4096, FRAME = 8 };

typedef struct {
    _Atomic uint64_t index;
    _Atomic uint32_t processor;
    char pad0[LINE - 12];
    _Atomic uint32_t asleep;
    char pad1[LINE - 4];
} half;

typedef struct {
    half *mine, *theirs;
    char *data;                         // mapped twice in a row
    uint64_t size, pos, room, shown, batch, peer;
    uint32_t processor;
    uint64_t spin, waits, parks;
} side;

enum { MAX_SPIN = 20000, RETRY_SPIN = 64 };

static inline void pause_(void) {
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

static void show(side *s) {
    if (s->pos == s->shown) return;
    s->shown = s->pos;
    uint32_t p = (uint32_t)sched_getcpu() + 1;
    if (p != s->processor) atomic_store_explicit(&s->mine->processor, s->processor = p, memory_order_relaxed);
    atomic_store(&s->mine->index, s->pos);
    if (atomic_load(&s->theirs->asleep) && atomic_exchange(&s->theirs->asleep, 0)) syscall(SYS_futex, &s->theirs->asleep, FUTEX_WAKE, 1, 0, 0, 0);
}

static int look(side *s, uint64_t need) {
    uint64_t index = atomic_load(&s->theirs->index);
    s->room += index - s->peer;
    s->peer = index;
    return s->room >= need;
}

static int spin_for(side *s, uint64_t need) {
    uint32_t here = (uint32_t)sched_getcpu() + 1, there = atomic_load_explicit(&s->theirs->processor, memory_order_relaxed);
    if (!there || there == here) return 0;
    uint64_t limit = s->spin;
    if (limit < MAX_SPIN / 8) {
        if (++s->waits % RETRY_SPIN) return 0;
        limit = MAX_SPIN;
    }
    for (uint64_t start = now_ns();;) {
        for (int i = 0; i < 8; i++) {
            for (int k = 0; k < 4; k++) pause_();
            if (look(s, need)) {
                s->spin = s->spin + MAX_SPIN / 4 < MAX_SPIN ? s->spin + MAX_SPIN / 4 : MAX_SPIN;
                return 1;
            }
        }
        if (now_ns() - start > limit) {
            s->spin /= 2;
            return 0;
        }
    }
}

static __attribute__((noinline)) void await(side *s, uint64_t need) {
    if (look(s, need)) return;
    show(s);
    if (spin_for(s, need)) return;
    for (;;) {
        atomic_store(&s->mine->asleep, 1);
        if (look(s, need)) {
            atomic_store(&s->mine->asleep, 0);
            return;
        }
        s->parks++;
        syscall(SYS_futex, &s->mine->asleep, FUTEX_WAIT, 1, 0, 0, 0);
    }
}

static inline uint64_t frame_size(uint64_t n) { return (n + FRAME + 7) & ~7ull; }

static inline char *claim(side *s, uint64_t n) {
    if (frame_size(n) > s->room) await(s, frame_size(n));
    return s->data + (s->pos & (s->size - 1)) + FRAME;
}

static inline void advance(side *s, uint64_t n) {
    s->pos += n;
    s->room -= n;
    if (s->pos - s->shown >= s->batch) show(s);
}

static inline void publish(side *s, uint64_t n) {
    *(uint64_t *)(s->data + (s->pos & (s->size - 1))) = n;
    advance(s, frame_size(n));
}

static inline char *peek(side *s, uint64_t *n) {
    if (!s->room) await(s, FRAME);
    char *p = s->data + (s->pos & (s->size - 1));
    *n = *(uint64_t *)p;
    return p + FRAME;
}

static inline void release(side *s, uint64_t n) { advance(s, frame_size(n)); }

static void open_side(side *s, char *memory, int f, off_t at, uint64_t size, int role) {
    half *halves = (half *)(memory + LINE);
    *s = (side){.mine = &halves[role], .theirs = &halves[1 - role], .size = size, .room = role ? 0 : size, .batch = size / 16, .spin = MAX_SPIN};
    s->data = mmap(0, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (int i = 0; i < 2; i++)
        if (mmap(s->data + i * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, f, at + PAGE) == MAP_FAILED) fail("mmap");
}

static void fill(uint64_t *w, uint64_t words, uint64_t number) {
    w[0] = number;
    w[1] = 0;
    for (uint64_t i = 2; i < words; i++) w[i] = number + i - 2;
}

static void check(const uint64_t *w, uint64_t words, uint64_t number) {
    uint64_t sum = 0, n = words - 2;
    for (uint64_t i = 2; i < words; i++) sum += w[i];
    if (w[0] != number || sum != n * number + n * (n - 1) / 2) fail("a message has other contents than were sent");
}

static double processor_time(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static int by_size(const void *a, const void *b) { return (*(uint64_t *)a > *(uint64_t *)b) - (*(uint64_t *)a < *(uint64_t *)b); }

static struct shared {
    _Atomic int ready;
    _Atomic uint64_t end; // ns
    double cpu;
} *both;

// Sends count messages from one process to another; returns the seconds, and adds processor time to *cpu.
static double one_way(char *memory, int f, uint64_t size, uint64_t bytes, uint64_t count, double *cpu) {
    memset(memory, 0, PAGE);
    memset(both, 0, sizeof *both);
    side s;
    pid_t child = fork();
    if (child == 0) {
        open_side(&s, memory, f, 0, size, 1);
        atomic_store(&both->ready, 1);
        double before = processor_time();
        for (uint64_t i = 0; i < count; i++) {
            uint64_t n;
            char *p = peek(&s, &n);
            check((uint64_t *)p, n / 8, i);
            release(&s, n);
        }
        both->cpu = processor_time() - before;
        atomic_store(&both->end, now_ns());
        _exit(0);
    }
    open_side(&s, memory, f, 0, size, 0);
    while (!atomic_load(&both->ready)) sched_yield();
    double before = processor_time();
    uint64_t start = now_ns();
    for (uint64_t i = 0; i < count; i++) {
        fill((uint64_t *)claim(&s, bytes), bytes / 8, i);
        publish(&s, bytes);
    }
    show(&s);
    *cpu = processor_time() - before;
    int code;
    waitpid(child, &code, 0);
    if (code) fail("the receiver failed");
    *cpu += both->cpu;
    munmap(s.data, 2 * size);
    return (atomic_load(&both->end) - start) / 1e9;
}

static void ping_pong(char *memory, int f, uint64_t size, uint64_t bytes, uint64_t count) {
    memset(memory, 0, PAGE);
    memset(memory + PAGE + size, 0, PAGE);
    side out, in;
    pid_t child = fork();
    int role = child == 0;
    open_side(&out, memory + role * (PAGE + size), f, role * (PAGE + size), size, 0);
    open_side(&in, memory + (1 - role) * (PAGE + size), f, (1 - role) * (PAGE + size), size, 1);
    uint64_t n, *ns = malloc(count * sizeof *ns);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t start = now_ns();
        if (!role) fill((uint64_t *)claim(&out, bytes), bytes / 8, i), publish(&out, bytes), show(&out);
        char *p = peek(&in, &n);
        check((uint64_t *)p, n / 8, i);
        release(&in, n);
        if (role) fill((uint64_t *)claim(&out, bytes), bytes / 8, i), publish(&out, bytes), show(&out);
        ns[i] = now_ns() - start;
    }
    if (role) _exit(0);
    waitpid(child, 0, 0);
    qsort(ns, count, sizeof *ns, by_size);
    printf("mechanism=ring_c pattern=pingpong bytes=%llu p50_ns=%llu p99_ns=%llu parks=%llu\n", (unsigned long long)bytes,
           (unsigned long long)ns[count / 2], (unsigned long long)ns[count * 99 / 100], (unsigned long long)in.parks);
}

int main(int argc, char **argv) {
    uint64_t bytes = argc > 1 ? strtoull(argv[1], 0, 10) : 64, size = argc > 3 ? strtoull(argv[3], 0, 10) : 1 << 20;
    double seconds = argc > 2 ? atof(argv[2]) : 1, cpu, took;
    if (bytes < 64 || bytes % 8 || size & (size - 1) || size < PAGE || bytes + FRAME > size) fail("ring [BYTES [SECONDS [RING_BYTES]]]: BYTES is a multiple of 8 from 64 on, RING_BYTES a power of two that holds a message");
    int f = memfd_create("ring", 0);
    if (f < 0 || ftruncate(f, 2 * (PAGE + size))) fail("memfd_create");
    char *memory = mmap(0, 2 * (PAGE + size), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, f, 0);
    both = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || both == MAP_FAILED) fail("mmap");
    uint64_t count = 1000;
    for (took = 0; took < seconds / 8; count *= 2) took = one_way(memory, f, size, bytes, count, &cpu); // finds out how many messages take the time
    count = (uint64_t)(count / 2 * seconds / took) + 1;
    took = one_way(memory, f, size, bytes, count, &cpu);
    printf("mechanism=ring_c pattern=oneway bytes=%llu messages_per_second=%.0f cpu_seconds_per_gb=%.4f\n", (unsigned long long)bytes, count / took, cpu / (count * (double)bytes / 1e9));
    fflush(stdout);
    if (bytes <= 4096) ping_pong(memory, f, size, bytes, 20000);
    return 0;
}
