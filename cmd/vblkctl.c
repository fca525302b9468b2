/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * vblkctl: the command line -> a request -> the answer printed -> the exit status.
 */

#include <limits.h>
#include <stdio.h>

#include "cmd/ctl/args.h"
#include "cmd/ctl/rpc.h"
#include "daemon/paths.h"
#include "daemon/protocol.h"

/* What is asked for, and what the daemon and the way take. */
static unsigned wait_ms_of(const struct args *args)
{
    const json_t *asked = json_object_get(args->params, "timeout_ms");
    bool can_wait = false;

    for (const struct arg *arg = args->command->options; arg->kind != ARG_END; arg++) {
        can_wait = can_wait || (arg->param && arg->kind == ARG_SECONDS);
    }
    if (asked) {
        return args->command->wait_ms + (unsigned)json_integer_value(asked);
    }
    return args->command->wait_ms + (can_wait ? PROTOCOL_DRAIN_MS : 0);
}

static int run_call(struct rpc *rpc, const struct args *args)
{
    json_auto_t *result = NULL;
    struct err err = {0};
    int status =
        rpc_call(rpc, args->command->method, args->params, wait_ms_of(args), &result, &err);

    if (status != STATUS_OK) {
        args_reword(args, &err);
        (void)fprintf(stderr, "vblkctl: %s\n", err.text);
    } else if (args->is_json) {
        (void)json_dumpf(result, stdout, JSON_COMPACT);
        printf("\n");
    } else {
        args->command->print(result, args);
    }
    return status;
}

static int run(const struct args *args)
{
    struct rpc rpc;
    struct err err = {0};
    int status = rpc_open(&rpc, args->control, &err);

    if (status != STATUS_OK) {
        (void)fprintf(stderr, "vblkctl: %s\n", err.text);
        return status;
    }
    status = args->command->run ? args->command->run(&rpc, args) : run_call(&rpc, args);
    rpc_close(&rpc);
    return status;
}

/* What was printed must have arrived, or a full disk looks like success. */
static int check_output(int status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        (void)fprintf(stderr, "vblkctl: cannot write the output\n");
        return status == STATUS_OK ? STATUS_REFUSED : status;
    }
    return status;
}

int main(int argc, char **argv)
{
    char control[PATH_MAX];
    struct args args;
    struct err err = {0};
    int status = args_parse(&args, argc, argv);

    if (status < 0 && (!args.control || !args.control[0])) {
        if (paths_control(control, &err) < 0) {
            (void)fprintf(stderr, "vblkctl: %s; name it by --control\n", err.text);
            status = STATUS_USAGE;
        }
        args.control = control;
    }
    if (status < 0) {
        status = run(&args);
    }
    args_free(&args);
    return check_output(status);
}
