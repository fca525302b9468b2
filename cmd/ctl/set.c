/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/set.h"

#include <stdio.h>

#include "cmd/ctl/args.h"
#include "cmd/ctl/rpc.h"

/* In the form in which they are set. */
static void print_settings(const json_t *disk, const struct arg *settings)
{
    for (const struct arg *arg = settings; arg->kind != ARG_END; arg++) {
        const json_t *value = json_object_get(disk, arg->param);

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
        args_reword(args, &err);
        (void)fprintf(stderr, "vblkctl: %s\n", err.text);
    } else if (args->is_json) {
        (void)json_dumpf(result, stdout, JSON_COMPACT);
        printf("\n");
    } else {
        print_settings(result, command->settings);
    }
    return status;
}
