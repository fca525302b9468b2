/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What a disk does with its image when a guest comes, and when it has been migrated elsewhere.
 * Thread: the disk's.  `arg` is the plane.
 */

/* As struct vhost_user_opts says. */
void plane_handover_came(void *arg);
void plane_handover_left(void *arg);
