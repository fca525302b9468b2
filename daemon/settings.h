/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What can be changed while a disk exists: given to disk.add, changed by disk.set.
 * One more is a member of struct settings, a row of SETTINGS_PARAMS, and what plane_set.c
 * does with it.
 *
 * Plain values.  Control keeps a disk's settings in its record, for the state file; the disk's
 * thread has a copy, which it goes by.  A change is a struct of the same kind, in which what
 * stays as it is reads as absent.
 */

#include "core/device.h"
#include "daemon/params.h"

struct settings {
    int64_t poll_us;
    int64_t poll_cpu;
    int64_t threads; /* that serve the rings; the rings move */
    char engine[16]; /* asked for; taken up when the image is opened */
};

#define SETTING(at, member, is_change) \
    .offset = (at) + offsetof(struct settings, member), .has_no_default = (is_change)

/*
 * Rows of a table whose target has a struct settings at `at`.  `is_change`: what is not given
 * stays as it is, otherwise it has its default.
 */
/* clang-format off */
#define SETTINGS_PARAMS(at, is_change)                                                   \
    {"poll_us", .type = PARAM_INTEGER, SETTING(at, poll_us, is_change),                  \
     .value = DEVICE_POLL_US_DEFAULT, .max = DEVICE_POLL_US_MAX,                         \
     .help = "the longest that the disk's thread looks for work before it sleeps"},      \
    {"poll_cpu", .type = PARAM_INTEGER, SETTING(at, poll_cpu, is_change),                \
     .value = DEVICE_POLL_CPU_DEFAULT, .min = 1, .max = 100,                             \
     .help = "percent of a core that this may take"},                                    \
    {"engine", .type = PARAM_STRING, SETTING(at, engine, is_change),                     \
     .size = sizeof(((struct settings *)NULL)->engine),                                  \
     .text = (is_change) ? NULL : "auto", .choices = engine_names,                       \
     .help = "how the image is read and written, from when it is opened next"},          \
    {"threads", .type = PARAM_INTEGER, SETTING(at, threads, is_change),                  \
     .value = 1, .min = 1, .max = DEVICE_MAX_LANES,                                      \
     .help = "by how many threads its queues are served"}
/* clang-format on */

/* Returns false when it changes nothing, whatever it is applied to. */
bool settings_is_change(const struct settings *change);

/* Take over what is given.  Returns true when something is otherwise than before. */
bool settings_apply(struct settings *settings, const struct settings *change);
