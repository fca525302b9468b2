/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Log lines on standard error, one write(2) each, so that lines of several threads do
 * not mix.  When standard error is the journal, each line starts with its "<priority>".
 * Form: object first, no final period: "vda: ring 0: head 700 past size 256, ring stopped".
 * Thread: any.
 */

#include "core/base.h"

enum log_level {
    LOG_LEVEL_ERROR, /* someone must act */
    LOG_LEVEL_WARN,  /* a peer misbehaves */
    LOG_LEVEL_INFO,  /* life-cycle of a disk, few lines */
    LOG_LEVEL_DEBUG, /* all else */
};

/* Set once at start, before any other thread. */
void log_set_level(enum log_level level);

/* The program's name at the start of each line, "vblkd" unless told.  Lent for good.  As above. */
void log_set_name(const char *name);

/* "error", "warn", "info", "debug".  Returns false for any other text. */
bool log_parse_level(const char *text, enum log_level *level);

void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * A rate limit for lines that a peer can cause at will: at most LOG_LIMIT_LINES in
 * LOG_LIMIT_WINDOW_MS; the first line of the next window says how many were left out.
 * Zeroed memory is a fresh limit.  Owned by the object it limits, used by one thread.
 */
#define LOG_LIMIT_LINES 5
#define LOG_LIMIT_WINDOW_MS 10000

struct log_limit {
    uint64_t window_start_ns;
    unsigned lines;
    unsigned suppressed;
};

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
