/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_held.h"

#include <inttypes.h>
#include <stdio.h>

static bool is_paused(const struct plane_info *info)
{
    return info->device.pause_mask & PAUSE_ERROR;
}

const char *disk_held_iostatus(const struct plane_info *info)
{
    if (!is_paused(info)) {
        return "ok";
    }
    return error_is_no_space(info->device.held.first.code) ? "nospace" : "failed";
}

static uint64_t age_ns(const struct plane_info *info)
{
    uint64_t since_ns = info->device.held.first.since_ns;

    return info->time_ns > since_ns ? info->time_ns - since_ns : 0;
}

json_t *disk_held_first(const struct plane_info *info)
{
    const struct held_failure *first = &info->device.held.first;

    if (first->code == 0) {
        return json_null();
    }
    return json_pack("{s:s, s:I, s:I, s:i, s:s, s:I}", "type", stats_type_name(first->kind),
                     "offset", (json_int_t)first->offset, "length", (json_int_t)first->length,
                     "ring", (int)first->ring, "errno", err_name(first->code), "age_ns",
                     (json_int_t)age_ns(info));
}

/* What is held and was not seen to fail: it was found in a log, or a pause came first. */
static uint64_t count_untried(const struct plane_info *info)
{
    uint64_t count = info->device.stats.held;

    for (unsigned i = 0; i < STATS_TYPES; i++) {
        count -= min_of(count, (uint64_t)info->device.held.count[i]);
    }
    return count;
}

json_t *disk_held_types(const struct plane_info *info)
{
    json_t *object = json_object();

    for (unsigned i = 0; i < STATS_TYPES; i++) {
        (void)json_object_set_new(object, stats_type_name((enum stats_type)i),
                                  json_integer(info->device.held.count[i]));
    }
    (void)json_object_set_new(object, "untried", json_integer((json_int_t)count_untried(info)));
    return object;
}

static void say_paused(const struct plane_info *info, char *text, size_t size)
{
    const struct held_failure *first = &info->device.held.first;
    unsigned held = (unsigned)info->device.stats.held;

    (void)snprintf(text, size,
                   "paused for %u s: a %s of %" PRIu64 " bytes at offset %" PRIu64
                   " failed: %s, and the guest waits, with %u request%s held: %s, and start the "
                   "disk",
                   (unsigned)(age_ns(info) / NS_PER_S), stats_type_name(first->kind), first->length,
                   first->offset, error_text(first->code), held, held == 1 ? "" : "s",
                   error_is_no_space(first->code) ? "make room for its image" : "see to its image");
}

void disk_held_say(const struct plane_info *info, char *text, size_t size)
{
    unsigned held = (unsigned)info->device.stats.held;

    text[0] = '\0';
    if (is_paused(info)) {
        say_paused(info, text, size);
    } else if (held > 0) {
        (void)snprintf(text, size,
                       "%u request%s failed, and the guest waits for %s: see the log for why, mend "
                       "it, and start the disk",
                       held, held == 1 ? "" : "s", held == 1 ? "it" : "them");
    }
}
