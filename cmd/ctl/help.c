/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/help.h"

#include <stdio.h>

#include "cmd/ctl/image.h"
#include "cmd/ctl/options.h"
#include "core/base/log.h"

static void print_options(const struct arg *args)
{
    for (const struct arg *arg = args; arg->kind != ARG_END; arg++) {
        char left[64];

        (void)snprintf(left, sizeof(left), "--%s%s%s", arg->option, arg->word ? " " : "",
                       arg->word ? arg->word : "");
        printf("  %-26s  %s\n", left, arg->help);
    }
}

static void print_operands(const struct command *command)
{
    if (command->operands[0].kind != ARG_END) {
        printf("\nOperands:\n");
    }
    for (const struct arg *arg = command->operands; arg->kind != ARG_END; arg++) {
        char usage[IMAGE_USAGE_BYTES] = "";

        if (arg->kind == ARG_IMAGE) {
            image_usage(usage);
        }
        printf("  %-26s  %s%s\n", arg->word, arg->help, usage);
    }
}

static void print_settings(const struct command *command)
{
    const struct arg *settings = settings_of(command);

    if (settings[0].kind != ARG_END) {
        printf("\nSettings:\n");
    }
    for (const struct arg *arg = settings; arg->kind != ARG_END; arg++) {
        char left[64];

        (void)snprintf(left, sizeof(left), "%s=%s", arg->option, arg->word);
        printf("  %-26s  %s\n", left, arg->help);
    }
}

static void print_command(const struct command *command)
{
    printf("Usage: vblkctl %s", command->name);
    for (const struct arg *arg = command->operands; arg->kind != ARG_END; arg++) {
        printf(arg->is_optional ? " [%s]%s" : " %s%s", arg->word, arg->is_repeated ? "..." : "");
    }
    printf(" [OPTION]...\n\n%s: %s\n", command->name, command->help);
    print_operands(command);
    print_settings(command);
    printf("\nOptions:\n");
    print_options(options_of(command));
    print_options(global_options);
}

static void print_all(void)
{
    printf("Usage: vblkctl [--control PATH] [--json] COMMAND ...\n\n"
           "Steer vblkd, which serves virtio-blk disks to virtual machines.\n\nCommands:\n");
    for (const struct command *command = commands; command->name; command++) {
        printf("  %-10s  %s\n", command->name, command->help);
    }
    printf("\nOptions:\n");
    print_options(global_options);
    printf("\nvblkctl COMMAND --help explains a command.  The exit status is 0 when it was done,\n"
           "1 when vblkd refused, 2 when the command line is wrong, 3 when there is no vblkd.\n");
}

void help_print(const struct command *command)
{
    if (command) {
        print_command(command);
    } else {
        print_all();
    }
}

void help_hint(const struct command *command)
{
    log_plain("Try 'vblkctl %s%s--help'.", command ? command->name : "", command ? " " : "");
}
