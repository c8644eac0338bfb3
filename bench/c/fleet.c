// fleet TABLE.csv [live=268435456] [ops=5000000]
//
// Does the work of `offheap bench fleet` for one table, with malloc and free. It follows cmd/offheap/internal/allocbench/fleet.go
// and fleet_plan.go line by line. Equal state and sum prove that the work was the same.
#include "harness.h"

enum { CAP = 1 << 20, KINDS = 2048, OS_PAGE = 4096 };

static uint64_t state = 5000; // splitmix64
static uint64_t next(void) {
    uint64_t z = (state += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

// The table.
static int kinds;
static uint32_t size_of[KINDS];
static double rates[KINDS], lives[KINDS], death_of[KINDS];

static void read_table(const char *name) {
    FILE *f = fopen(name, "r");
    if (!f) {
        perror(name);
        exit(1);
    }
    char line[256];
    if (!fgets(line, sizeof line, f) || strcmp(line, "size,alloc_rate,num_live\n")) fail("not a table: the first line is not size,alloc_rate,num_live");
    while (fgets(line, sizeof line, f)) {
        unsigned long long size;
        double rate, live;
        if (sscanf(line, "%llu,%lf,%lf", &size, &rate, &live) != 3 || !size || !(rate > 0 && live > 0)) fail("not a table: a line makes no sense");
        if (size > CAP) continue;
        if (kinds == KINDS - 1) fail("too many sizes");
        size_of[kinds] = size, rates[kinds] = rate, lives[kinds] = live, death_of[kinds] = rate / live;
        kinds++;
    }
    fclose(f);
    if (!kinds) fail("the table is empty");
}

// Draws sizes by weights that change. It is a Fenwick tree.
typedef struct {
    uint64_t sums[KINDS + 1], total;
} tally;

static void add(tally *t, int kind, uint64_t weight) {
    for (int i = kind + 1; i <= KINDS; i += i & -i) t->sums[i] += weight;
    t->total += weight;
}

static int draw(const tally *t, uint64_t r) {
    uint64_t at = (unsigned __int128)r * t->total >> 64;
    int kind = 0;
    for (int step = KINDS / 2; step; step /= 2)
        if (t->sums[kind + step] <= at) at -= t->sums[kind += step];
    return kind;
}

static uint64_t weights[KINDS];
static void weigh(const double *values) {
    double most = 0;
    for (int i = 0; i < kinds; i++) most = values[i] > most ? values[i] : most;
    for (int i = 0; i < kinds; i++) weights[i] = 1 + (uint64_t)(values[i] / most * (1ull << 40));
}

// The plan. An event has a slot in the high half and a size in the low half; 0 for a free.
static list events, vacant, members[KINDS];
static size_t fill_events, bytes, slots;
static tally births, arrivals, deaths;

static void push(list *l, uint32_t x) { *(uint32_t *)list_add(l, sizeof x) = x; }
static uint32_t pop(list *l) { return ((uint32_t *)l->at)[--l->count]; }
static void event(uint64_t slot, uint32_t size) { *(uint64_t *)list_add(&events, 8) = slot << 32 | size; }

static void allocate(int kind) {
    if (!vacant.count) push(&vacant, slots++);
    uint32_t slot = pop(&vacant);
    push(&members[kind], slot);
    add(&deaths, kind, weights[kind]);
    bytes += size_of[kind];
    event(slot, size_of[kind]);
}

static void release(void) {
    int kind = draw(&deaths, next());
    list *of = &members[kind];
    uint32_t i = (next() >> 32) * of->count >> 32, *at = of->at, slot = at[i];
    at[i] = at[of->count - 1];
    of->count--;
    push(&vacant, slot);
    add(&deaths, kind, -weights[kind]);
    bytes -= size_of[kind];
    event(slot, 0);
}

static void plan(size_t live, size_t ops) {
    weigh(lives);
    for (int i = 0; i < kinds; i++) add(&births, i, weights[i]);
    weigh(rates);
    for (int i = 0; i < kinds; i++) add(&arrivals, i, weights[i]);
    weigh(death_of);
    for (int kind; bytes + size_of[kind = draw(&births, next())] <= live;) allocate(kind);
    fill_events = events.count;
    for (size_t n = 0; n < ops; n++) {
        int kind = draw(&arrivals, next());
        while (bytes + size_of[kind] > live) release();
        allocate(kind);
    }
}

static unsigned char **slot_at;
static __attribute__((noinline)) void run(const uint64_t *from, const uint64_t *to) {
    for (const uint64_t *e = from; e < to; e++) {
        uint32_t size = *e, slot = *e >> 32;
        if (!size) {
            free(slot_at[slot]);
            continue;
        }
        unsigned char *p = malloc(size);
        for (uint32_t i = 0; i < size; i += OS_PAGE) p[i] = slot;
        p[size - 1] = slot;
        slot_at[slot] = p;
    }
}

int main(int c, char **v) {
    if (c < 2) fail("usage: fleet TABLE.csv [live] [ops]");
    size_t live = c > 2 ? strtoull(v[2], 0, 10) : 256 << 20, ops = c > 3 ? strtoull(v[3], 0, 10) : 5000000;
    read_table(v[1]);
    plan(live, ops);
    slot_at = in_ram(slots * 8);
    uint32_t *sizes = in_ram(slots * 4);
    const uint64_t *e = events.at;
    long before = restart_peak();
    uint64_t t0 = now_ns();
    run(e, e + fill_events);
    uint64_t t1 = now_ns();
    run(e + fill_events, e + events.count);
    uint64_t t2 = now_ns(), sum = 0;
    long peak = peak_rss() - before;
    for (size_t i = 0; i < events.count; i++) sizes[e[i] >> 32] = e[i], sum += (uint32_t)e[i];
    for (size_t i = 0; i < slots; i++)
        if (sizes[i]) sum += slot_at[i][0] + slot_at[i][sizes[i] - 1];
    printf("ns_fill=%.3f ns_op=%.3f live_MB=%.3f peak_MB=%.3f peak_ratio=%.3f state=%016llx sum=%llu\n", (double)(t1 - t0) / fill_events,
           (double)(t2 - t1) / ops, bytes / 1e6, peak / 1e6, (double)peak / bytes, (unsigned long long)state, (unsigned long long)sum);
    return 0;
}
