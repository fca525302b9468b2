/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "daemon/plane_notice.h"
#include "daemon/plane_retry.h"

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

#define AGAIN "; it is tried again by itself"
#define ERR_TEXT_MAX ((int)(sizeof(((struct plane *)0)->reason) - sizeof(AGAIN)))

void plane_state_failed(struct plane *plane, const struct err *err)
{
    char reason[sizeof(plane->reason)];

    (void)snprintf(reason, sizeof(reason), "%.*s%s", ERR_TEXT_MAX, err->text,
                   plane_retry_is_due(plane) ? AGAIN : "");
    if (plane->state != PLANE_FAILED || strcmp(plane->reason, reason) != 0) {
        log_error("%s: %s", plane->opts.name, reason);
    }
    plane->state = PLANE_FAILED;
    memcpy(plane->reason, reason, sizeof(reason));
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
