/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What one process hands to the next, as text: disks and listening sockets, with descriptors by
 * their number in a parcel (core/base/parcel.h). Thread: control.
 */

#include <jansson.h>

#include "core/base/parcel.h"
#include "daemon/plane_given.h"

/* The format of all that: raised whenever a process of the other version could not read it. */
#define GIVEN_VERSION 1

/* The last words: all is ready there; it is yours; and, before anything is touched: so it is. */
#define HAND_OVER_READY 'r'
#define HAND_OVER_GO 'g'
#define HAND_OVER_GONE 'o'

/* The list of descriptors while the text is made; `fd` grows. */
struct given_fds {
    struct parcel *parcel;
    unsigned room;
    bool has_failed; /* for lack of memory */
};

/* The number of a descriptor, which is lent; null for -1. */
json_t *given_fd(struct given_fds *fds, int fd);

/* The descriptor with that number, ours from now on; -1 for null. */
int given_take_fd(struct parcel *parcel, const json_t *number);

json_t *given_listener(struct given_fds *fds, const struct unix_listener *listener);

/* Returns 0 or -EPROTO, as all that read. */
int given_read_listener(struct parcel *parcel, const json_t *json, struct unix_listener *listener);

json_t *given_disk(struct given_fds *fds, const struct plane_given *given);
int given_read_disk(struct parcel *parcel, const json_t *json, struct plane_given *given);
