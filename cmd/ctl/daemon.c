/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/daemon.h"

#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "cmd/ctl/print.h"
#include "cmd/ctl/rpc.h"
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
    printf("vblkd, process %" PRIu64 ", answers on %s\n", print_number_of(result, "pid"),
           args->control);
}

int daemon_shutdown(struct rpc *rpc, const struct args *args)
{
    json_auto_t *result = NULL;
    struct err err = {0};
    int status =
        rpc_call(rpc, args->command->method, args->params, args->command->wait_ms, &result, &err);

    if (status == STATUS_OK && !rpc_wait_closed(rpc, END_MS)) {
        (void)err_say(&err, -1, "vblkd, process %" PRIu64 ", does not end; its log names the disk",
                      print_number_of(result, "pid"));
        status = STATUS_REFUSED;
    }
    if (status != STATUS_OK) {
        (void)fprintf(stderr, "vblkctl: %s\n", err.text);
    } else if (args->is_json) {
        (void)json_dumpf(result, stdout, JSON_COMPACT);
        printf("\n");
    } else {
        printf("vblkd, process %" PRIu64 ", has ended\n", print_number_of(result, "pid"));
    }
    return status;
}
