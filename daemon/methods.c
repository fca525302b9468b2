/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/methods.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <config.h>

#include "daemon/disk_warnings.h"
#include "daemon/json_memory.h"
#include "daemon/methods_disk.h"
#include "daemon/methods_medium.h"
#include "daemon/methods_shutdown.h"
#include "daemon/methods_upgrade.h"
#include "daemon/params.h"

static const struct param no_params[] = {{NULL}};

/* ---- daemon.* ---- */

static void run_ping(struct methods *methods, struct call *call, const void *target)
{
    unsigned before = json_memory_failures();
    json_t *result =
        json_pack("{s:i, s:s*, s:o}", "pid", (int)getpid(), "sandbox", methods->sandbox, "warnings",
                  daemon_warnings(&methods->registry->keeper));

    call_result(call, json_memory_check(result, before));
}

static void run_version(struct methods *methods, struct call *call, const void *target)
{
    call_result(call, json_pack("{s:s, s:s, s:i, s:i, s:s, s:s}", "name", "vblkd", "version",
                                PACKAGE_VERSION, "protocol", PROTOCOL_VERSION, "pid", (int)getpid(),
                                "libuv", uv_version_string(), "jansson", jansson_version_str()));
}

static void run_methods(struct methods *methods, struct call *call, const void *target);

static const struct method daemon_methods[] = {
    {"daemon.ping", no_params, 0, "answer", run_ping, .is_reader = true},
    {"daemon.version", no_params, 0, "versions of the daemon and of the protocol", run_version,
     .is_reader = true},
    {"daemon.shutdown", shutdown_params, sizeof(struct shutdown_target),
     "drain all disks and end the daemon", run_shutdown},
    {"daemon.hand_over", hand_over_params, sizeof(struct hand_over_target),
     "hand all disks to the process that asks", run_hand_over},
    {"daemon.methods", no_params, 0, "this table", run_methods, .is_reader = true},
    {NULL},
};

static const struct method *const tables[] = {disk_methods, medium_methods, daemon_methods};

static void run_methods(struct methods *methods, struct call *call, const void *target)
{
    unsigned before = json_memory_failures();
    json_t *list = json_array();

    for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
        for (const struct method *method = tables[i]; method->name; method++) {
            json_t *params = params_describe(method->params);

            (void)json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "name", method->name,
                                                        "help", method->help, "params", params));
        }
    }
    call_result(call, json_memory_check(json_pack("{s:o}", "methods", list), before));
}

/* ---- dispatch ---- */

static const struct method *find_method(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
        for (const struct method *method = tables[i]; method->name; method++) {
            if (strcmp(method->name, name) == 0) {
                return method;
            }
        }
    }
    return NULL;
}

/* Of what is no parameter here, the first that is one elsewhere and cannot be changed. */
static int refuse_fixed(const struct method *method, const json_t *params, struct err *err)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)params, name, value)
    {
        if (method->fixed && params_know(method->fixed, name) &&
            !params_know(method->params, name)) {
            return err_say(err, -EINVAL,
                           "%s: is fixed when the disk is added: remove it, then add it with "
                           "another",
                           name);
        }
    }
    return 0;
}

static void run_method(struct methods *methods, const struct method *method, struct call *call,
                       const json_t *params)
{
    void *target = calloc(1, method->target_size + 1);
    struct err err = {0};

    if (!target) {
        (void)err_set(&err, -ENOMEM, "%s", method->name);
        call_refuse(call, &err);
    } else if (refuse_fixed(method, params, &err) < 0 ||
               params_read(params, method->params, "", target, &err) < 0) {
        call_error(call, RPC_INVALID_PARAMS, err.text);
    } else {
        method->run(methods, call, target);
    }
    free(target);
}

void methods_run(struct call *call, const char *name, const json_t *params, void *arg)
{
    struct methods *methods = arg;
    const struct method *method = find_method(name);
    struct err err = {0};

    if (!method) {
        (void)err_say(&err, RPC_METHOD_NOT_FOUND, "unknown method \"%.64s\"", name);
        call_error(call, RPC_METHOD_NOT_FOUND, err.text);
    } else if (!method->is_reader && call->client->rights < RIGHTS_CHANGE) {
        (void)err_say(&err, -EPERM,
                      "%s: this user may only read (list, show, stats): start vblkd with "
                      "--allow-user or --allow-group without :read for it",
                      name);
        call_refuse(call, &err);
    } else if (methods->registry->is_stopping) {
        (void)err_say(&err, -ESHUTDOWN, "the daemon is ending");
        call_refuse(call, &err);
    } else if (methods->registry->is_frozen) {
        (void)err_say(&err, -EBUSY, "the daemon is just being upgraded: ask again");
        call_refuse(call, &err);
    } else {
        run_method(methods, method, call, params);
    }
}
