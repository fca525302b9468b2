/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/rates.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd/ctl/print.h"
#include "core/base/base.h"
#include "daemon/rate_params.h"

#define BURST_BYTES 80

static uint64_t number_of(const json_t *disk, const char *name, const char *suffix)
{
    char member[PARAM_OPTION_BYTES];

    (void)snprintf(member, sizeof(member), "%s%s", name, suffix);
    return print_number_of(disk, member);
}

/* ", 200 in bursts of 5 s", or nothing. */
static void say_burst(const json_t *disk, const char *name, char text[BURST_BYTES])
{
    uint64_t burst = number_of(disk, name, "_max");

    text[0] = '\0';
    if (burst > 0) {
        (void)snprintf(text, BURST_BYTES, ", %" PRIu64 " in bursts of %" PRIu64 " s", burst,
                       number_of(disk, name, "_max_length"));
    }
}

static void show_limit(const json_t *disk, const char *name, const char *what)
{
    uint64_t average = number_of(disk, name, "");
    char burst[BURST_BYTES];

    if (average > 0) {
        say_burst(disk, name, burst);
        print_field("limit", "%" PRIu64 " %s a second%s", average, what, burst);
    }
}

void rates_show(const json_t *disk)
{
    static const struct {
        const char *name;
        const char *what;
    } rates[] = {
        {"iops", "requests"}, {"iops_read", "reads"},         {"iops_write", "writes"},
        {"bps", "bytes"},     {"bps_read", "bytes of reads"}, {"bps_write", "bytes of writes"},
    };
    uint64_t size = print_number_of(disk, "iops_size");
    uint64_t waiting = print_number_of(disk, "throttled");
    const char *group = print_text_of(disk, "group");

    for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
        show_limit(disk, rates[i].name, rates[i].what);
    }
    if (size > 0) {
        print_field("requests count", "for each %" PRIu64 " bytes", size);
    }
    if (group[0] && strcmp(group, GROUP_NONE) != 0) {
        print_field("limit group", "%s", group);
    }
    if (waiting > 0) {
        print_field("throttled", "%" PRIu64 " request%s wait%s", waiting, waiting == 1 ? "" : "s",
                    waiting == 1 ? "s" : "");
    }
}

void rates_stats(const json_t *disk)
{
    printf("throttled: %" PRIu64 " now, %" PRIu64 " in all, for %.1f ms\n",
           print_number_of(disk, "throttled"), print_number_of(disk, "throttled_requests"),
           (double)print_number_of(disk, "throttled_ns") / 1e6);
}
