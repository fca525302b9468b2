/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * vblkctl: the command line -> a request -> the answer printed -> the exit status.
 */

#include <limits.h>
#include <stdio.h>

#include "cmd/common/answer.h"
#include "cmd/ctl/allocate.h"
#include "cmd/ctl/args.h"
#include "cmd/ctl/hint.h"
#include "cmd/ctl/options.h"
#include "cmd/common/rpc.h"
#include "core/base/log.h"
#include "core/base/std_fds.h"
#include "daemon/json_memory.h"
#include "daemon/paths.h"
#include "daemon/protocol.h"

/* What is asked for, and what the daemon and the way take. */
static unsigned wait_ms_of(const struct args *args)
{
    const json_t *asked = json_object_get(args->params, "timeout_ms");
    bool can_wait = false;

    for (const struct arg *arg = options_of(args->command); arg->kind != ARG_END; arg++) {
        can_wait = can_wait || (arg->param && arg->kind == ARG_SECONDS);
    }
    if (allocate_is_asked(args)) {
        return PROTOCOL_ALLOCATE_MS + PROTOCOL_GRACE_MS;
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
    int status;

    if (allocate_is_asked(args)) {
        allocate_begin(rpc);
    }
    status = rpc_call(rpc, args->command->method, args->params, wait_ms_of(args), &result, &err);
    if (status != STATUS_OK) {
        (void)allocate_has_ended(args, &err);
        return args_refused(args, status, &err);
    }
    if (!args->is_json) {
        hint_complete_answer(result, args->typed);
    }
    answer_print(result, args, args->command->print);
    return STATUS_OK;
}

static int run(const struct args *args)
{
    struct rpc rpc;
    struct err err = {0};
    int status = rpc_open(&rpc, args->control, &err);

    if (status != STATUS_OK) {
        return args_refused(args, status, &err);
    }
    status = args->command->run ? args->command->run(&rpc, args) : run_call(&rpc, args);
    rpc_close(&rpc);
    return status;
}

/* What was printed must have arrived, or a full disk looks like success. */
static int check_output(int status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        log_plain("vblkctl: cannot write the output");
        return status == STATUS_OK ? STATUS_REFUSED : status;
    }
    return status;
}

int main(int argc, char **argv)
{
    char control[PATH_MAX];
    struct args args;
    struct err err = {0};
    int status;

    if (std_fds_fill(&err) < 0) {
        log_plain("vblkctl: %s", err.text);
        return STATUS_REFUSED;
    }
    json_memory_install();
    status = args_parse(&args, argc, argv);
    if (status < 0 && (!args.control || !args.control[0])) {
        if (paths_control(control, &err) < 0) {
            log_plain("vblkctl: %s; name it by --control", err.text);
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
