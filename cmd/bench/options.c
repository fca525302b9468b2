/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/bench/options.h"

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/common/argv.h"
#include "cmd/common/size.h"
#include "core/base/log.h"

#define EXIT_USAGE 2

#define SECONDS_MAX 1000000u
#define RATE_MAX 1000000000u

/* One list for parsing and for --help. */
static const struct {
    struct option option;
    const char *arg;
    const char *help;
} table[] = {
    {{"rw", required_argument, NULL, 'w'},
     "WHAT",
     "randread|randwrite|read|write|randrw|flush|discard\n"
     "                      [randread]"},
    {{"bs", required_argument, NULL, 'b'}, "SIZE", "of a request [4k]"},
    {{"iodepth", required_argument, NULL, 'd'},
     "N",
     "requests under way on each queue, 1 to 256 "
     "[32]"},
    {{"queues", required_argument, NULL, 'q'}, "N", "queues, 1 to 64 [1]"},
    {{"runtime", required_argument, NULL, 't'}, "SECONDS", "how long to measure [10]"},
    {{"ramp", required_argument, NULL, 'r'}, "SECONDS", "load before that, not measured [0]"},
    {{"rate", required_argument, NULL, 'R'},
     "N",
     "requests a second, all queues together [no limit]"},
    {{"offset", required_argument, NULL, 'o'}, "SIZE", "begin of the part that is used [0]"},
    {{"size", required_argument, NULL, 's'}, "SIZE", "length of that part [to the end]"},
    {{"verify", no_argument, NULL, 'v'}, NULL, "write patterns, check all that is read"},
    {{"poll", no_argument, NULL, 'p'}, NULL, "watch the rings, take no interrupts"},
    {{"no-poll", no_argument, NULL, 'P'}, NULL, "sleep until an interrupt, the default"},
    {{"packed", no_argument, NULL, 'k'}, NULL, "packed rings, or fail"},
    {{"huge-pages", no_argument, NULL, 'H'}, NULL, "memory in huge pages, or fail"},
    {{"timeout", required_argument, NULL, 'T'},
     "SECONDS",
     "give up when nothing is answered so long [30]"},
    {{"allow-write", no_argument, NULL, 'W'}, NULL, "let the disk be overwritten"},
    {{"control", required_argument, NULL, 'c'}, "PATH", "vblkd's control socket, for names"},
    {{"json", no_argument, NULL, 'j'}, NULL, "print one JSON object"},
    {{"version", no_argument, NULL, 'V'}, NULL, "print the version and end"},
    {{"help", no_argument, NULL, 'h'}, NULL, "print this and end"},
};

static const char *const names[] = {
    [BENCH_RANDREAD] = "randread", [BENCH_RANDWRITE] = "randwrite", [BENCH_READ] = "read",
    [BENCH_WRITE] = "write",       [BENCH_RANDRW] = "randrw",       [BENCH_FLUSH] = "flush",
    [BENCH_DISCARD] = "discard",
};

const char *bench_rw_name(enum bench_rw rw)
{
    return names[rw];
}

static void print_help(void)
{
    printf("Usage: vblkbench DISK [OPTION]...\n"
           "Load a disk of vblkd, or of any vhost-user-blk back-end, as a guest would.\n"
           "DISK is a NAME of vblkd's or a socket's path.\n\n");
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        char left[40];

        (void)snprintf(left, sizeof(left), "--%s%s%s", table[i].option.name,
                       table[i].arg ? " " : "", table[i].arg ? table[i].arg : "");
        printf("  %-18s  %s\n", left, table[i].help);
    }
    printf("\nCtrl-C ends early and prints the results so far.\n");
}

/* Returns -1 when `ok`, else the exit status, and says why. */
static int check(bool ok, const char *option, const char *value, const char *wanted)
{
    if (ok) {
        return -1;
    }
    log_plain("vblkbench: --%s %s: is no %s", option, value, wanted);
    log_plain("Try 'vblkbench --help'.");
    return EXIT_USAGE;
}

/* The same of a size: some forms of it have a reason of their own. */
static int check_size(bool ok, const char *option, const char *value, const char *wanted)
{
    uint64_t bytes;
    int ret = size_parse(value, &bytes);

    if (ret != -EDOM) {
        return check(ok, option, value, wanted);
    }
    log_plain("vblkbench: --%s %s: is %s", option, value, size_problem(ret));
    log_plain("Try 'vblkbench --help'.");
    return EXIT_USAGE;
}

static bool parse_number(const char *text, unsigned max, unsigned *value)
{
    char *end = NULL;
    unsigned long number;

    errno = 0;
    number = strtoul(text, &end, 10);
    *value = (unsigned)number;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && number > 0 &&
           number <= max;
}

static bool parse_seconds(const char *text, uint64_t min_ns, uint64_t *time_ns)
{
    return seconds_parse(text, time_ns) && *time_ns >= min_ns && *time_ns <= SECONDS_MAX * NS_PER_S;
}

static bool parse_rw(const char *text, enum bench_rw *rw)
{
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *rw = i;
            return true;
        }
    }
    return false;
}

static bool parse_block(const char *text, uint32_t *bytes)
{
    uint64_t value = 0;
    bool ok = size_parse(text, &value) == 0 && is_aligned(value, SECTOR_SIZE) && value > 0 &&
              value <= BENCH_BLOCK_MAX;

    *bytes = (uint32_t)value;
    return ok;
}

static bool parse_place(const char *text, uint64_t min, uint64_t *bytes)
{
    return size_parse(text, bytes) == 0 && *bytes >= min && is_aligned(*bytes, SECTOR_SIZE);
}

/* Returns an exit status, or -1 to go on. */
static int read_value(struct bench_options *options, int letter, const char *value)
{
    unsigned rate = 0;
    int ret;

    switch (letter) {
    case 'w':
        return check(parse_rw(value, &options->rw), "rw", value,
                     "randread, randwrite, read, write, randrw, flush or discard");
    case 'b':
        return check_size(parse_block(value, &options->block_bytes), "bs", value,
                          "size in whole sectors of 512 bytes, 16M at most");
    case 'd':
        return check(parse_number(value, BENCH_DEPTH_MAX, &options->depth), "iodepth", value,
                     "number from 1 to 256");
    case 'q':
        return check(parse_number(value, BENCH_QUEUES_MAX, &options->queues), "queues", value,
                     "number from 1 to 64");
    case 't':
        return check(parse_seconds(value, NS_PER_MS, &options->runtime_ns), "runtime", value,
                     "number of seconds from 0.001 to 1000000");
    case 'r':
        return check(parse_seconds(value, 0, &options->ramp_ns), "ramp", value,
                     "number of seconds from 0 to 1000000");
    case 'T':
        return check(parse_seconds(value, NS_PER_MS, &options->timeout_ns), "timeout", value,
                     "number of seconds from 0.001 to 1000000");
    case 'R':
        ret = check(parse_number(value, RATE_MAX, &rate), "rate", value,
                    "number from 1 to 1000000000");
        options->rate = rate;
        return ret;
    case 'o':
        return check_size(parse_place(value, 0, &options->offset), "offset", value,
                          "size in whole sectors of 512 bytes");
    default:
        return check_size(parse_place(value, SECTOR_SIZE, &options->size), "size", value,
                          "size in whole sectors of 512 bytes");
    }
}

static int read_option(struct bench_options *options, int letter, const char *value)
{
    switch (letter) {
    case 'v':
        options->verifies = true;
        return -1;
    case 'p':
    case 'P':
        options->polls = letter == 'p';
        return -1;
    case 'k':
        options->is_packed = true;
        return -1;
    case 'H':
        options->has_huge_pages = true;
        return -1;
    case 'W':
        options->allows_write = true;
        return -1;
    case 'j':
        options->is_json = true;
        return -1;
    case 'c':
        options->control = value;
        return -1;
    case 'V':
        printf("vblkbench %s\n", PACKAGE_VERSION);
        return EXIT_SUCCESS;
    case 'h':
        print_help();
        return EXIT_SUCCESS;
    default:
        return read_value(options, letter, value);
    }
}

static int complain(const char *what)
{
    log_plain("vblkbench: %s", what);
    log_plain("Try 'vblkbench --help'.");
    return EXIT_USAGE;
}

static int check_all(struct bench_options *options, int argc, char **argv)
{
    if (optind == argc || argv[optind][0] == '\0') {
        return complain("which disk? Give a name of vblkd's, or a socket's path");
    }
    if (optind + 1 < argc) {
        log_plain("vblkbench: unexpected argument \"%s\"", argv[optind + 1]);
        log_plain("Try 'vblkbench --help'.");
        return EXIT_USAGE;
    }
    options->disk = argv[optind];
    if (options->verifies && options->rw != BENCH_WRITE && options->rw != BENCH_RANDWRITE &&
        options->rw != BENCH_RANDRW) {
        return complain("--verify checks what it has written: it goes with --rw write, randwrite "
                        "or randrw");
    }
    return -1;
}

int bench_options_parse(struct bench_options *options, int argc, char **argv)
{
    struct option list[ARRAY_SIZE(table) + 1] = {{0}};
    struct err err = {0};
    int letter;
    int ret = -1;

    *options = (struct bench_options){
        .block_bytes = 4096,
        .depth = 32,
        .queues = 1,
        .runtime_ns = 10 * NS_PER_S,
        .timeout_ns = 30 * NS_PER_S,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        list[i] = table[i].option;
    }
    if (argv_check(argc, argv, list, false, &err) < 0) {
        return complain(err.text);
    }
    while (ret < 0 && (letter = getopt_long(argc, argv, "", list, NULL)) != -1) {
        ret = read_option(options, letter, optarg);
    }
    return ret < 0 ? check_all(options, argc, argv) : ret;
}
