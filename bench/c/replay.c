// replay < TRACE.csv
//
// Does the work of `offheap replay` for a trace, with malloc, calloc, realloc, aligned_alloc and free: see
// cmd/offheap/internal/trace/replay.go. It reads the whole trace before the clock starts, runs it on one thread, and writes to
// the first and the last byte of each object that is allocated or resized. It prints milliseconds, and the peak of RSS in
// millions of bytes above its value at the start.
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

static __attribute__((noinline)) void run(const operation *from, const operation *to) {
    for (const operation *o = from; o < to; o++) {
        unsigned char *p;
        switch (o->op) {
        case 'f':
            free(objects[o->object]);
            objects[o->object] = 0;
            continue;
        case 'r': p = realloc(objects[o->object], o->size ? o->size : 1); break; // of 0 bytes it would free
        case 'c':
            if (!o->align) {
                p = calloc(1, o->size);
                break;
            } // fall through
        default: p = o->align ? aligned_alloc(o->align, o->size) : malloc(o->size);
        }
        if (!p) fail("no memory");
        if (o->align) memset(p, 0, o->size); // offheap zeroes aligned objects
        if (o->size) p[0] = p[o->size - 1] = o->object;
        objects[o->object] = p;
    }
}

int main(void) {
    read_trace();
    uint32_t count = number();
    objects = in_ram((size_t)count * 8 + 1);
    const operation *o = ops.at;
    long before = restart_peak();
    uint64_t start = now_ns();
    run(o, o + ops.count);
    uint64_t took = now_ns() - start;
    long peak = peak_rss() - before, live = 0;
    for (uint32_t i = 0; i < count; i++) live += objects[i] != 0;
    printf("ms=%.3f peak_MB=%.3f ops=%zu objects=%u live=%ld\n", took / 1e6, peak / 1e6, ops.count, count, live);
    return 0;
}
