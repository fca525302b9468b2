/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/set.h"

#include <stdio.h>

#include "cmd/common/answer.h"
#include "cmd/ctl/args.h"
#include "cmd/ctl/options.h"
#include "cmd/common/rpc.h"

/* In the form in which they are set. */
static void print_settings(const json_t *disk, const struct args *args)
{
    for (const struct arg *arg = settings_of(args->command); arg->kind != ARG_END; arg++) {
        const json_t *value = options_value(disk, arg);

        if (json_is_string(value)) {
            printf("%s=%s\n", arg->option, json_string_value(value));
        } else {
            printf("%s=%" JSON_INTEGER_FORMAT "\n", arg->option, json_integer_value(value));
        }
    }
}

static bool has_settings(const struct args *args)
{
    return json_object_size(args->params) > 1; /* more than the name */
}

int set_run(struct rpc *rpc, const struct args *args)
{
    const struct command *command = args->command;
    json_auto_t *result = NULL;
    struct err err = {0};
    int status = rpc_call(rpc, has_settings(args) ? command->method : "disk.show", args->params,
                          command->wait_ms, &result, &err);

    if (status != STATUS_OK) {
        return args_refused(args, status, &err);
    }
    answer_print(result, args, print_settings);
    return STATUS_OK;
}
