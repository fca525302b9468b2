/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Answers about all disks, which are asked side by side.  One such round is under way at a time,
 * whoever asks: the calls that come meanwhile wait for the next, one of each client, which is
 * for all of them.  So neither many clients nor many requests of one make more than one question
 * to a disk.
 * Owned by struct methods; all zero to begin with.  Thread: control.
 */

#include "daemon/call.h"
#include "daemon/registry.h"

struct gather_call;

/* Constant. */
struct gather_kind {
    bool has_warnings; /* of the daemon */
    bool looks;        /* at what has become of images */
    json_t *(*of)(const struct disk *disk, const struct plane_info *info);
    json_t *(*stuck)(const struct disk *disk, const char *reason);
};

struct gather {
    struct registry *registry;      /* lent, the same for all calls */
    const struct gather_kind *kind; /* of the round under way, or of the last one */
    struct gather_call *waiting;    /* owned, in the order in which they came */
    struct gather_call *served;     /* owned: by the round under way, NULL: there is none */
    json_t *list;                   /* owned: its answers so far, in the order of the table */
    unsigned pending;
    bool has_failed; /* a disk is missing for lack of memory */
    bool is_looping;
};

/* Answer `call` with {"disks": [...]}, now or later. */
void gather_all(struct gather *gather, struct registry *registry, struct call *call,
                const struct gather_kind *kind);
