/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_keep.h"

#include "core/base/log.h"

static struct plane *plane_of(struct message *message)
{
    return containerof(message, struct plane, keep.message);
}

/* On the control thread. */
static void run_keep(struct message *message)
{
    struct plane *plane = plane_of(message);

    plane->opts.keep_handover(plane);
}

static void tell_control(struct plane *plane)
{
    plane->keep.is_due = plane->keep.is_busy;
    if (!plane->keep.is_busy) {
        plane->keep.is_busy = true;
        plane->keep.err = (struct err){0};
        plane->keep.message.run = run_keep;
        mailbox_send(plane->worker.control, &plane->keep.message);
    }
}

static void end_keep(struct plane *plane)
{
    void (*done)(struct plane * plane) = plane->keep.done;

    if (plane->keep.err.code < 0) {
        log_warn("%s: handed over, and a vblkd that starts after a crash would not know: %s",
                 plane->opts.name, plane->keep.err.text);
    }
    plane->keep.done = NULL;
    done(plane);
}

/* Who waited may have gone, and another one come; or all of the disk is gone. */
static void run_kept(struct message *message)
{
    struct plane *plane = plane_of(message);

    plane->keep.is_busy = false;
    if (plane->dev && plane->keep.done) {
        if (plane->keep.is_due) {
            tell_control(plane);
        } else {
            end_keep(plane);
        }
    }
}

void plane_keep_kept(struct plane *plane)
{
    plane->keep.message.run = run_kept;
    mailbox_send(&plane->worker.mailbox, &plane->keep.message);
}

void plane_keep(struct plane *plane, void (*done)(struct plane *plane))
{
    plane->keep.done = done;
    tell_control(plane);
}

void plane_keep_forget(struct plane *plane)
{
    plane->keep.done = NULL;
}
