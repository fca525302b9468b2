/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What can be asked for by name.  One row of a table says how it is called, what it may be, what
 * it is when nobody says, and where it lies in a plain struct.  Whoever reads it, prints it or
 * explains it goes through the table: the daemon as JSON (daemon/params.h), vblkctl as options.
 * Constant data.
 */

#include <stddef.h>
#include <stdint.h>

#include "core/base/base.h"

enum param_type {
    PARAM_STRING,  /* char[size] in the target */
    PARAM_PATH,    /* the same, of a file */
    PARAM_KIND,    /* the same, one of `kinds`: whose rows follow it in the same object */
    PARAM_BOOL,    /* bool */
    PARAM_INTEGER, /* int64_t */
    PARAM_BYTES,   /* int64_t, a size */
    PARAM_USER,    /* int64_t, a user's number; people may say the name */
    PARAM_USERS,   /* the same of a group of users */
    PARAM_OBJECT,  /* an object of its own: `members` in the struct at `offset` */
    PARAM_GROUP,   /* `members` in the struct at `offset`, as if they stood in its place */
};

struct param {
    const char *name; /* NULL ends a table */
    enum param_type type;
    bool is_required;   /* in a kind: where that is the target's */
    bool is_place;      /* bytes: 0 may be given on a command line, as a place or as none */
    bool is_power_of_2; /* or `value`, where that is 0 */
    bool is_change;     /* PARAM_GROUP: what is not given reads as absent, not as its default */
    bool is_told;       /* in a kind: answers about the disk have it */
    bool is_shown;      /* of a disk: a part of what its guest is shown */
    bool is_quiet;      /* the log does not say it while it is as when nobody says */
    size_t offset;      /* of the field in the target */
    size_t size;        /* of a string's field, final NUL included */
    int64_t value;      /* number: when it is not given */
    int64_t min;
    int64_t max;
    const char *text;                      /* string: when it is not given, NULL: "" */
    const char *const *choices;            /* string: NULL: any text; ends with NULL */
    const struct param_kind *const *kinds; /* ends with NULL */
    const struct param *members;
    const char *help;      /* for people; the range and the default are not said there */
    const char *otherwise; /* for people: what it is when it is not given, where no value says it */
    const char *word;      /* what stands for its value in usages, NULL: as its type has it */
    const char *phrase;    /* what `show` says before its value, in the line of the image */
    const char *unit;      /* of a number, as "ms"; NULL: it has none, or its name says it */
};

/*
 * What an object is by one of its members, and what it has besides.  A row may belong to several
 * kinds; then all have it in the same place, with the same type and default.
 */
struct param_kind {
    const char *name;
    const struct param *params;
};

/* How a number of a change reads when it is not given; a string reads as "". */
#define PARAM_ABSENT INT64_MIN

static inline bool param_is_text(const struct param *param)
{
    return param->type == PARAM_STRING || param->type == PARAM_PATH || param->type == PARAM_KIND;
}

static inline bool param_is_number(const struct param *param)
{
    return param->type == PARAM_INTEGER || param->type == PARAM_BYTES ||
           param->type == PARAM_USER || param->type == PARAM_USERS;
}

/* Is the field as when nobody says?  Of a row with a text or a number. */
bool param_has_default(const struct param *param, const void *field);

/* Groups and kinds within one object. */
#define PARAM_DEPTH 3

/*
 * A way through the rows of one object: those of groups in their place, those of kinds after the
 * row that chooses among them, each name once.
 */
struct param_walk {
    const struct param *param; /* where it is */
    size_t offset;             /* of its field, from the beginning of the target */
    bool is_change;            /* it reads as absent when it is not given */
    const struct param
        *chooser;          /* PARAM_KIND: it belongs to some kinds only; NULL: to the object */
    size_t chooser_offset; /* of the chooser's field */

    struct param_level {
        const struct param *next;
        size_t offset;
        bool is_change;
        const struct param_kind *const *kind; /* NULL: they are no kinds */
    } level[PARAM_DEPTH];
    unsigned depth;
};

struct param_walk param_walk(const struct param *table);

/* Go on to the next row, or to the first.  Returns false at the end. */
bool param_walk_next(struct param_walk *walk);

/* The row that `kind` has by this name, NULL: it has none.  `kind` NULL: no such kind. */
const struct param *param_of_kind(const struct param_kind *kind, const char *name);

/* NULL when there is none. */
const struct param_kind *param_find_kind(const struct param_kind *const *kinds, const char *name);

/* The row of the kind that `target` is; NULL: the one where the walk is belongs to others only. */
const struct param *param_own_row(const struct param_walk *walk, const void *target);

#define PARAM_OPTION_BYTES 40

/* What people call it: "poll_us" is the option "poll-us", and in a list "poll us". */
void param_spell(const char *name, char separator, char spelled[PARAM_OPTION_BYTES]);

static inline void param_option(const char *name, char option[PARAM_OPTION_BYTES])
{
    param_spell(name, '-', option);
}
