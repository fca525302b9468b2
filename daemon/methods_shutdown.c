/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/methods_shutdown.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/disk_ask.h"
#include "daemon/json_memory.h"
#include "daemon/plane_look.h"

const struct param shutdown_params[] = {
    {"force", .type = PARAM_BOOL, .offset = offsetof(struct shutdown_target, force),
     .help = "also while the image of a disk was deleted or replaced"},
    {NULL},
};

/* The answer comes first, then shutdown_tell, if all ends in order, and the end of the connection.
 */
static void end_by_call(struct methods *methods, struct call *call)
{
    if (call->client && call->id) {
        call->client->awaits_end = true;
    }
    call_result(call, json_pack("{s:i}", "pid", (int)getpid()));
    methods->shutdown(methods->arg);
}

struct farewell_call {
    struct farewell_call *next;
    struct call *call;
};

/*
 * All disks are asked side by side, for all who ask for the end meanwhile.  Freed when the last
 * has answered.
 */
struct farewell {
    struct methods *methods;
    struct farewell_call *calls;
    unsigned pending;
    unsigned in_danger;
    struct err no_memory; /* a disk could not be asked */
    struct err unsure;    /* a file system does not answer, or nobody could ask it */
    struct err err;       /* of the first in danger */
};

static void end_all(struct farewell *farewell, const struct err *refusal)
{
    while (farewell->calls) {
        struct farewell_call *caller = farewell->calls;

        farewell->calls = caller->next;
        if (refusal) {
            call_refuse(caller->call, refusal);
        } else {
            end_by_call(farewell->methods, caller->call);
        }
        free(caller);
    }
}

/* NULL: the daemon may end. */
static const struct err *refusal_of(struct farewell *farewell)
{
    unsigned more = farewell->in_danger - 1;

    if (farewell->methods->registry->is_stopping) {
        return NULL; /* by now it ends anyway */
    }
    if (farewell->in_danger == 0 && farewell->unsure.code < 0) {
        return &farewell->unsure;
    }
    if (farewell->in_danger == 0) {
        return farewell->no_memory.code < 0 ? &farewell->no_memory : NULL;
    }
    if (more > 0) {
        err_hint(&farewell->err, "%u more disk%s would lose %s", more, more == 1 ? "" : "s",
                 more == 1 ? "its image" : "their images");
    }
    return &farewell->err;
}

static void count_down(struct farewell *farewell)
{
    if (--farewell->pending == 0) {
        farewell->methods->farewell = NULL;
        end_all(farewell, refusal_of(farewell));
        free(farewell);
    }
}

/* By what its thread has said last: also when it does not answer now. */
static void check(struct farewell *farewell, const struct disk *disk)
{
    char text[384]; /* leaves room for a name, and for the hints */

    if (image_fate_is_danger(&disk->fate) && farewell->in_danger++ == 0) {
        image_fate_say(&disk->fate, disk->record.config.image.path, disk->image_fd, text,
                       sizeof(text));
        (void)err_say(&farewell->err, -ESTALE, "%s: %s", disk->record.config.name, text);
        err_hint(&farewell->err, "or use --force");
    }
}

/* Unless what the disk says is as of now. */
static void say_unsure(const struct op *op, struct err *err)
{
    const char *name = op->disk->record.config.name;

    if (op->request.is_blind) {
        plane_look_say_blind(name, err);
    } else if (op->info->look_age_ns > 0) {
        plane_look_say_hangs(name, op->info->look_age_ns, err);
    } else {
        return;
    }
    err_hint(err, "or use --force");
}

static void on_looked(struct op *op)
{
    struct farewell *farewell = op->arg;

    if (op->info) {
        say_unsure(op, &farewell->unsure);
    }
    check(op->arg, op->disk);
    count_down(op->arg);
}

static void ask_disk(struct farewell *farewell, struct disk *disk)
{
    struct err err = {0};
    int ret = disk_examine(disk, on_looked, farewell, &err);

    if (ret == 0) {
        farewell->pending++;
        return;
    }
    check(farewell, disk);
    if (ret == -ENOMEM) {
        farewell->no_memory = err;
    }
}

static void look_at_disks(struct farewell *farewell)
{
    farewell->pending = 1; /* ours, until all have been asked */
    for (struct disk *disk = farewell->methods->registry->disks; disk; disk = disk->next) {
        ask_disk(farewell, disk);
    }
    count_down(farewell);
}

/* Returns -ENOMEM, and then `call` is the caller's still. */
static int join_farewell(struct methods *methods, struct call *call)
{
    struct farewell_call *caller = malloc(sizeof(*caller));
    struct farewell *farewell = methods->farewell;
    bool is_first = !farewell;

    if (is_first) {
        farewell = calloc(1, sizeof(*farewell));
    }
    if (!caller || !farewell) {
        free(caller);
        free(is_first ? farewell : NULL);
        return -ENOMEM;
    }
    *caller = (struct farewell_call){.next = farewell->calls, .call = call};
    farewell->calls = caller;
    if (is_first) {
        farewell->methods = methods;
        methods->farewell = farewell;
        look_at_disks(farewell);
    }
    return 0;
}

void run_shutdown(struct methods *methods, struct call *call, const void *target)
{
    const struct shutdown_target *asked = target;
    struct err err = {0};

    if (asked->force) {
        end_by_call(methods, call);
    } else if (join_farewell(methods, call) < 0) {
        (void)err_set(&err, -ENOMEM, "daemon.shutdown");
        call_refuse(call, &err);
    }
}

/* The images that nobody has waited for. */
static json_t *left_json(const struct registry *registry)
{
    json_t *list = json_array();

    for (const struct disk *disk = registry->disks; disk; disk = disk->next) {
        if (disk->is_left) {
            (void)json_array_append_new(list, call_text(disk->record.config.image.path));
        }
    }
    return list;
}

/* NULL without memory. */
static char *ended_text(const struct registry *registry, const struct err *lost)
{
    unsigned before = json_memory_failures();
    json_t *reason = lost->code < 0 ? call_text(lost->text) : json_null();
    json_auto_t *line = json_pack("{s:s, s:s, s:{s:i, s:o, s:o}}", "jsonrpc", "2.0", "method",
                                  PROTOCOL_ENDED, "params", "status", lost->code < 0, "reason",
                                  reason, "left", left_json(registry));

    return json_memory_failures() == before ? json_dumps(line, JSON_COMPACT) : NULL;
}

/* Who is told nothing takes it that the daemon has not ended in order: so be it. */
void shutdown_tell(struct control *control, const struct registry *registry, const struct err *lost)
{
    char *text = ended_text(registry, lost);

    for (struct client *client = control->clients; client && text; client = client->next) {
        if (client->awaits_end) {
            (void)client_send(client, text);
        }
    }
    json_memory_free(text);
}
