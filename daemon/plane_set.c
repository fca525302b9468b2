/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_set.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "daemon/limits.h"
#include "daemon/plane_cpus.h"
#include "daemon/plane_limits.h"
#include "daemon/protocol.h"

/* What stands for the image of an empty disk has no engine. */
static bool has_engine(const struct plane *plane)
{
    return (device_image(plane->dev) && !plane->opts.image.is_empty) || plane->image_opening ||
           plane->medium.phase != MEDIUM_NONE;
}

/* An image keeps the engine that it was opened with; asking for what it has is no change. */
static int check_engine(const struct plane *plane, const char *engine, struct err *err)
{
    if (!has_engine(plane) || strcmp(engine, plane->settings.engine) == 0) {
        return 0;
    }
    (void)err_say(err, -EBUSY, "%s: engine: cannot become %s while the image is open",
                  plane->opts.name, engine);
    err_hint(err, PROTOCOL_FIRST "stop %s', " PROTOCOL_AFTERWARDS "start %s'", plane->opts.name,
             plane->opts.name);
    return -EBUSY;
}

void plane_set_poll(struct plane *plane)
{
    struct device_poll poll = {
        .max_us = (uint32_t)plane->settings.poll_us,
        .cpu_percent = (uint32_t)plane->settings.poll_cpu,
    };

    device_set_poll(plane->dev, &poll);
}

void plane_set_huge(struct plane *plane)
{
    enum huge_use use = HUGE_AUTO;
    bool is_known = huge_use_parse(plane->settings.huge_bounce, &use);

    assert(is_known); /* the table of settings allows no other */
    (void)is_known;
    device_set_huge(plane->dev, use);
}

void plane_set_zeroes(struct plane *plane)
{
    enum detect_zeroes detect = DETECT_OFF;
    bool is_known = detect_parse(plane->settings.detect_zeroes, &detect);

    assert(is_known); /* the table of settings allows no other */
    (void)is_known;
    device_set_detect_zeroes(plane->dev, detect);
}

static enum error_action action_of(const char *text)
{
    enum error_action action = ERROR_REPORT;
    bool is_known = error_action_parse(text, &action);

    assert(is_known); /* the table of settings allows no other */
    (void)is_known;
    return action;
}

void plane_set_errors(struct plane *plane)
{
    struct error_policy policy = {
        .read = action_of(plane->settings.on_read_error),
        .write = action_of(plane->settings.on_write_error),
    };

    device_set_errors(plane->dev, &policy);
}

static int read_map(const struct plane *plane, const struct settings *settings,
                    struct lane_map *map, struct err *err)
{
    struct err why = {0};
    int ret = lane_map_parse(map, settings->queue_threads, (unsigned)settings->threads,
                             device_queues(plane->dev), &why);

    return ret < 0 ? err_say(err, ret, "%s: queue_threads: %s", plane->opts.name, why.text) : 0;
}

/* What cannot be read is refused when it is to be set, and moves nothing. */
bool plane_set_moves(const struct plane *plane, const struct settings *change, unsigned *lanes)
{
    struct settings settings = plane->settings;
    struct lane_map map;

    (void)settings_apply(&settings, change);
    *lanes = (unsigned)settings.threads;
    return read_map(plane, &settings, &map, NULL) == 0 &&
           !device_has_lanes(plane->dev, *lanes, &map);
}

static int set_lanes(struct plane *plane, const struct settings *settings, struct err *err)
{
    unsigned threads = (unsigned)settings->threads;
    struct err why = {0};
    struct lane_map map;
    int ret = read_map(plane, settings, &map, err);

    if (ret < 0 || device_has_lanes(plane->dev, threads, &map)) {
        return ret;
    }
    ret = device_set_lanes(plane->dev, threads, &map, &why);
    if (ret < 0) {
        (void)err_say(err, ret, "%s: threads: %u cannot be had: %s", plane->opts.name, threads,
                      why.text);
        limits_hint(err);
    }
    return ret;
}

int plane_set_threads(struct plane *plane, struct err *err)
{
    return set_lanes(plane, &plane->settings, err);
}

/* All of it, or nothing is otherwise than before. */
static int take_what_may_fail(struct plane *plane, const struct settings *settings, bool has_cpus,
                              struct err *err)
{
    int ret = check_engine(plane, settings->engine, err);

    if (ret == 0) {
        ret = rates_check(&settings->rates, err);
    }
    if (ret == 0 && has_cpus) { /* first, as new threads have them of those that are there */
        ret = plane_cpus_use(plane, settings->cpus, err);
    }
    if (ret == 0) {
        ret = plane_limits_reserve(plane, settings, err);
    }
    if (ret == 0) {
        ret = set_lanes(plane, settings, err);
        if (ret < 0) {
            plane_limits_unreserve(plane);
        }
    }
    if (ret < 0 && has_cpus) {
        (void)plane_cpus_use(plane, plane->settings.cpus, NULL); /* as before */
    }
    return ret;
}

int plane_set(struct plane *plane, const struct settings *change, bool *has_changed,
              struct err *err)
{
    struct settings before, settings;
    int ret;

    plane_limits_look(plane);
    before = settings = plane->settings;
    *has_changed = settings_apply(&settings, change);
    ret = take_what_may_fail(plane, &settings, change->cpus[0] != '\0', err);
    if (ret < 0) {
        *has_changed = false;
        return ret;
    }
    plane->settings = settings;
    plane_limits_set(plane, change);
    if (*has_changed) {
        char text[SETTINGS_TEXT_BYTES];

        settings_say(&settings, text);
        log_info("%s: set to %s", plane->opts.name, text);
    }
    if (settings.poll_us != before.poll_us || settings.poll_cpu != before.poll_cpu) {
        plane_set_poll(plane); /* forgets what polling has learned */
    }
    if (strcmp(settings.huge_bounce, before.huge_bounce) != 0) {
        plane_set_huge(plane);
    }
    if (strcmp(settings.detect_zeroes, before.detect_zeroes) != 0) {
        plane_set_zeroes(plane);
    }
    if (strcmp(settings.on_read_error, before.on_read_error) != 0 ||
        strcmp(settings.on_write_error, before.on_write_error) != 0) {
        plane_set_errors(plane);
    }
    if (settings.batch != before.batch) {
        device_set_batch(plane->dev, (unsigned)settings.batch);
    }
    return 0;
}
