/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/stats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmd/common/answer.h"
#include "cmd/ctl/args.h"
#include "cmd/ctl/print.h"
#include "cmd/ctl/rates.h"
#include "cmd/common/rpc.h"

/* Samples between two headers, about a screen of them. */
#define HEADER_EVERY 20

static const char *const types[] = {"read", "write", "flush", "discard", "write_zeroes", "other"};

/* ---- since the disk was added ---- */

static double ratio(double value, double by)
{
    return by > 0 ? value / by : 0;
}

static void print_types(const json_t *requests)
{
    static const char *const header[] = {"TYPE",   "REQUESTS", "BYTES",
                                         "ERRORS", "TIME ms",  "MEAN us"};
    struct grid grid = {.right = 0x3e};

    grid_row(&grid);
    for (unsigned column = 0; column < ARRAY_SIZE(header); column++) {
        grid_cell(&grid, column, "%s", header[column]);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        const json_t *type = json_object_get(requests, types[i]);
        uint64_t count = print_number_of(type, "requests");
        double time_ns = (double)print_number_of(type, "time_ns");

        grid_row(&grid);
        grid_cell(&grid, 0, "%s", types[i]);
        grid_cell(&grid, 1, "%" PRIu64, count);
        grid_cell(&grid, 2, "%" PRIu64, print_number_of(type, "bytes"));
        grid_cell(&grid, 3, "%" PRIu64, print_number_of(type, "errors"));
        grid_cell(&grid, 4, "%.1f", time_ns / 1e6);
        grid_cell(&grid, 5, "%.1f", ratio(time_ns / 1e3, (double)count));
    }
    grid_print(&grid);
}

/* How many a thread gives to the image at a time, where that was learned or set. */
static void print_batches(const json_t *disk)
{
    const json_t *batches = json_object_get(disk, "batches");
    size_t i;
    json_t *thread;

    json_array_foreach(batches, i, thread)
    {
        uint64_t reads = print_number_of(thread, "reads");
        uint64_t writes = print_number_of(thread, "writes");

        if (reads > 0) {
            printf("thread %zu: %" PRIu64 " read%s at a time\n", i, reads, reads == 1 ? "" : "s");
        }
        if (writes > 0) {
            printf("thread %zu: %" PRIu64 " write%s at a time\n", i, writes,
                   writes == 1 ? "" : "s");
        }
    }
}

static void print_totals(const json_t *disk)
{
    uint64_t submissions = print_number_of(disk, "submissions");
    uint64_t submitted = print_number_of(disk, "submitted");
    uint64_t merged = print_number_of(disk, "merged");

    printf("%s: %" PRIu64 " in flight, at most %" PRIu64 ", held %" PRIu64 "\n",
           print_text_of(disk, "name"), print_number_of(disk, "inflight"),
           print_number_of(disk, "inflight_max"), print_number_of(disk, "held"));
    print_types(json_object_get(disk, "requests"));
    rates_stats(disk);
    printf("refused before they reached the image: %" PRIu64 "\n",
           print_number_of(disk, "invalid"));
    printf("kicks: %" PRIu64 ", interrupts: %" PRIu64 " sent (%" PRIu64 " late), %" PRIu64
           " suppressed\n",
           print_number_of(disk, "kicks"), print_number_of(disk, "interrupts"),
           print_number_of(disk, "late_interrupts"),
           print_number_of(disk, "interrupts_suppressed"));
    printf("polls: %" PRIu64 " found work, %" PRIu64 " found none, in %.1f ms\n",
           print_number_of(disk, "poll_hits"), print_number_of(disk, "poll_misses"),
           (double)print_number_of(disk, "poll_time_ns") / 1e6);
    printf("submissions: %" PRIu64 ", requests per submission: %.2f, merged: %" PRIu64
           ", through huge pages: %" PRIu64 "\n",
           submissions, ratio((double)(submitted + merged), (double)submissions), merged,
           print_number_of(disk, "bounced"));
    printf("writes of zeroes that were zeroed: %" PRIu64 "\n", print_number_of(disk, "turned"));
    if (print_number_of(disk, "ignored") > 0) {
        printf("failures that the guest was not told of: %" PRIu64 "\n",
               print_number_of(disk, "ignored"));
    }
    printf("given back to the file system: %" PRIu64 " bytes\n", print_number_of(disk, "freed"));
    print_batches(disk);
}

/* ---- over an interval ---- */

/* How much a counter has grown; 0 when the disk is another one of the same name. */
static double growth(const json_t *now, const json_t *before, const char *member)
{
    uint64_t a = print_number_of(before, member);
    uint64_t b = print_number_of(now, member);

    return b >= a ? (double)(b - a) : 0;
}

struct rates {
    double requests;
    double bytes;
    double time_ns;
};

static struct rates rates_of(const json_t *now, const json_t *before, const char *type)
{
    const json_t *a = json_object_get(json_object_get(before, "requests"), type);
    const json_t *b = json_object_get(json_object_get(now, "requests"), type);

    return (struct rates){
        .requests = growth(b, a, "requests"),
        .bytes = growth(b, a, "bytes"),
        .time_ns = growth(b, a, "time_ns"),
    };
}

static void print_rates_header(void)
{
    printf("%-16s %9s %9s %9s %11s %11s %11s %11s %8s %8s %8s %8s %8s %6s\n", "DISK", "r/s", "w/s",
           "f/s", "rkB/s", "wkB/s", "dkB/s", "zkB/s", "r_ms", "w_ms", "f_ms", "inflight", "req/sub",
           "poll%");
}

static void print_rates(const json_t *now, const json_t *before)
{
    double seconds = growth(now, before, "time_ns") / 1e9;
    struct rates r = rates_of(now, before, "read");
    struct rates w = rates_of(now, before, "write");
    struct rates f = rates_of(now, before, "flush");
    struct rates d = rates_of(now, before, "discard");
    struct rates z = rates_of(now, before, "write_zeroes");

    if (seconds <= 0) {
        return;
    }
    printf("%-16s %9.1f %9.1f %9.1f %11.1f %11.1f %11.1f %11.1f %8.3f %8.3f %8.3f %8" PRIu64
           " %8.2f %6.1f\n",
           print_text_of(now, "name"), r.requests / seconds, w.requests / seconds,
           f.requests / seconds, r.bytes / seconds / 1024, w.bytes / seconds / 1024,
           d.bytes / seconds / 1024, z.bytes / seconds / 1024, ratio(r.time_ns / 1e6, r.requests),
           ratio(w.time_ns / 1e6, w.requests), ratio(f.time_ns / 1e6, f.requests),
           print_number_of(now, "inflight"),
           ratio(growth(now, before, "submitted") + growth(now, before, "merged"),
                 growth(now, before, "submissions")),
           growth(now, before, "poll_time_ns") / seconds / 1e7);
}

static const json_t *find_disk(const json_t *disks, const char *name)
{
    size_t i;
    json_t *disk;

    json_array_foreach(disks, i, disk)
    {
        if (strcmp(print_text_of(disk, "name"), name) == 0) {
            return disk;
        }
    }
    return NULL;
}

static void print_sample(const json_t *now, const json_t *before)
{
    size_t i;
    json_t *disk;

    json_array_foreach(now, i, disk)
    {
        const json_t *earlier = find_disk(before, print_text_of(disk, "name"));

        if (print_text_of(disk, "error")[0]) {
            print_field(print_text_of(disk, "name"), "%s", print_text_of(disk, "error"));
        } else if (earlier && !print_text_of(earlier, "error")[0]) {
            print_rates(disk, earlier);
        }
    }
}

/* ---- sampling ---- */

/* An array of disks, also when one was asked for. */
static int sample(struct rpc *rpc, const struct args *args, json_t **disks, json_t **result)
{
    struct err err = {0};
    int status =
        rpc_call(rpc, args->command->method, args->params, args->command->wait_ms, result, &err);

    if (status != STATUS_OK) {
        return args_refused(args, status, &err);
    }
    *disks = json_object_get(*result, "disks");
    if (*disks) {
        json_incref(*disks);
    } else {
        *disks = json_pack("[O]", *result);
    }
    if (!args->is_json) {
        answer_make_safe(*result);
    }
    return STATUS_OK;
}

static int print_once(struct rpc *rpc, const struct args *args)
{
    json_auto_t *result = NULL;
    json_auto_t *disks = NULL;
    int status = sample(rpc, args, &disks, &result);
    size_t i;
    json_t *disk;

    if (status == STATUS_OK && args->is_json) {
        (void)answer_print_json(result, 0);
        return status;
    }
    json_array_foreach(disks, i, disk)
    {
        if (i > 0) {
            printf("\n");
        }
        if (print_text_of(disk, "error")[0]) {
            print_field(print_text_of(disk, "name"), "%s", print_text_of(disk, "error"));
        } else {
            print_totals(disk);
        }
    }
    return status;
}

/* To the beat, however long printing takes. */
static void sleep_until(struct timespec *beat, int64_t interval_ms)
{
    int64_t ns = beat->tv_nsec + interval_ms % 1000 * (int64_t)NS_PER_MS;

    beat->tv_sec += interval_ms / 1000 + ns / (int64_t)NS_PER_S;
    beat->tv_nsec = ns % (int64_t)NS_PER_S;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, beat, NULL) != 0) {
    }
}

/* Nobody may be there to stop what goes on for ever: main says why it ends. */
static bool is_taken(void)
{
    return fflush(stdout) == 0 && !ferror(stdout);
}

static int print_json_samples(struct rpc *rpc, const struct args *args, int64_t interval_ms,
                              int64_t count)
{
    struct timespec beat;
    int status = STATUS_OK;

    clock_gettime(CLOCK_MONOTONIC, &beat);
    for (int64_t i = 0; status == STATUS_OK && is_taken() && (count == 0 || i < count); i++) {
        if (i > 0) {
            sleep_until(&beat, interval_ms);
        }
        status = print_once(rpc, args);
    }
    return status;
}

static int print_rate_samples(struct rpc *rpc, const struct args *args, int64_t interval_ms,
                              int64_t count)
{
    json_t *before = NULL;
    struct timespec beat;
    int status = STATUS_OK;

    clock_gettime(CLOCK_MONOTONIC, &beat);
    for (int64_t i = 0; status == STATUS_OK && is_taken() && (count == 0 || i <= count); i++) {
        json_auto_t *result = NULL;
        json_t *now = NULL;

        if (i > 0) {
            sleep_until(&beat, interval_ms);
        }
        status = sample(rpc, args, &now, &result);
        if (status == STATUS_OK && i > 0) {
            if ((i - 1) % HEADER_EVERY == 0) {
                print_rates_header();
            }
            print_sample(now, before);
        }
        json_decref(before);
        before = now;
    }
    json_decref(before);
    return status;
}

int stats_check(const struct args *args, struct err *err)
{
    int64_t interval_ms = args_own(args, "interval", -1);
    int64_t count = args_own(args, "count", -1);

    if (interval_ms == 0) {
        return err_say(err, -EINVAL, "--interval: must be at least 0.001");
    }
    if (count == 0) {
        return err_say(err, -EINVAL, "--count: must be at least 1");
    }
    if (count > 0 && interval_ms < 0) {
        return err_say(err, -EINVAL, "--count: goes with --interval only");
    }
    return 0;
}

int stats_run(struct rpc *rpc, const struct args *args)
{
    int64_t interval_ms = args_own(args, "interval", -1);
    int64_t count = args_own(args, "count", 0);

    if (interval_ms < 0) {
        return print_once(rpc, args);
    }
    return args->is_json ? print_json_samples(rpc, args, interval_ms, count)
                         : print_rate_samples(rpc, args, interval_ms, count);
}
