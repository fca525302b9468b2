/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_socket.h"

#include <stdio.h>

#include "core/base/log.h"

int plane_look_at_socket(struct plane *plane, struct err *err)
{
    struct err why = {0};
    int ret = plane->vu ? vhost_user_look(plane->vu, &why) : 0;

    if (ret > 0) {
        log_warn("%s: its socket %s had gone and was made anew", plane->opts.name,
                 plane->opts.socket_path);
    } else if (ret < 0 && !plane->socket_fault[0]) {
        log_error("%s: its socket has gone and cannot be made anew: %s", plane->opts.name,
                  why.text);
    }
    (void)snprintf(plane->socket_fault, sizeof(plane->socket_fault), "%.255s", why.text);
    return ret < 0 ? err_say(err, ret, "%s: its socket has gone and cannot be made anew: %s",
                             plane->opts.name, why.text)
                   : ret;
}
