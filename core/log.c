/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES 1024

static const char *const level_names[] = {"error", "warn", "info", "debug"};

/* The priorities of sd-daemon(3): err, warning, info, debug. */
static const char level_priority[] = {'3', '4', '6', '7'};

static const char *program = "vblkd";
static enum log_level max_level = LOG_LEVEL_INFO;
static bool is_journal;

/* Source: systemd.exec(5), "$JOURNAL_STREAM": device and inode of the stream. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char own[64];
    struct stat st;

    if (!stream || fstat(STDERR_FILENO, &st) < 0) {
        return false;
    }
    (void)snprintf(own, sizeof(own), "%llu:%llu", (unsigned long long)st.st_dev,
                   (unsigned long long)st.st_ino);
    return strcmp(stream, own) == 0;
}

void log_set_level(enum log_level level)
{
    max_level = level;
    is_journal = stderr_is_journal();
}

void log_set_name(const char *name)
{
    program = name;
}

bool log_parse_level(const char *text, enum log_level *level)
{
    for (unsigned i = 0; i < ARRAY_SIZE(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* A newline in a peer's name or a path must not forge a line of its own. */
static void hide_controls(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) {
            text[i] = '?';
        }
    }
}

PRINTF_LIKE(2, 0) static void log_va(enum log_level level, const char *fmt, va_list args)
{
    char line[LINE_BYTES];
    int used = is_journal ? snprintf(line, sizeof(line), "<%c>", level_priority[level])
                          : snprintf(line, sizeof(line), "%s: %s: ", program, level_names[level]);
    int more = vsnprintf(line + used, sizeof(line) - used, fmt, args);

    used += more;
    if (used > LINE_BYTES - 2) {
        used = LINE_BYTES - 2;
    }
    hide_controls(line, (size_t)used);
    line[used++] = '\n';
    if (write(STDERR_FILENO, line, (size_t)used) < 0) {
        /* Nobody listens: there is nowhere left to say it. */
    }
}

void log_line(enum log_level level, const char *fmt, ...)
{
    va_list args;

    if (level > max_level) {
        return;
    }
    va_start(args, fmt);
    log_va(level, fmt, args);
    va_end(args);
}

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
{
    uint64_t now = now_ns();
    va_list args;

    if (limit->lines == 0 || now - limit->window_start_ns > LOG_LIMIT_WINDOW_MS * NS_PER_MS) {
        if (limit->suppressed) {
            log_line(level, "%u similar lines were left out", limit->suppressed);
        }
        *limit = (struct log_limit){.window_start_ns = now};
    }
    if (limit->lines++ >= LOG_LIMIT_LINES) {
        limit->suppressed++;
        return;
    }
    if (level <= max_level) {
        va_start(args, fmt);
        log_va(level, fmt, args);
        va_end(args);
    }
}
