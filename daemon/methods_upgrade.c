/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/methods_upgrade.h"

#include <errno.h>

#include "daemon/protocol.h"

const struct param hand_over_params[] = {
    {"version", .type = PARAM_INTEGER, .offset = offsetof(struct hand_over_target, version),
     .is_required = true, .min = 1, .max = INT32_MAX, .help = "of the format of what follows"},
    {"timeout_ms", .type = PARAM_INTEGER, .offset = offsetof(struct hand_over_target, timeout_ms),
     .min = 1, .max = PROTOCOL_DRAIN_MS_MAX, .value = PROTOCOL_UPGRADE_MS,
     .help = "how long to wait for requests in flight"},
    {NULL},
};

void run_hand_over(struct methods *methods, struct call *call, const void *target)
{
    struct err err = {0};

    if (methods->hand_over) {
        methods->hand_over(methods->arg, call, target);
        return;
    }
    (void)err_say(&err, -ENOTSUP, "no process can take over what is not a daemon's");
    call_refuse(call, &err);
}
