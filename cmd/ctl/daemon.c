/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/daemon.h"

#include <config.h>

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "cmd/common/answer.h"
#include "cmd/common/rpc.h"
#include "cmd/ctl/list.h"
#include "cmd/ctl/print.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "daemon/protocol.h"

/* A little longer than the daemon gives itself. */
#define END_MS (PROTOCOL_SHUTDOWN_MS + 3 * PROTOCOL_GRACE_MS)

void daemon_print_version(const json_t *result, const struct args *args)
{
    printf("vblkctl %s\n", PACKAGE_VERSION);
    printf("vblkd %s (protocol %" PRIu64 ", process %" PRIu64 ")\n",
           print_text_of(result, "version"), print_number_of(result, "protocol"),
           print_number_of(result, "pid"));
}

void daemon_print_ping(const json_t *result, const struct args *args)
{
    char path[PATH_MAX];

    printf("vblkd, process %" PRIu64 ", answers on %s\n", print_number_of(result, "pid"),
           text_safe(args->control, path, sizeof(path)));
    printf("sandbox: %s\n", print_text_of(result, "sandbox"));
    list_warnings(result, "warning");
}

static void print_ended(const json_t *result, const struct args *args)
{
    printf("vblkd, process %" PRIu64 ", has ended\n", print_number_of(result, "pid"));
}

static void print_left(const json_t *params)
{
    size_t i;
    json_t *path;

    json_array_foreach(json_object_get(params, "left"), i, path)
    {
        if (json_is_string(path)) {
            log_plain("vblkctl: the image %s may be in use until its file system answers",
                      json_string_value(path));
        }
    }
}

/* The end of the connection alone says that it has crashed, was killed, or gave up. */
static int wait_ended(struct rpc *rpc, const json_t *result, struct err *err)
{
    uint64_t pid = print_number_of(result, "pid");
    json_auto_t *params = NULL;
    const char *lost;

    if (!rpc_wait_ended(rpc, END_MS, &params)) {
        (void)err_say(err, -1, "vblkd, process %" PRIu64 ", does not end; its log names the disk",
                      pid);
        return STATUS_REFUSED;
    }
    if (!params) {
        (void)err_say(err, -1,
                      "vblkd, process %" PRIu64 ", has ended, but not in order; its log "
                      "says why",
                      pid);
        return STATUS_REFUSED;
    }
    print_left(params);
    lost = json_string_value(json_object_get(params, "reason"));
    if (lost) {
        (void)err_say(err, -1, "vblkd, process %" PRIu64 ", has ended, but %s", pid, lost);
        return STATUS_REFUSED;
    }
    return STATUS_OK;
}

int daemon_shutdown(struct rpc *rpc, const struct args *args)
{
    json_auto_t *result = NULL;
    struct err err = {0};
    int status =
        rpc_call(rpc, args->command->method, args->params, args->command->wait_ms, &result, &err);

    if (status == STATUS_OK) {
        status = wait_ended(rpc, result, &err);
    }
    if (status != STATUS_OK) {
        log_plain("vblkctl: %s", err.text);
    } else {
        answer_print(result, args, print_ended);
    }
    return status;
}
