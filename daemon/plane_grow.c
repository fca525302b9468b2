/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_grow.h"

#include <errno.h>
#include <inttypes.h>

#include "core/base/log.h"
#include "daemon/protocol.h"

static int refuse_state(const struct plane *plane, struct err *err)
{
    const char *name = plane->opts.name;

    switch (plane->state) {
    case PLANE_STOPPED:
        (void)err_say(err, -EBUSY, "%s: it is stopped, and its image is closed", name);
        err_hint(err, PROTOCOL_FIRST "start %s'", name);
        return -EBUSY;
    case PLANE_FAILED:
        return err_say(err, -EBUSY, "%s: its image is not open: %s", name, plane->reason);
    case PLANE_WAITING:
        return err_say(err, -EBUSY,
                       "%s: its guest runs elsewhere: resize the disk there, or once it is here",
                       name);
    case PLANE_STOPPING:
        return err_say(err, -EBUSY, "%s: %s", name,
                       plane->is_handover
                           ? "its guest has been migrated, and the image is being handed over"
                           : "it is being stopped");
    default:
        return err_say(err, -EBUSY, "%s: the disk is being removed", name);
    }
}

int plane_grow_check(const struct plane *plane, struct err *err)
{
    if (plane->state != PLANE_RUNNING) {
        return refuse_state(plane, err);
    }
    if (plane->medium.phase != MEDIUM_NONE) {
        return err_say(err, -EBUSY, "%s: it is being given another image", plane->opts.name);
    }
    if (plane->vu && vhost_user_is_migrating(plane->vu)) {
        return err_say(err, -EBUSY,
                       "%s: its guest is being migrated, and takes the size along: resize the disk "
                       "when that is over",
                       plane->opts.name);
    }
    return 0;
}

void plane_grow_tell(struct plane *plane, uint64_t before)
{
    log_info("%s: has %" PRIu64 " bytes instead of %" PRIu64, plane->opts.name,
             device_capacity(plane->dev), before);
    plane->resize.told = plane->vu ? vhost_user_config_changed(plane->vu) : VHOST_USER_NOBODY;
}

int plane_grow(struct plane *plane, const struct node *node, uint64_t bytes, struct err *err)
{
    uint64_t before = device_capacity(plane->dev);
    int ret = device_grow(plane->dev, node, bytes, err);

    if (ret == 0) {
        plane_grow_tell(plane, before);
    }
    return ret;
}
