/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_set.h"

#include <errno.h>
#include <string.h>

#include "daemon/limits.h"

/* An image keeps the engine that it was opened with; asking for what it has is no change. */
static int check_engine(const struct plane *plane, const char *engine, struct err *err)
{
    if (!plane->dev.lane.backend || strcmp(engine, plane->settings.engine) == 0) {
        return 0;
    }
    (void)err_say(err, -EBUSY, "%s: engine: cannot become %s while the image is open",
                  plane->opts.name, engine);
    err_hint(err, "first 'vblkctl stop %s', afterwards 'vblkctl start %s'", plane->opts.name,
             plane->opts.name);
    return -EBUSY;
}

void plane_set_poll(struct plane *plane)
{
    struct device_poll poll = {
        .max_us = (uint32_t)plane->settings.poll_us,
        .cpu_percent = (uint32_t)plane->settings.poll_cpu,
    };

    device_set_poll(&plane->dev, &poll);
}

bool plane_set_moves(const struct plane *plane, const struct settings *change)
{
    struct settings settings = plane->settings;

    (void)settings_apply(&settings, change);
    return settings.threads != (int64_t)plane->dev.lane_count;
}

static int set_lanes(struct plane *plane, unsigned threads, struct err *err)
{
    struct err why = {0};
    int ret;

    if (threads == plane->dev.lane_count) {
        return 0;
    }
    ret = device_set_lanes(&plane->dev, threads, &why);
    if (ret < 0) {
        (void)err_say(err, ret, "%s: threads: %u cannot be had: %s", plane->opts.name, threads,
                      why.text);
        limits_hint(err);
    }
    return ret;
}

int plane_set_threads(struct plane *plane, struct err *err)
{
    return set_lanes(plane, (unsigned)plane->settings.threads, err);
}

int plane_set(struct plane *plane, const struct settings *change, bool *has_changed,
              struct err *err)
{
    const struct settings before = plane->settings;
    struct settings settings = before;
    int ret;

    *has_changed = settings_apply(&settings, change);
    ret = check_engine(plane, settings.engine, err);
    if (ret == 0) {
        ret = set_lanes(plane, (unsigned)settings.threads, err);
    }
    if (ret < 0) {
        *has_changed = false;
        return ret;
    }
    plane->settings = settings;
    if (*has_changed) {
        log_info("%s: set to poll-us %d, poll-cpu %d, engine %s, threads %d", plane->opts.name,
                 (int)settings.poll_us, (int)settings.poll_cpu, settings.engine,
                 (int)settings.threads);
    }
    if (settings.poll_us != before.poll_us || settings.poll_cpu != before.poll_cpu) {
        plane_set_poll(plane); /* forgets what polling has learned */
    }
    return 0;
}
