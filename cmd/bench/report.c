/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/bench/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>

#include "cmd/common/answer.h"
#include "cmd/common/size.h"
#include "core/base/text.h"

static const struct {
    const char *name;
    const char *member;
    unsigned per_mille;
} quantiles[] = {
    {"p50", "p50", 500}, {"p90", "p90", 900}, {"p99", "p99", 990}, {"p99.9", "p99_9", 999}};

/* What a request moves or discards; a flush has nothing of the kind. */
static double bytes_each(const struct load *load)
{
    return load->options->rw == BENCH_FLUSH ? 0 : load->options->block_bytes;
}

static double seconds_of(uint64_t time_ns)
{
    return (double)time_ns / (double)NS_PER_S;
}

static double iops(const struct load_result *result)
{
    return result->time_ns > 0 ? (double)result->latency.count / seconds_of(result->time_ns) : 0;
}

static double each(const struct load_result *result, uint64_t what)
{
    return result->latency.count > 0 ? (double)what / (double)result->latency.count : 0;
}

/* ---- JSON ---- */

static json_t *latency_json(const struct hist *hist)
{
    json_t *object = json_pack("{s:f, s:I, s:I}", "mean", hist_mean(hist), "min",
                               (json_int_t)hist->min, "max", (json_int_t)hist->max);

    for (unsigned i = 0; i < ARRAY_SIZE(quantiles); i++) {
        uint64_t value = hist_quantile(hist, quantiles[i].per_mille);

        /* Fails without memory only, and then the whole object cannot be packed. */
        (void)json_object_set_new(object, quantiles[i].member, json_integer((json_int_t)value));
    }
    return object;
}

static json_t *verify_json(const struct verify *verify)
{
    return verify->blocks == 0 ? json_null()
                               : json_pack("{s:I, s:I}", "checked", (json_int_t)verify->checked,
                                           "wrong", (json_int_t)verify->wrong);
}

/* A path need not be UTF-8, as JSON has to be. */
static json_t *path_json(const char *path)
{
    json_t *value = json_string(path);
    char text[PATH_MAX];

    return value ? value : json_string(text_safe(path, text, sizeof(text)));
}

static json_t *options_json(const struct load *load, const char *socket)
{
    const struct bench_options *options = load->options;

    return json_pack("{s:o, s:o, s:s, s:I, s:i, s:i, s:b, s:b, s:b, s:I, s:b}", "disk",
                     path_json(options->disk), "socket", path_json(socket), "rw",
                     bench_rw_name(options->rw), "bs", (json_int_t)options->block_bytes, "iodepth",
                     (int)options->depth, "queues", (int)options->queues, "poll", options->polls,
                     "packed", options->is_packed, "huge_pages", options->has_huge_pages, "rate",
                     (json_int_t)options->rate, "verified", options->verifies);
}

static bool print_json(const struct load *load, const char *socket)
{
    const struct load_result *result = &load->result;
    json_auto_t *object = options_json(load, socket);
    json_auto_t *more = json_pack(
        "{s:f, s:I, s:I, s:I, s:f, s:f, s:o, s:I, s:I, s:f, s:i, s:b, s:o}", "seconds",
        seconds_of(result->time_ns), "requests", (json_int_t)result->latency.count, "all_requests",
        (json_int_t)result->all_requests, "errors", (json_int_t)result->errors, "iops",
        iops(result), "bytes_per_second", iops(result) * bytes_each(load), "latency_ns",
        latency_json(&result->latency), "kicks", (json_int_t)result->kicks, "interrupts",
        (json_int_t)result->interrupts, "client_cpu_us", each(result, result->client_cpu_ns) / 1000,
        "reconnects", (int)vhost_user_client_reconnects(load->front->bus.client), "interrupted",
        result->is_interrupted, "verify", verify_json(&load->verify));

    return object && more && json_object_update(object, more) == 0 &&
           answer_print_json(object, JSON_REAL_PRECISION(10));
}

/* ---- text ---- */

static const char *time_text(uint64_t time_ns, char text[32])
{
    double us = (double)time_ns / 1000;

    (void)snprintf(text, 32, us < 1000 ? "%.1f us" : "%.2f ms", us < 1000 ? us : us / 1000);
    return text;
}

static void print_latency(const struct hist *hist)
{
    char text[32];

    printf("  latency     mean %s", time_text((uint64_t)hist_mean(hist), text));
    printf(", min %s", time_text(hist->min, text));
    printf(", max %s\n             ", time_text(hist->max, text));
    for (unsigned i = 0; i < ARRAY_SIZE(quantiles); i++) {
        printf("%s %s %s", i > 0 ? "," : "", quantiles[i].name,
               time_text(hist_quantile(hist, quantiles[i].per_mille), text));
    }
    printf("\n");
}

static void print_text(const struct load *load)
{
    const struct bench_options *options = load->options;
    const struct load_result *result = &load->result;
    unsigned reconnects = vhost_user_client_reconnects(load->front->bus.client);
    char disk[PATH_MAX];
    char size[SIZE_TEXT_BYTES];

    printf("%s: %s, %s, depth %u, %u queue%s%s, %.2f s%s\n",
           text_safe(options->disk, disk, sizeof(disk)), bench_rw_name(options->rw),
           size_format(options->block_bytes, size), options->depth, options->queues,
           options->queues == 1 ? "" : "s", options->is_packed ? ", packed" : "",
           seconds_of(result->time_ns), result->is_interrupted ? ", interrupted" : "");
    printf("  IOPS        %.0f\n", iops(result));
    if (bytes_each(load) > 0) {
        printf("  bandwidth   %.1f MiB/s\n", iops(result) * bytes_each(load) / (1 << 20));
    }
    print_latency(&result->latency);
    printf("  kicks       %" PRIu64 ", %.3f a request\n", result->kicks,
           each(result, result->kicks));
    printf("  interrupts  %" PRIu64 ", %.3f a request\n", result->interrupts,
           each(result, result->interrupts));
    printf("  own CPU     %.2f us a request\n", each(result, result->client_cpu_ns) / 1000);
    if (load->verify.blocks > 0) {
        printf("  verified    %" PRIu64 " blocks, %" PRIu64 " wrong\n", load->verify.checked,
               load->verify.wrong);
    }
    if (reconnects > 0) {
        printf("  the back-end came back %u time%s\n", reconnects, reconnects == 1 ? "" : "s");
    }
    if (result->errors > 0) {
        printf("  errors      %" PRIu64 "\n", result->errors);
    }
}

bool report_print(const struct load *load, const char *socket)
{
    bool ok = true;

    if (load->options->is_json) {
        ok = print_json(load, socket);
    } else {
        print_text(load);
    }
    return fflush(stdout) == 0 && !ferror(stdout) && ok;
}
