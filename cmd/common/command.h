/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What vblkctl can be told: commands, their operands, settings and options.  One table (table.c)
 * says it for the parser, for --help and for the completion alike; what becomes a parameter of a
 * disk is in the daemon's tables.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/base.h"
#include "core/base/err.h"

enum exit_status {
    STATUS_OK = 0,
    STATUS_REFUSED = 1,
    STATUS_USAGE = 2,
    STATUS_NO_DAEMON = 3,
};

enum arg_kind {
    ARG_END,
    ARG_FLAG,
    ARG_TEXT,
    ARG_PATH,    /* made absolute */
    ARG_SIZE,    /* as size_parse reads it */
    ARG_PLACE,   /* the same, or 0 */
    ARG_NUMBER,  /* a whole number */
    ARG_USER,    /* a name or a number; a number in the parameter */
    ARG_USERS,   /* the same of a group */
    ARG_SECONDS, /* fractions allowed; milliseconds in the parameter */
    ARG_IMAGE,   /* a path, or null:SIZE[,delay-ms=N] */
    ARG_SETTING, /* KEY=VALUE, one of the command's settings */
};

/* An option ("size", "SIZE"), a setting ("engine", "ENGINE"), or an operand (NULL, "NAME"). */
struct arg {
    enum arg_kind kind;
    const char *option;
    const char *word;  /* what stands for the value in --help */
    const char *param; /* where it goes: "image.size"; NULL: it is vblkctl's own */
    const char *help;
    bool is_optional;
    bool is_repeated; /* the last operand: once or more */
};

#define COMMAND_OPERANDS 2
#define COMMAND_OPTIONS 3

struct args;
struct rpc;
struct param;

struct command {
    const char *name; /* NULL ends the table */
    const char *method;
    const char *help;
    struct arg operands[COMMAND_OPERANDS + 1];
    const struct param *settings; /* KEY=VALUE, NULL: none */
    const struct param *fixed;    /* whose other rows cannot be set, NULL: none */
    const struct param *params;   /* whose rows are options as well, NULL: none */
    struct arg options[COMMAND_OPTIONS + 1];
    unsigned wait_ms; /* for the answer, beyond a timeout_ms that is asked for */
    /* What a table cannot say; fills in `err` and returns -EINVAL.  NULL: nothing. */
    int (*check)(const struct args *args, struct err *err);
    /* Prints the answer; NULL with `run`. */
    void (*print)(const json_t *result, const struct args *args);
    /* More than one call; NULL: one, and print.  Returns the exit status. */
    int (*run)(struct rpc *rpc, const struct args *args);
};

/* What was typed. */
struct args {
    const struct command *command;
    const char *control; /* path of the socket */
    const char *typed;   /* the same where it was given by --control, else NULL */
    bool is_json;
    json_t *params; /* for the method */
    json_t *own;    /* options without a parameter, by name */
};

extern const struct command commands[];
extern const struct arg global_options[];
