/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/told_json.h"

#include <string.h>

static const char *const guest_names[] = {
    [VHOST_USER_TOLD] = "told",
    [VHOST_USER_WILL_TELL] = "when_started",
    [VHOST_USER_CANNOT_TELL] = "not_told",
    [VHOST_USER_NOBODY] = "none",
};

/* What a front-end that gave no channel can be made to do.  `comm` may be cut to 15 bytes. */
static const char *advice_for(const char *comm)
{
    static const struct {
        const char *comm;
        const char *advice;
    } table[] = {
        {"firecracker",
         "PATCH /drives/ID of Firecracker's API, with the drive_id alone, has it read the size"},
        {"cloud-hyperviso",
         "this cloud-hypervisor sees it when the guest is rebooted; versions from August 2026 on "
         "are told"},
        {"qemu", "this QEMU sees it when it is started anew"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        if (strncmp(comm, table[i].comm, strlen(table[i].comm)) == 0) {
            return table[i].advice;
        }
    }
    return "it sees it when it reads the config space anew: when it is started again";
}

void told_json_set(json_t *object, bool has_changed, enum vhost_user_told told, const char *comm)
{
    bool is_silent = has_changed && told == VHOST_USER_CANNOT_TELL;

    (void)json_object_set_new(object, "guest",
                              has_changed ? json_string(guest_names[told]) : json_null());
    (void)json_object_set_new(object, "advice",
                              is_silent ? json_string(advice_for(comm)) : json_null());
}
