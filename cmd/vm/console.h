/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Where the guest's serial line ends: standard input and output, a new pseudo terminal, a file
 * or another terminal.  A terminal that we change gets its old state back in console_close,
 * and when the process dies of a signal that can be caught.
 * Owner: the launcher; there is one.
 */

#include "core/base/base.h"
#include "core/base/err.h"

struct console {
    int in_fd; /* -1: no input */
    int out_fd;
    int owned_fd;      /* closed at the end; -1: none */
    bool is_terminal;  /* stdio on a terminal: Ctrl-A is ours */
    bool has_escape;   /* Ctrl-A came last */
    bool drops_output; /* nobody may be reading: never wait */
};

/* "stdio", "pty" (its name goes to standard error), or a path. */
int console_open(struct console *console, const char *where, struct err *err);

/* Only the terminal, if there is one that was changed.  Thread: any. */
void console_restore(void);
void console_close(struct console *console);

void console_write(const struct console *console, uint8_t byte);

/*
 * Read what is there, `room` bytes at most.  Returns how many are for the guest, 0: none just
 * now, -EPIPE: no more will come, -ECANCELED: the user ended the guest (Ctrl-A X).
 */
int console_read(struct console *console, uint8_t *bytes, unsigned room);
