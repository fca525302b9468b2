/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/settings.h"

#include "core/block/image_opts.h"
#include "core/device/device_choice.h"
#include "core/block/error_policy.h"
#include "daemon/params.h"
#include "daemon/rate_params.h"

const struct param settings_params[] = {
    {"poll_us", PARAM_INTEGER, .offset = offsetof(struct settings, poll_us),
     .value = DEVICE_POLL_US_DEFAULT, .max = DEVICE_POLL_US_MAX, .unit = "us",
     .help = "look for work so many us before sleeping"},
    {"poll_cpu", PARAM_INTEGER, .offset = offsetof(struct settings, poll_cpu),
     .value = DEVICE_POLL_CPU_DEFAULT, .min = 1, .max = 100, .unit = "%",
     .help = "percent of a core that this may take"},
    {"batch", PARAM_INTEGER, .offset = offsetof(struct settings, batch), .max = DEVICE_BATCH_MAX,
     .help = "requests given to the image at a time, 0: learned"},
    {"huge_bounce", PARAM_STRING, .offset = offsetof(struct settings, huge_bounce),
     .size = sizeof(((struct settings *)NULL)->huge_bounce), .text = "auto",
     .choices = huge_use_names, .word = "WHEN",
     .help = "large requests go through huge pages of vblkd's"},
    {"detect_zeroes", PARAM_STRING, .offset = offsetof(struct settings, detect_zeroes),
     .size = sizeof(((struct settings *)NULL)->detect_zeroes), .text = "off",
     .choices = detect_names, .word = "WHAT",
     .help = "writes of zeroes become zeroings, with unmap given back"},
    {"on_read_error", PARAM_STRING, .offset = offsetof(struct settings, on_read_error),
     .size = sizeof(((struct settings *)NULL)->on_read_error), .text = "report",
     .choices = error_read_names, .word = "WHAT", .help = "what is done about a read that fails"},
    {"on_write_error", PARAM_STRING, .offset = offsetof(struct settings, on_write_error),
     .size = sizeof(((struct settings *)NULL)->on_write_error), .text = "enospc",
     .choices = error_write_names, .word = "WHAT",
     .help = "the same of a write; enospc: stop for want of room"},
    {.name = "rates",
     .type = PARAM_GROUP,
     .offset = offsetof(struct settings, rates),
     .members = rate_params},
    {"group", PARAM_STRING, .offset = offsetof(struct settings, group),
     .size = sizeof(((struct settings *)NULL)->group), .text = GROUP_NONE, .is_quiet = true,
     .word = "NAME", .help = "disks of one group share one limit"},
    {"engine", PARAM_STRING, .offset = offsetof(struct settings, engine),
     .size = sizeof(((struct settings *)NULL)->engine), .text = "auto", .choices = engine_names,
     .word = "ENGINE", .help = "how the image is accessed"},
    {"threads", PARAM_INTEGER, .offset = offsetof(struct settings, threads), .value = 1, .min = 1,
     .max = LANES_MAX, .help = "threads that serve the queues"},
    {"queue_threads", PARAM_STRING, .offset = offsetof(struct settings, queue_threads),
     .size = sizeof(((struct settings *)NULL)->queue_threads), .text = LANE_MAP_AUTO,
     .word = "LIST", .help = "which of them serves which queue, as 0,0,1,1"},
    {"cpus", PARAM_STRING, .offset = offsetof(struct settings, cpus),
     .size = sizeof(((struct settings *)NULL)->cpus), .text = CPUS_ALL, .word = "LIST",
     .help = "the host's CPUs that they run on, as 0,1,8"},
    {.name = NULL},
};

bool settings_is_change(const struct settings *change)
{
    return params_has_any(settings_params, change);
}

bool settings_apply(struct settings *settings, const struct settings *change)
{
    return params_merge(settings_params, settings, change);
}

void settings_say(const struct settings *settings, char text[SETTINGS_TEXT_BYTES])
{
    params_say(settings_params, settings, text, SETTINGS_TEXT_BYTES);
}
