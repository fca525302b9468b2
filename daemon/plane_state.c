/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_state.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/base/log.h"
#include "daemon/plane_notice.h"

void plane_state_running(struct plane *plane)
{
    plane->state = PLANE_RUNNING;
    plane->reason[0] = '\0';
    device_resume(plane->dev, PAUSE_ADMIN);
    plane_notice_begin(plane);
    log_info("%s: running, %" PRIu64 " bytes, front-ends connect to %s", plane->opts.name,
             device_capacity(plane->dev), plane->opts.socket_path);
}

void plane_state_stopped(struct plane *plane)
{
    plane->state = PLANE_STOPPED;
    plane->reason[0] = '\0';
    log_info("%s: stopped, the image is closed", plane->opts.name);
}

void plane_state_failed(struct plane *plane, const struct err *err)
{
    plane->state = PLANE_FAILED;
    (void)snprintf(plane->reason, sizeof(plane->reason), "%s", err->text);
    log_error("%s: %s", plane->opts.name, err->text);
}

static void run_gone(struct message *message)
{
    struct plane *plane = containerof(message, struct plane, gone_message);

    plane->gone(plane);
}

void plane_state_gone(struct plane *plane)
{
    plane->state = PLANE_GONE;
    plane->gone_message.run = run_gone;
    mailbox_send(plane->worker.control, &plane->gone_message);
}
