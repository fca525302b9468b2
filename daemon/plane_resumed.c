/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_resumed.h"

#include "daemon/plane_info.h"

static struct plane *plane_of(struct message *message)
{
    return containerof(message, struct plane, again.message);
}

/* A disk that was told to be started counts as one that runs. */
static bool is_settled(const struct plane *plane)
{
    return plane->state == PLANE_RUNNING || plane->state == PLANE_STOPPED ||
           plane->state == PLANE_WAITING;
}

/* The disk may have been stopped, and refused to stop, once more while the message was away. */
static void run_back(struct message *message)
{
    struct plane *plane = plane_of(message);

    plane->again.is_busy = false;
    if (plane->again.is_due && is_settled(plane)) {
        plane_resumed_tell(plane);
    }
}

/* On the control thread.  It comes back before plane_end, as it was sent before `gone`. */
static void run_resumed(struct message *message)
{
    struct plane *plane = plane_of(message);

    plane->resumed(plane);
    message->run = run_back;
    mailbox_send(&plane->worker.mailbox, message);
}

/* Answers of stops and this come to control in the order in which they are sent. */
void plane_resumed_tell(struct plane *plane)
{
    struct plane_resumed *again = &plane->again;

    again->is_due = again->is_busy;
    if (!again->is_busy) {
        again->is_busy = true;
        again->runs =
            plane->state == PLANE_RUNNING || plane->state == PLANE_WAITING || plane->start.is_told;
        plane_info_fill(plane, &again->info);
        again->message.run = run_resumed;
        mailbox_send(plane->worker.control, &again->message);
    }
}
