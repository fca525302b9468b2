/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/methods_resize.h"

#include <errno.h>
#include <string.h>

#include "daemon/disk_ask.h"
#include "daemon/disk_json.h"
#include "daemon/json_memory.h"
#include "daemon/protocol.h"
#include "daemon/told_json.h"

#define FIELD(member) .offset = offsetof(struct resize_target, member)

const struct param resize_params[] = {
    {"name", PARAM_STRING, .is_required = true, FIELD(name), .size = DISK_NAME_BYTES,
     .help = "of the disk"},
    {"size", PARAM_BYTES, FIELD(size), .max = INT64_MAX,
     .help = "how large the disk is to be, in whole logical blocks", .otherwise = "with refresh"},
    {"refresh", PARAM_BOOL, FIELD(refresh),
     .help = "look how large the image is by now, instead of a size"},
    {"shrink", PARAM_BOOL, FIELD(shrink), .help = "also to less than it has"},
    {"timeout_ms", PARAM_INTEGER, FIELD(timeout_ms), .value = PROTOCOL_DRAIN_MS,
     .max = PROTOCOL_DRAIN_MS_MAX,
     .help = "how long to wait for the file system, and, to shrink, for requests in flight"},
    {NULL},
};

static json_t *resized_json(const struct op *op)
{
    unsigned before = json_memory_failures();
    const struct plane_request *request = &op->request;
    json_t *result = disk_json_show(op->disk, op->info);

    (void)json_object_set_new(result, "changed", json_boolean(op->has_changed));
    (void)json_object_set_new(result, "old_size", json_integer((json_int_t)request->old_size));
    told_json_set(result, op->has_changed, request->told, op->info->peer.comm);
    return json_memory_check(result, before);
}

static void on_resized(struct op *op)
{
    if (op->err.code < 0) {
        call_refuse(op->arg, &op->err);
    } else {
        call_result(op->arg, resized_json(op));
    }
}

static int check_target(const struct resize_target *asked, struct err *err)
{
    if (asked->refresh && asked->size > 0) {
        return err_say(err, -EINVAL, "size: goes without refresh, which takes what the image has");
    }
    if (asked->refresh && asked->shrink) {
        return err_say(err, -EINVAL,
                       "shrink: goes with a size, and not with refresh, which follows no image "
                       "that has less");
    }
    if (!asked->refresh && asked->size == 0) {
        return err_say(err, -EINVAL, "size: is missing or 0; or refresh takes what the image has");
    }
    return 0;
}

void run_resize(struct methods *methods, struct call *call, const void *target)
{
    const struct resize_target *asked = target;
    struct err err = {0};
    struct disk *disk;

    if (check_target(asked, &err) < 0) {
        call_error(call, RPC_INVALID_PARAMS, err.text);
        return;
    }
    disk = registry_find(methods->registry, asked->name, &err);
    if (!disk || disk_resize(disk, (uint64_t)asked->size, asked->shrink,
                             (uint32_t)asked->timeout_ms, on_resized, call, &err) < 0) {
        call_refuse(call, &err);
    }
}
