/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The private bytes of a request to the file backend, and the lists that it waits on.
 * Owned by the request; disk thread only.
 */

#include <assert.h>

#include "core/backend.h"
#include "core/base.h"

struct file_io {
    struct file_io *next;
    struct io *io;
    uint8_t *buffer; /* bounce buffer, NULL: the guest's memory is good as it is */
    struct iovec buffer_iov;
    uint64_t done;        /* bytes */
    uint64_t group_bytes; /* of the operation that it leads */
    unsigned group;       /* requests in that, itself included; they follow by `next` */
    bool is_alone;        /* not to be merged: it was, and something was wrong */
};

_Static_assert(sizeof(struct file_io) <= BACKEND_IO_SIZE, "room for the file backend");

struct file_io_list {
    struct file_io *first;
    struct file_io **last;
};

static inline void file_io_list_init(struct file_io_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

static inline void file_io_append(struct file_io_list *list, struct file_io *fio)
{
    fio->next = NULL;
    *list->last = fio;
    list->last = &fio->next;
}

/* Its `next` stays as it is. */
static inline struct file_io *file_io_take(struct file_io_list *list)
{
    struct file_io *fio = list->first;

    assert(fio);
    list->first = fio->next;
    if (!list->first) {
        list->last = &list->first;
    }
    return fio;
}
