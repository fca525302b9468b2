/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_socket.h"

#include <stdio.h>

#include "core/base/log.h"

struct socket_rights plane_socket_rights(const struct plane *plane)
{
    const struct plane_opts *opts = &plane->opts;
    struct socket_rights rights = opts->socket_rights;

    if (opts->socket_label[0]) {
        rights.label = opts->socket_label;
        rights.xattr = socket_rights_xattr();
        if (!rights.xattr) {
            log_warn("%s: its socket has no label any more, as this kernel runs without SELinux "
                     "and Smack (socket-label %s)",
                     opts->name, rights.label);
        }
    }
    return rights;
}

int plane_make_socket_dir(struct plane *plane, struct err *err)
{
    const struct plane_opts *opts = &plane->opts;

    return socket_dir_make(&plane->socket_dir, opts->socket_path, opts->socket_dir, err);
}

/* Returns 1 when it was made anew. */
static int have_socket_in_place(struct plane *plane, struct err *err)
{
    int ret = plane_make_socket_dir(plane, err);

    if (ret == 0) {
        ret = vhost_user_look(plane->vu, err);
    }
    if (ret == 0) {
        socket_dir_note(&plane->socket_dir, plane->opts.socket_path);
    }
    return ret;
}

int plane_look_at_socket(struct plane *plane, struct err *err)
{
    struct err why = {0};
    int ret = plane->vu ? have_socket_in_place(plane, &why) : 0;

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
