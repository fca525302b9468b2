/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_socket.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/names.h"
#include "daemon/plane.h"

#define MODE_DEFAULT 0600u

/* Returns false when it is no mode. */
static bool parse_mode(const char *text, mode_t *mode)
{
    size_t len = strlen(text);

    *mode = text[0] ? (mode_t)strtoul(text, NULL, 8) : MODE_DEFAULT;
    return len <= 4 && strspn(text, "01234567") == len && *mode <= 0777;
}

int disk_socket_check(const struct disk_config *config, struct err *err)
{
    mode_t mode;

    if (parse_mode(config->socket_mode, &mode)) {
        return 0;
    }
    return err_say(err, -EINVAL, "socket_mode: \"%s\" is no octal mode up to 0777, as 0660",
                   config->socket_mode);
}

static bool has_chown(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

    return syscall(SYS_capget, &header, data) == 0 &&
           (data[CAP_TO_INDEX(CAP_CHOWN)].effective & CAP_TO_MASK(CAP_CHOWN));
}

static bool is_in_group(gid_t gid)
{
    gid_t list[256];
    int count = getgroups((int)ARRAY_SIZE(list), list);

    for (int i = 0; i < count; i++) {
        if (list[i] == gid) {
            return true;
        }
    }
    return gid == getegid();
}

/* Who owns a file may give it to groups of his. */
static int check_owner(const struct disk_config *config, struct err *err)
{
    bool is_ours = config->socket_owner < 0 || (uid_t)config->socket_owner == geteuid();

    if ((is_ours && (config->socket_group < 0 || is_in_group((gid_t)config->socket_group))) ||
        has_chown() || names_are_asked()) {
        return 0;
    }
    (void)err_say(err, -EPERM, "%s: vblkd runs as user %u and may not give its socket to %s %u",
                  config->name, geteuid(), is_ours ? "group" : "user",
                  (unsigned)(is_ours ? config->socket_group : config->socket_owner));
    err_hint(err, is_ours ? "name a group of that user, or run vblkd as root, or with CAP_CHOWN"
                          : "run vblkd as root, or with CAP_CHOWN, or use --socket-group with a "
                            "group of both");
    return -EPERM;
}

static int check_label(const struct disk_config *config, struct err *err)
{
    if (config->socket_label[0] == '\0' || socket_rights_xattr()) {
        return 0;
    }
    (void)err_say(err, -ENOTSUP,
                  "%s: socket_label: this kernel runs without SELinux and Smack, and nobody would "
                  "look at it",
                  config->name);
    err_hint(err, "leave it out");
    return -ENOTSUP;
}

int disk_socket_check_here(const struct disk_config *config, struct err *err)
{
    int ret = check_owner(config, err);

    return ret < 0 ? ret : check_label(config, err);
}

void disk_socket_to_plane(const struct disk_config *config, struct plane_opts *opts)
{
    (void)parse_mode(config->socket_mode, &opts->socket_rights.mode); /* it was checked */
    opts->socket_rights.uid = (uid_t)config->socket_owner;
    opts->socket_rights.gid = (gid_t)config->socket_group;
    (void)snprintf(opts->socket_path, sizeof(opts->socket_path), "%s", config->socket);
    (void)snprintf(opts->socket_label, sizeof(opts->socket_label), "%s", config->socket_label);
}
