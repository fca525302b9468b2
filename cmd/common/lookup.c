/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/common/lookup.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/common/command.h"
#include "cmd/common/rpc.h"
#include "core/base/text.h"
#include "daemon/disk_params.h"
#include "daemon/json_memory.h"
#include "daemon/paths.h"

#define ANSWER_MS 10000u

/* How long the daemon may take to see that a front-end has ended. */
#define LEAVE_TRIES 100
#define LEAVE_STEP_NS (10 * NS_PER_MS)

static int take_socket(struct lookup *found, const char *name, const char *path, struct err *err)
{
    if (!path || strlen(path) >= sizeof(found->socket)) {
        return err_say(err, -ENAMETOOLONG, "%s: its socket's path is too long", name);
    }
    memcpy(found->socket, path, strlen(path) + 1);
    return 0;
}

/*
 * One front-end for each disk: say who it is that has it.  -EAGAIN when that process has ended,
 * and the daemon is about to see it.
 */
static int check_free(const char *name, const json_t *disk, struct err *err)
{
    const json_t *client = json_object_get(disk, "client");
    const char *comm = json_string_value(json_object_get(client, "comm"));
    json_int_t pid = json_integer_value(json_object_get(client, "pid"));

    if (!json_is_object(client)) {
        return 0;
    }
    (void)err_say(err, -EBUSY, "disk %s is taken by process %lld (%s)", name, (long long)pid,
                  comm ? comm : "unknown");
    err_hint(err, "end that first, or take another disk");
    return pid > 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH ? -EAGAIN : -EBUSY;
}

static int read_disk(struct lookup *found, const char *name, const json_t *disk, struct err *err)
{
    const json_t *image = json_object_get(disk, "image");
    const char *name_of_type = json_string_value(json_object_get(image, "type"));
    const struct image_type *type = name_of_type ? image_type_find(name_of_type) : NULL;
    int ret = check_free(name, disk, err);

    found->queue_size = (unsigned)json_integer_value(json_object_get(disk, "queue_size"));
    found->keeps_nothing = type && type->keeps_nothing;
    if (ret < 0) {
        return ret;
    }
    return take_socket(found, name, json_string_value(json_object_get(disk, "socket")), err);
}

static int ask_once(struct lookup *found, const char *name, const char *control, struct err *err)
{
    json_auto_t *params = json_pack("{s:s}", "name", name);
    json_auto_t *disk = NULL;
    struct rpc rpc;

    if (!params) {
        return err_say(err, -EINVAL, "\"%s\" is no disk's name", name);
    }
    if (rpc_open(&rpc, control, err) != STATUS_OK) {
        return -ENOTCONN;
    }
    if (rpc_call(&rpc, "disk.show", params, ANSWER_MS, &disk, err) != STATUS_OK) {
        rpc_close(&rpc);
        return -ENOENT;
    }
    rpc_close(&rpc);
    return read_disk(found, name, disk, err);
}

static int ask(struct lookup *found, const char *name, const char *control, struct err *err)
{
    const struct timespec step = {.tv_nsec = LEAVE_STEP_NS};
    int ret = ask_once(found, name, control, err);

    for (unsigned i = 0; ret == -EAGAIN && i < LEAVE_TRIES; i++) {
        (void)nanosleep(&step, NULL); /* less is as good */
        ret = ask_once(found, name, control, err);
    }
    return ret;
}

/* `typed`: the control socket, as it was given, or NULL. */
static void hint_list(const char *typed, struct err *err)
{
    char quoted[TEXT_QUOTED_BYTES];

    if (typed) {
        err_hint(err, "see vblkctl --control %s list", text_quote(typed, quoted));
    } else {
        err_hint(err, "see vblkctl list");
    }
}

int lookup_disk(struct lookup *found, const char *name, const char *control, struct err *err)
{
    const char *typed = control;
    char path[PATH_MAX];
    int ret;

    json_memory_install();
    memset(found, 0, sizeof(*found));
    if (strchr(name, '/')) {
        return take_socket(found, name, name, err);
    }
    if (!control) {
        control = getenv("VBLK_CONTROL");
    }
    if (!control) {
        ret = paths_control(path, err);
        if (ret < 0) {
            err_hint(err, "name it by --control");
            return ret;
        }
        control = path;
    }
    ret = ask(found, name, control, err);
    if (ret == -ENOENT) {
        hint_list(typed, err);
    }
    return ret;
}
