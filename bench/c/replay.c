// replay < TRACE.csv
//
// Does the work of `offheap replay` for a trace, with malloc, calloc, realloc, aligned_alloc and free: see
// cmd/offheap/internal/trace/replay.go. It reads the whole trace before the clock starts, runs it on one thread, and writes to
// the first and the last byte of each object that is allocated or resized. It prints milliseconds, those of the same replay with
// an allocator that does nothing (harness_ms, the median of three), and the peak of RSS in millions of bytes above its value at
// the start.
#include "harness.h"

typedef struct {
    uint64_t size;
    uint32_t object, align;
    char op;
} operation;

static list ops; // object is the trace's id until number() replaces it

static void read_trace(void) {
    char line[256];
    for (int n = 1; fgets(line, sizeof line, stdin); n++) {
        if (n == 1 && !strncmp(line, "op,", 3)) continue;
        char op;
        unsigned long long thread, id, size, align;
        if (sscanf(line, "%c,%llu,%llu,%llu,%llu", &op, &thread, &id, &size, &align) != 5 || !strchr("mcrfx", op) || id >> 32 || align >> 32) {
            fprintf(stderr, "line %d makes no sense: %s", n, line);
            exit(1);
        }
        if (op != 'x') *(operation *)list_add(&ops, sizeof(operation)) = (operation){size, id, align, op};
    }
}

// Numbers the objects from 0 on in the order in which they appear. Returns the number of objects.
static uint32_t number(void) {
    size_t room = 1024, count = 0;
    while (room < 2 * ops.count) room *= 2;
    struct {
        uint32_t id, number, known;
    } *table = in_ram(room * sizeof *table);
    operation *o = ops.at;
    for (size_t i = 0; i < ops.count; i++) {
        size_t at = o[i].object * 0x9E3779B1u & (room - 1);
        while (table[at].known && table[at].id != o[i].object) at = (at + 1) & (room - 1);
        if (!table[at].known) {
            if (o[i].op != 'm' && o[i].op != 'c') fail("an object was never allocated");
            table[at].known = 1, table[at].id = o[i].object, table[at].number = count++;
        }
        o[i].object = table[at].number;
    }
    munmap(table, room * sizeof *table);
    return count;
}

static unsigned char **objects;

// The allocator that does nothing: all objects are the same one.
static void *one;
static __attribute__((noinline)) void *no_malloc(size_t size) {
    __asm__ volatile("" : : "r"(size) : "memory");
    return one;
}
static __attribute__((noinline)) void no_free(void *p) { __asm__ volatile("" : : "r"(p) : "memory"); }

static inline __attribute__((always_inline)) void run_with(const operation *from, const operation *to, int nothing) {
    for (const operation *o = from; o < to; o++) {
        unsigned char *p;
        switch (o->op) {
        case 'f':
            if (nothing) no_free(objects[o->object]);
            else free(objects[o->object]);
            objects[o->object] = 0;
            continue;
        case 'r': // realloc of 0 bytes would free
            p = nothing ? no_malloc(o->size) : realloc(objects[o->object], o->size ? o->size : 1);
            break;
        case 'c':
            if (!o->align) {
                p = nothing ? no_malloc(o->size) : calloc(1, o->size);
                break;
            } // fall through
        default:
            p = nothing ? no_malloc(o->size) : o->align ? aligned_alloc(o->align, o->size) : malloc(o->size);
            if (o->align && !nothing && p) memset(p, 0, o->size); // offheap zeroes aligned objects
        }
        if (!p) fail("no memory");
        if (o->size) p[0] = p[o->size - 1] = o->object;
        objects[o->object] = p;
    }
}

static __attribute__((noinline)) void run(const operation *from, const operation *to) { run_with(from, to, 0); }
static __attribute__((noinline)) void run_nothing(const operation *from, const operation *to) { run_with(from, to, 1); }

static double median(double a, double b, double c) {
    double low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

// Returns the milliseconds that the replay takes with the allocator that does nothing. Leaves objects as they were.
static double harness(const operation *from, const operation *to, uint32_t count) {
    size_t largest = 1;
    for (const operation *o = from; o < to; o++) largest = o->size > largest ? o->size : largest;
    one = in_ram(largest);
    double took[3];
    for (int i = 0; i < 3; i++) {
        uint64_t start = now_ns();
        run_nothing(from, to);
        took[i] = (now_ns() - start) / 1e6;
        memset(objects, 0, (size_t)count * 8);
    }
    return median(took[0], took[1], took[2]);
}

int main(void) {
    read_trace();
    uint32_t count = number();
    objects = in_ram((size_t)count * 8 + 1);
    const operation *o = ops.at;
    double harness_ms = harness(o, o + ops.count, count);
    long before = restart_peak();
    uint64_t start = now_ns();
    run(o, o + ops.count);
    uint64_t took = now_ns() - start;
    long peak = peak_rss() - before, live = 0;
    for (uint32_t i = 0; i < count; i++) live += objects[i] != 0;
    printf("ms=%.3f harness_ms=%.3f peak_MB=%.3f ops=%zu objects=%u live=%ld\n", took / 1e6, harness_ms, peak / 1e6, ops.count, count, live);
    return 0;
}
