/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What is done about requests that fail, as QEMU defines it (qemu-system-x86_64(1), -drive rerror=,
 * werror=).  Plain values.
 */

#include "core/block/io.h"

enum error_action {
    ERROR_REPORT, /* the guest gets an I/O error */
    ERROR_IGNORE, /* it is told that all went well, and reads zeroes */
    ERROR_STOP,   /* the request is held, and its disk pauses until a person starts it */
    ERROR_ENOSPC, /* the same where there was no room, and as ERROR_REPORT for other errors */
};

struct error_policy {
    enum error_action read;
    enum error_action write; /* flushes, discards and zeroes as well */
};

/* What people call them, by number; NULL ends each.  Of reads there is no ERROR_ENOSPC. */
extern const char *const error_read_names[];
extern const char *const error_write_names[];

/* "report" -> ERROR_REPORT ...  Returns false for any other text. */
bool error_action_parse(const char *text, enum error_action *action);

/* Was there no room, on the file system or for its user?  A person can make some. */
bool error_is_no_space(int64_t code);

/* For people: what went wrong, -errno. */
const char *error_text(int64_t code);

/*
 * What is to be done about `io`, which has failed: ERROR_REPORT, ERROR_IGNORE or ERROR_STOP.
 *
 * A sync that failed is reported, whatever the policy: what it was to make stable may be lost, and
 * a later one that succeeds would not bring it back.
 *
 * has_lost  the image knows of a sync that failed since it was opened
 */
enum error_action error_policy_of(const struct error_policy *policy, const struct io *io,
                                  bool has_lost);
