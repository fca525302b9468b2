/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What the daemon was told when it was started, and what one that comes after it goes on with.
 * Plain values; texts are lent.
 */

#include "core/base/log.h"
#include "daemon/admission.h"
#include "daemon/sandbox.h"

struct take_over;

struct daemon_opts {
    const char *control_path;
    const char *socket_dir;
    const char *state_dir;
    struct admission admission;
    enum log_level level;
    enum sandbox_mode sandbox_mode;
    bool has_user;       /* guests are served without rights, with the help of a broker */
    const char *sandbox; /* what there is of it, for people */
    struct take_over
        *take_over; /* the disks come from another process, NULL: from the state file */
};
