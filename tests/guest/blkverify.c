/*
 * Write stamped blocks to a disk and find any which comes back wrong, old or in another place.
 * Linked statically and run in the guest of the end-to-end tests.
 *
 * Every 512-byte sector is filled from its own offset and a generation, both kept in its header, so
 * that a read needs no memory of what was written: a sector is right when filling it again from
 * its header gives the same bytes.  Block i belongs to thread i % depth, which has one request in
 * flight, so `depth` requests are in flight and no block is written twice at the same time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 512
#define MAGIC 0x796669726576626bULL
#define COMPLAINTS_MAX 20

struct options {
    const char *path;
    uint64_t offset_bytes;
    uint64_t size_bytes; /* 0: to the end of the disk */
    size_t block_bytes;
    unsigned depth;
    uint32_t generation;
    unsigned flush_every; /* writes of one thread between two flushes; 0: only one at the end */
    unsigned seconds;     /* load only; 0: until a signal */
    bool is_buffered;
};

struct sector {
    uint64_t magic;
    uint64_t offset_bytes;
    uint64_t generation;
    uint64_t fill[(SECTOR - 24) / 8];
};

struct worker {
    pthread_t thread;
    unsigned index;
    uint64_t random;
    struct sector *block;
    uint32_t *generations; /* of the blocks of this thread; load only */
};

static struct options opts = {
    .block_bytes = 4096,
    .depth = 8,
    .generation = 1,
};
static int disk_fd;
static uint64_t blocks;
static atomic_bool is_stopping;
static atomic_uint_fast64_t errors, written, verified, flushed;

__attribute__((format(printf, 1, 2))) static void complain(const char *format, ...)
{
    va_list args;

    if (atomic_fetch_add(&errors, 1) >= COMPLAINTS_MAX) {
        return;
    }
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    fflush(stdout);
}

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("blkverify: ", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    exit(2);
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void sector_fill(struct sector *sector, uint64_t offset_bytes, uint64_t generation)
{
    uint64_t state = offset_bytes * 0x9e3779b97f4a7c15ULL + generation * 0xd6e8feb86659fd93ULL + 1;

    sector->magic = MAGIC;
    sector->offset_bytes = offset_bytes;
    sector->generation = generation;
    for (size_t i = 0; i < sizeof(sector->fill) / sizeof(sector->fill[0]); i++) {
        sector->fill[i] = random_next(&state);
    }
}

static bool sector_ok(const struct sector *sector, uint64_t offset_bytes, uint64_t generation)
{
    struct sector want;

    sector_fill(&want, offset_bytes, generation ? generation : sector->generation);
    if (memcmp(sector, &want, sizeof(want)) == 0) {
        return true;
    }
    if (sector->magic != MAGIC) {
        complain("bad sector at %llu: no stamp, starts %016llx\n", (unsigned long long)offset_bytes,
                 (unsigned long long)sector->magic);
    } else {
        complain("bad sector at %llu: holds offset %llu generation %llu, wanted generation %llu\n",
                 (unsigned long long)offset_bytes, (unsigned long long)sector->offset_bytes,
                 (unsigned long long)sector->generation, (unsigned long long)generation);
    }
    return false;
}

static uint64_t block_offset(uint64_t block)
{
    return opts.offset_bytes + block * opts.block_bytes;
}

static bool transfer_ok(const char *what, uint64_t offset_bytes, ssize_t done)
{
    if (done == (ssize_t)opts.block_bytes) {
        return true;
    }
    complain("%s at %llu: %s\n", what, (unsigned long long)offset_bytes,
             done < 0 ? strerror(errno) : "short");
    return false;
}

static bool block_write(struct worker *worker, uint64_t block, uint32_t generation)
{
    uint64_t offset = block_offset(block);

    for (size_t i = 0; i < opts.block_bytes / SECTOR; i++) {
        sector_fill(&worker->block[i], offset + i * SECTOR, generation);
    }
    if (!transfer_ok("write", offset, pwrite(disk_fd, worker->block, opts.block_bytes, offset))) {
        return false;
    }
    atomic_fetch_add(&written, 1);
    return true;
}

static void block_verify(struct worker *worker, uint64_t block, uint32_t generation)
{
    uint64_t offset = block_offset(block);

    memset(worker->block, 0xee, opts.block_bytes);
    if (!transfer_ok("read", offset, pread(disk_fd, worker->block, opts.block_bytes, offset))) {
        return;
    }
    for (size_t i = 0; i < opts.block_bytes / SECTOR; i++) {
        if (!sector_ok(&worker->block[i], offset + i * SECTOR, generation)) {
            return;
        }
    }
    atomic_fetch_add(&verified, 1);
}

static void flush(void)
{
    if (fdatasync(disk_fd) < 0) {
        complain("flush: %s\n", strerror(errno));
        return;
    }
    atomic_fetch_add(&flushed, 1);
}

static void flush_when_due(uint64_t done)
{
    if (opts.flush_every > 0 && done % opts.flush_every == 0) {
        flush();
    }
}

static void *write_all(void *argument)
{
    struct worker *worker = argument;
    uint64_t done = 0;

    for (uint64_t block = worker->index; block < blocks; block += opts.depth) {
        block_write(worker, block, opts.generation);
        flush_when_due(++done);
    }
    return NULL;
}

static void *verify_all(void *argument)
{
    struct worker *worker = argument;

    for (uint64_t block = worker->index; block < blocks; block += opts.depth) {
        block_verify(worker, block, opts.generation);
    }
    return NULL;
}

/* A write which failed leaves either generation behind, so the block is taken as unknown. */
static void load_step(struct worker *worker, uint64_t count)
{
    uint64_t slot = random_next(&worker->random) % count;
    uint64_t other = random_next(&worker->random) % count;
    uint32_t next = worker->generations[slot] + 1;

    if (block_write(worker, worker->index + slot * opts.depth, next)) {
        worker->generations[slot] = next;
        block_verify(worker, worker->index + slot * opts.depth, next);
    }
    block_verify(worker, worker->index + other * opts.depth, worker->generations[other]);
}

static void *load(void *argument)
{
    struct worker *worker = argument;
    uint64_t count = (blocks - worker->index + opts.depth - 1) / opts.depth;
    uint64_t done = 0;

    worker->generations = calloc(count, sizeof(uint32_t));
    if (!worker->generations) {
        die("no memory\n");
    }
    for (uint64_t slot = 0; slot < count; slot++) {
        worker->generations[slot] = opts.generation;
        block_write(worker, worker->index + slot * opts.depth, opts.generation);
    }
    while (!is_stopping) {
        load_step(worker, count);
        flush_when_due(++done);
    }
    for (uint64_t slot = 0; slot < count; slot++) {
        block_verify(worker, worker->index + slot * opts.depth, worker->generations[slot]);
    }
    free(worker->generations);
    return NULL;
}

static void run(void *(*body)(void *))
{
    struct worker *workers = calloc(opts.depth, sizeof(*workers));

    if (!workers) {
        die("no memory\n");
    }
    for (unsigned i = 0; i < opts.depth; i++) {
        workers[i].index = i;
        workers[i].random = i + 1;
        if (posix_memalign((void **)&workers[i].block, 4096, opts.block_bytes) ||
            pthread_create(&workers[i].thread, NULL, body, &workers[i])) {
            die("cannot start thread %u\n", i);
        }
    }
    for (unsigned i = 0; i < opts.depth; i++) {
        pthread_join(workers[i].thread, NULL);
        free(workers[i].block);
    }
    free(workers);
}

static void disk_open(bool is_writing)
{
    uint64_t size;

    disk_fd = open(opts.path, (is_writing ? O_RDWR : O_RDONLY) | (opts.is_buffered ? 0 : O_DIRECT));
    if (disk_fd < 0) {
        die("%s: %s\n", opts.path, strerror(errno));
    }
    if (opts.size_bytes == 0) {
        if (ioctl(disk_fd, BLKGETSIZE64, &size) < 0) {
            die("%s: no size: %s\n", opts.path, strerror(errno));
        }
        opts.size_bytes = size - opts.offset_bytes;
    }
    blocks = opts.size_bytes / opts.block_bytes;
    if (blocks < opts.depth) {
        opts.depth = blocks;
    }
    if (opts.depth == 0) {
        die("nothing to do\n");
    }
}

static void on_signal(int signal)
{
    (void)signal;
    is_stopping = true;
}

static void stop_on_signal(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    alarm(opts.seconds);
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 0);

    switch (*end) {
    case 'k':
        return value << 10;
    case 'M':
        return value << 20;
    case 'G':
        return value << 30;
    case '\0':
        return value;
    default:
        die("not a number: %s\n", text);
    }
}

__attribute__((noreturn)) static void usage(void)
{
    fputs("usage: blkverify write|verify|load [options] DEVICE\n"
          "  --offset BYTES --size BYTES --block BYTES --depth N --generation N (0: any)\n"
          "  --flush-every N --seconds N (load; else until SIGTERM) --buffered\n",
          stderr);
    exit(2);
}

static void parse(int argc, char **argv)
{
    static const struct option names[] = {
        {"offset", required_argument, NULL, 'o'},
        {"size", required_argument, NULL, 's'},
        {"block", required_argument, NULL, 'b'},
        {"depth", required_argument, NULL, 'd'},
        {"generation", required_argument, NULL, 'g'},
        {"flush-every", required_argument, NULL, 'f'},
        {"seconds", required_argument, NULL, 't'},
        {"buffered", no_argument, NULL, 'u'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'o':
            opts.offset_bytes = number(optarg);
            break;
        case 's':
            opts.size_bytes = number(optarg);
            break;
        case 'b':
            opts.block_bytes = number(optarg);
            break;
        case 'd':
            opts.depth = number(optarg);
            break;
        case 'g':
            opts.generation = number(optarg);
            break;
        case 'f':
            opts.flush_every = number(optarg);
            break;
        case 't':
            opts.seconds = number(optarg);
            break;
        case 'u':
            opts.is_buffered = true;
            break;
        default:
            usage();
        }
    }
    if (optind + 2 != argc || opts.block_bytes == 0 || opts.block_bytes % SECTOR != 0) {
        usage();
    }
    opts.path = argv[optind + 1];
}

static void work(const char *mode)
{
    if (strcmp(mode, "write") == 0) {
        disk_open(true);
        run(write_all);
        flush();
    } else if (strcmp(mode, "verify") == 0) {
        disk_open(false);
        run(verify_all);
    } else if (strcmp(mode, "load") == 0) {
        disk_open(true);
        stop_on_signal();
        run(load);
        flush();
    } else {
        usage();
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    work(argv[optind]);
    printf("written %llu verified %llu flushed %llu errors %llu\n", (unsigned long long)written,
           (unsigned long long)verified, (unsigned long long)flushed, (unsigned long long)errors);
    return errors ? 1 : 0;
}
