/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/gather.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/disk_ask.h"
#include "daemon/disk_warnings.h"
#include "daemon/json_memory.h"

/* Somebody who waits for a round. */
struct gather_call {
    struct gather_call *next;
    struct call *call;
    const struct gather_kind *kind;
};

/* A disk that is asked. */
struct gather_slot {
    struct gather *gather;
    size_t index;
};

/* ---- who is served ---- */

static void append_waiter(struct gather_call **list, struct gather_call *waiter)
{
    while (*list) {
        list = &(*list)->next;
    }
    waiter->next = NULL;
    *list = waiter;
}

static bool is_served(const struct gather *gather, const struct client *client)
{
    const struct gather_call *served = gather->served;

    while (served && served->call->client != client) {
        served = served->next;
    }
    return served != NULL;
}

/* In turn, so that no kind waits for all that is asked of the other. */
static const struct gather_kind *next_kind(const struct gather *gather)
{
    const struct gather_call *waiter = gather->waiting;

    while (waiter && waiter->kind == gather->kind) {
        waiter = waiter->next;
    }
    return waiter ? waiter->kind : gather->waiting->kind;
}

/* One of each client: it should read an answer before it is sent the next.  All of those gone. */
static void choose(struct gather *gather)
{
    struct gather_call **link = &gather->waiting;

    gather->kind = next_kind(gather);
    while (*link) {
        struct gather_call *waiter = *link;
        struct client *client = waiter->call->client;

        if (waiter->kind != gather->kind || (client && is_served(gather, client))) {
            link = &waiter->next;
            continue;
        }
        *link = waiter->next;
        append_waiter(&gather->served, waiter);
    }
}

/* ---- a round ---- */

/* Places of disks that were removed meanwhile. */
static void drop_empty(json_t *list)
{
    for (size_t i = json_array_size(list); i > 0; i--) {
        if (json_is_null(json_array_get(list, i - 1))) {
            (void)json_array_remove(list, i - 1);
        }
    }
}

/* NULL without memory. */
static json_t *take_result(struct gather *gather)
{
    unsigned before = json_memory_failures();
    json_t *result;

    drop_empty(gather->list);
    result = json_pack("{s:o}", "disks", gather->list);
    gather->list = NULL;
    if (gather->kind->has_warnings) {
        (void)json_object_set_new(result, "warnings", daemon_warnings(&gather->registry->keeper));
    }
    if (gather->has_failed) {
        json_decref(result);
        return NULL;
    }
    return json_memory_check(result, before);
}

static void loop(struct gather *gather);

/* Clients that are answered may ask again at once: that waits until all of these are. */
static void end_round(struct gather *gather)
{
    json_t *result = take_result(gather);

    while (gather->served) {
        struct gather_call *served = gather->served;

        call_result(served->call, json_incref(result));
        gather->served = served->next;
        free(served);
    }
    json_decref(result);
    loop(gather);
}

static void count_down(struct gather *gather)
{
    gather->pending--;
    if (gather->pending == 0) {
        end_round(gather);
    }
}

static void put(struct gather_slot *slot, const struct disk *disk, const struct plane_info *info,
                const struct err *err)
{
    struct gather *gather = slot->gather;
    bool is_there = info || err->code != -ENODEV;
    json_t *value = NULL;

    if (info) {
        value = gather->kind->of(disk, info);
    } else if (is_there && err->code != -ENOMEM) {
        value = gather->kind->stuck(disk, err->text);
    }
    if (is_there && json_array_set_new(gather->list, slot->index, value) < 0) {
        gather->has_failed = true;
    }
    free(slot);
    count_down(gather);
}

static void on_gathered(struct op *op)
{
    put(op->arg, op->disk, op->info, &op->err);
}

static void ask_disk(struct gather *gather, struct disk *disk)
{
    struct gather_slot *slot = malloc(sizeof(*slot));
    struct err err = {0};

    if (!slot || json_array_append_new(gather->list, json_null()) < 0) {
        gather->has_failed = true;
        free(slot);
        return;
    }
    slot->gather = gather;
    slot->index = json_array_size(gather->list) - 1;
    gather->pending++;
    if (disk_info(disk, gather->kind->looks, on_gathered, slot, &err) < 0) {
        put(slot, disk, NULL, &err);
    }
}

static void begin_round(struct gather *gather)
{
    choose(gather);
    gather->list = json_array();
    gather->has_failed = false;
    gather->pending = 1; /* ours, until all have been asked */
    for (struct disk *disk = gather->registry->disks; disk; disk = disk->next) {
        ask_disk(gather, disk);
    }
    count_down(gather);
}

/* The threads of disks are ending: they are asked nothing more. */
static void refuse_first(struct gather *gather)
{
    struct gather_call *waiter = gather->waiting;
    struct err err = {0};

    gather->waiting = waiter->next;
    (void)err_say(&err, -ESHUTDOWN, "the daemon is ending");
    call_refuse(waiter->call, &err);
    free(waiter);
}

/* A round without a disk to ask is over when begin_round returns: no recursion. */
static void loop(struct gather *gather)
{
    if (gather->is_looping) {
        return;
    }
    gather->is_looping = true;
    while (gather->waiting && !gather->served) {
        if (gather->registry->is_stopping) {
            refuse_first(gather);
        } else {
            begin_round(gather);
        }
    }
    gather->is_looping = false;
}

void gather_all(struct gather *gather, struct registry *registry, struct call *call,
                const struct gather_kind *kind)
{
    struct gather_call *waiter = malloc(sizeof(*waiter));
    struct err err = {0};

    if (!waiter) {
        (void)err_set(&err, -ENOMEM, "list of disks");
        call_refuse(call, &err);
        return;
    }
    *waiter = (struct gather_call){.call = call, .kind = kind};
    gather->registry = registry;
    append_waiter(&gather->waiting, waiter);
    loop(gather);
}
