/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/allocate.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "daemon/disk_params.h"
#include "daemon/protocol.h"

static volatile sig_atomic_t is_interrupted;

static void on_interrupt(int number)
{
    (void)number;
    is_interrupted = true;
}

bool allocate_is_asked(const struct args *args)
{
    const json_t *image = json_object_get(args->params, "image");
    const char *how = json_string_value(json_object_get(image, "preallocation"));

    return how && strcmp(how, preallocation_names[PREALLOCATION_OFF]) != 0;
}

void allocate_begin(struct rpc *rpc)
{
    const struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};

    rpc->is_interrupted = &is_interrupted;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

/* By another connection: this one owes an answer. */
static int remove_disk(const struct args *args, struct err *err)
{
    const char *name = json_string_value(json_object_get(args->params, "name"));
    json_auto_t *params = json_pack("{s:s}", "name", name);
    json_auto_t *result = NULL;
    struct rpc rpc;
    int status = rpc_open(&rpc, args->control, err);

    if (status == STATUS_OK) {
        status = rpc_call(&rpc, "disk.remove", params, PROTOCOL_DRAIN_MS + PROTOCOL_GRACE_MS,
                          &result, err);
        rpc_close(&rpc);
    }
    return status;
}

bool allocate_has_ended(const struct args *args, struct err *err)
{
    struct err why = {0};

    if (!is_interrupted) {
        return false;
    }
    if (remove_disk(args, &why) == STATUS_OK) {
        (void)err_say(err, -EINTR, "interrupted: the disk is not added, and its file is deleted");
    } else {
        (void)err_say(err, -EINTR, "interrupted, but the disk could not be taken back: %s",
                      why.text);
    }
    return true;
}
