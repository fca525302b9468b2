/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/keeper.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"

static void start_save(struct keeper *keeper);

/* ---- the result of a try ---- */

/* Said once, not with each try. */
static void note_result(struct keeper *keeper, const struct err *err)
{
    if (err->code == 0) {
        if (keeper->err.code < 0) {
            log_info("daemon: %s is written again", state_path(keeper->opts.state));
        }
        keeper->saved = keeper->saving;
        keeper->retry_ms = KEEPER_RETRY_MS;
    } else if (keeper->err.code != err->code) {
        log_error("daemon: %s; until that is mended, what changes does not outlast the daemon",
                  err->text);
    }
    keeper->err = *err;
}

/* Take those off the list who wait for no more than this try had. */
static struct keep *take_waiting(struct keeper *keeper, uint64_t change)
{
    struct keep **link = &keeper->waiting;
    struct keep *taken = NULL;
    struct keep **last = &taken;

    while (*link) {
        struct keep *keep = *link;

        if (keep->change > change) {
            link = &keep->next;
            continue;
        }
        *link = keep->next;
        keep->next = NULL;
        *last = keep;
        last = &keep->next;
    }
    return taken;
}

static void tell_kept(struct keep *list, const struct err *err)
{
    while (list) {
        struct keep *keep = list;

        list = keep->next;
        keep->done(keep, err);
    }
}

static void on_retry(uv_timer_t *timer)
{
    struct keeper *keeper = containerof(timer, struct keeper, retry);

    keeper->retry_ms = min_of(keeper->retry_ms * 2, (unsigned)KEEPER_RETRY_MS_MAX);
    start_save(keeper);
}

/* After a failure only those who have come since have a try at once, and the end has one. */
static void go_on(struct keeper *keeper)
{
    bool is_done = keeper->finished && (keeper->is_last || !keeper_is_dirty(keeper));

    if (keeper->is_saving) {
        return;
    }
    if (keeper->waiting || (keeper->finished && !is_done)) {
        start_save(keeper);
    } else if (is_done) {
        void (*finished)(void *arg) = keeper->finished;

        keeper->finished = NULL;
        finished(keeper->opts.arg);
    } else if (keeper_is_dirty(keeper)) {
        uv_update_time(keeper->opts.loop);
        (void)uv_timer_start(&keeper->retry, on_retry, keeper->retry_ms, 0);
    }
}

static void end_save(struct keeper *keeper, const struct err *err)
{
    keeper->is_saving = false;
    note_result(keeper, err);
    tell_kept(take_waiting(keeper, keeper->saving), err);
    go_on(keeper);
}

static void on_saved(struct state_save *save)
{
    struct err err = save->err;

    end_save(containerof(save, struct keeper, save), &err);
}

/* ---- a try ---- */

static void start_save(struct keeper *keeper)
{
    struct err err = {0};
    char *text = keeper->opts.text(keeper->opts.arg, &err);

    assert(!keeper->is_saving);
    (void)uv_timer_stop(&keeper->retry);
    keeper->is_saving = true;
    keeper->saving = keeper->changes;
    keeper->began_ns = now_ns();
    keeper->is_last = keeper->finished != NULL;
    if (!text) {
        end_save(keeper, &err);
        return;
    }
    keeper->save.done = on_saved;
    state_save(keeper->opts.state, text, &keeper->save);
}

void keeper_change(struct keeper *keeper)
{
    keeper->changes++;
}

bool keeper_is_dirty(const struct keeper *keeper)
{
    return keeper->changes != keeper->saved;
}

void keeper_soon(struct keeper *keeper)
{
    go_on(keeper);
}

/* In the order in which they came. */
static void append_keep(struct keeper *keeper, struct keep *keep)
{
    struct keep **link = &keeper->waiting;

    while (*link) {
        link = &(*link)->next;
    }
    keep->next = NULL;
    *link = keep;
}

void keeper_wait(struct keeper *keeper, struct keep *keep)
{
    keep->change = keeper->awaited = keeper->changes;
    append_keep(keeper, keep);
    go_on(keeper);
}

int keeper_why(const struct keeper *keeper, struct err *err)
{
    uint64_t took_ms = (now_ns() - keeper->began_ns) / NS_PER_MS;

    if (keeper->err.code < 0) {
        *err = keeper->err;
    } else if (keeper->is_saving && took_ms > KEEPER_SLOW_MS) {
        (void)err_say(err, -ETIMEDOUT, "%s is being written, for %.0f s so far",
                      state_path(keeper->opts.state), (double)took_ms / 1000);
    } else {
        err->code = 0;
    }
    return err->code;
}

int keeper_lost(const struct keeper *keeper, struct err *err)
{
    *err = keeper->saved < keeper->awaited ? keeper->err : (struct err){0};
    return err->code;
}

void keeper_finish(struct keeper *keeper, void (*finished)(void *arg))
{
    keeper->finished = finished;
    keeper->is_last = false;
    go_on(keeper);
}

int keeper_init(struct keeper *keeper, const struct keeper_opts *opts)
{
    *keeper = (struct keeper){.opts = *opts, .retry_ms = KEEPER_RETRY_MS};
    return uv_timer_init(opts->loop, &keeper->retry);
}

void keeper_fini(struct keeper *keeper)
{
    assert(!keeper->is_saving && !keeper->waiting);
    uv_close((uv_handle_t *)&keeper->retry, NULL);
}
