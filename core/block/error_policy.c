/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/error_policy.h"

#include <errno.h>
#include <string.h>

const char *const error_read_names[] = {
    [ERROR_REPORT] = "report", [ERROR_IGNORE] = "ignore", [ERROR_STOP] = "stop", NULL};

const char *const error_write_names[] = {[ERROR_REPORT] = "report",
                                         [ERROR_IGNORE] = "ignore",
                                         [ERROR_STOP] = "stop",
                                         [ERROR_ENOSPC] = "enospc",
                                         NULL};

bool error_action_parse(const char *text, enum error_action *action)
{
    for (unsigned i = 0; error_write_names[i]; i++) {
        if (strcmp(error_write_names[i], text) == 0) {
            *action = (enum error_action)i;
            return true;
        }
    }
    return false;
}

bool error_is_no_space(int64_t code)
{
    return code == -ENOSPC || code == -EDQUOT;
}

const char *error_text(int64_t code)
{
    return code == -ENODATA ? "the image ends before that, it was shrunk" : strerror((int)-code);
}

/*
 * Of a write that was to be stable the data are still the guest's, so it may be done again, unless
 * the image has lost what was written before: then no later success can be relied on.  Zeroes do
 * not tell whether they or their sync failed, but for want of room they had none to begin with.
 */
static bool is_failed_sync(const struct io *io, bool has_lost, enum error_action action)
{
    if (io->op == IO_FLUSH) {
        return true;
    }
    if (!(io->flags & IO_FUA)) {
        return false;
    }
    return has_lost || action == ERROR_IGNORE ||
           (io->op == IO_ZERO && !error_is_no_space(io->result));
}

enum error_action error_policy_of(const struct error_policy *policy, const struct io *io,
                                  bool has_lost)
{
    enum error_action action = io->op == IO_READ ? policy->read : policy->write;

    if (action == ERROR_ENOSPC) {
        action = error_is_no_space(io->result) ? ERROR_STOP : ERROR_REPORT;
    }
    /* EFAULT: its buffers are not there, which is the guest's own fault. */
    return io->result == -EFAULT || is_failed_sync(io, has_lost, action) ? ERROR_REPORT : action;
}
