/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Who is at the other end of a front-end's connection, for people.
 */

#include <sys/types.h>

struct vhost_user_peer {
    pid_t pid;
    uid_t uid;
    char comm[64]; /* the process's name as text_escape shows it, "" when it cannot be told */
};

/* As it was when it connected. */
struct vhost_user_peer vu_peer_of(int fd);

const char *vu_peer_comm(const struct vhost_user_peer *peer);
