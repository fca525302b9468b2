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

#include "daemon/params.h"

struct settings {
    char engine[16]; /* asked for; taken up when the image is opened */
};

extern const char *const settings_engines[];

/*
 * Rows of a table whose target has a struct settings at `at`.  `is_change_`: what is not given
 * stays as it is, otherwise it has its default.
 */
#define SETTINGS_PARAMS(at, is_change_)                                                     \
    {                                                                                       \
        "engine", .type = PARAM_STRING, .offset = (at) + offsetof(struct settings, engine), \
                  .size = sizeof(((struct settings *)NULL)->engine),                        \
                  .text = (is_change_) ? NULL : "auto", .has_no_default = (is_change_),     \
                  .choices = settings_engines,                                              \
                  .help = "how the image is read and written, from when it is opened next"  \
    }

/* Returns false when it changes nothing, whatever it is applied to. */
bool settings_is_change(const struct settings *change);

/* Take over what is given.  Returns true when something is otherwise than before. */
bool settings_apply(struct settings *settings, const struct settings *change);
