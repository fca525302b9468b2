/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A change of a device's image under its guest, which is made when nothing is in flight: requests
 * wait in their rings until then, those that are held stay so.  All lanes get other ways to the
 * image, or all keep what they have.
 *
 * Nothing is flushed for it.  What was answered is in the node that takes a root's place, and a
 * flush of that keeps it: whoever copied it there, or had it written to both, has seen to that
 * before.
 *
 * Other drains, threads that come and go and a front-end that leaves do not disturb it.  A stop or
 * a removal, which flushes the image and closes it, ends it undone.
 * Embedded in the one who waits.  Thread: the disk's.
 */

#include "core/base/err.h"
#include "core/device/drain.h"

struct device;
struct node;

enum device_change_kind {
    CHANGE_INSERT, /* see image_insert */
    CHANGE_REMOVE, /* see image_remove */
    CHANGE_SWAP,   /* see image_swap */
    CHANGE_MEDIUM, /* see image_exchange; the disk has its size then, and the driver has to be told
                    */
    CHANGE_SIZE,   /* see node_set_size; the driver has to be told */
};

struct device_change {
    enum device_change_kind kind;

    /*
     * As it is lent to the function that is meant, and comes back from it.  CHANGE_SIZE: the root
     * that was given to node_resize, with a count of the caller's; else -ESTALE.
     */
    struct node *node;
    uint64_t size_bytes; /* CHANGE_SIZE */

    /* Once, never from within device_change_begin.  err.code: 0, or why nothing has changed. */
    void (*done)(struct device_change *change);
    struct err err;

    /* The device's, until then. */
    struct device *dev;
    struct drain drain;
};

/*
 * Returns -errno with `err` filled, and `done` is not called: there is no image, it is about to be
 * closed, or another change is waited for.
 */
int device_change_begin(struct device *dev, struct device_change *change, struct err *err);

/*
 * CHANGE_SIZE to more than it has, at once: nothing in flight goes beyond what there was, so
 * nothing is waited for, and a request that hangs keeps nobody.  Returns 0 or -errno with `err`
 * filled.
 */
int device_grow(struct device *dev, const struct node *node, uint64_t size, struct err *err);

/* Whoever waits for it no longer does: `done` is not called.  Nothing happens when it was. */
void device_change_cancel(struct device *dev, struct device_change *change);

/* The one that is waited for, if any, is not made. */
void device_change_end(struct device *dev, int code, const char *why);
