/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include "tests/unit/control_world.h"

#include <poll.h>
#include <stdio.h>

#include "core/base/log.h"

void control_world_start(struct control_world *w, const char *name)
{
    log_set_level(LOG_LEVEL_ERROR);
    (void)snprintf(w->dir, sizeof(w->dir), "/tmp/vblk-%s-XXXXXX", name);
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(mailbox_init(&w->mailbox, &w->loop), 0);
}

void control_world_wait(struct control_world *w, const bool *is_true)
{
    /* Not UV_RUN_ONCE: it may wait for more when a timer has made it true. */
    while (!*is_true) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        (void)poll(NULL, 0, *is_true ? 0 : 1);
    }
}

void control_world_stop(struct control_world *w)
{
    char command[96];

    mailbox_close(&w->mailbox);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    (void)snprintf(command, sizeof(command), "rm -r %s", w->dir);
    assert_int_equal(system(command), 0);
}
