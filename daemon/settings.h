/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What can be changed while a disk exists: given to disk.add, changed by disk.set.
 * One more is a member of struct settings, a row of settings_params, and what plane_set.c does
 * with it; JSON, log, state file, vblkctl and its completion have it from the row.
 *
 * Plain values.  Control keeps a disk's settings in its record, for the state file; the disk's
 * thread has a copy, which it goes by.  A change is a struct of the same kind, in which what
 * stays as it is reads as absent.
 */

#include "core/base/cpus.h"
#include "core/base/param.h"
#include "core/device/lane_map.h"
#include "core/device/limiter.h"

struct settings {
    int64_t poll_us;
    int64_t poll_cpu;
    int64_t batch;
    int64_t threads; /* that serve the rings; the rings move */
    char huge_bounce[8];
    char detect_zeroes[8];
    char on_read_error[8];
    char on_write_error[8];
    char queue_threads[LANE_MAP_TEXT_BYTES];
    char cpus[CPUS_TEXT_BYTES];
    struct rates rates;
    char group[LIMIT_GROUP_BYTES]; /* of disks that share them; they have the same rates */
    char engine[16];               /* asked for; taken up when the image is opened */
};

extern const struct param settings_params[];

/* Rows of a table whose target has `member`, a struct settings: all of them, or a change. */
#define SETTINGS_ROW(target, member, ...)                                            \
    {                                                                                \
        .name = "settings", .type = PARAM_GROUP, .offset = offsetof(target, member), \
        .members = settings_params, __VA_ARGS__                                      \
    }

/* Returns false when it changes nothing, whatever it is applied to. */
bool settings_is_change(const struct settings *change);

/* Take over what is given.  Returns true when something is otherwise than before. */
bool settings_apply(struct settings *settings, const struct settings *change);

/* "poll-us 100, ...", for the log. */
#define SETTINGS_TEXT_BYTES 1536
void settings_say(const struct settings *settings, char text[SETTINGS_TEXT_BYTES]);
