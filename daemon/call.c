/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"
#include "daemon/json_memory.h"

json_t *call_text(const char *text)
{
    size_t size = strlen(text) * TEXT_ESCAPE_MAX + 1;
    json_t *value = json_string(text);
    char *shown;

    if (value) {
        return value;
    }
    shown = json_memory_alloc(size);
    value = shown ? json_string(text_safe(text, shown, size)) : NULL;
    json_memory_free(shown);
    return value;
}

/* ---- answers ---- */

/* The id as JSON, if that needs no memory.  Returns false for a long one, or one to escape. */
static bool print_id(const json_t *id, char *text, size_t size)
{
    const char *string = json_string_value(id);

    if (json_is_integer(id)) {
        (void)snprintf(text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(id));
        return true;
    }
    if (!string) {
        (void)snprintf(text, size, "null");
        return true;
    }
    for (const char *c = string; *c; c++) {
        if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\') {
            return false;
        }
    }
    return snprintf(text, size, "\"%s\"", string) < (int)size;
}

/* A client that is told nothing would wait for ever; one that cannot be told sees the end. */
static void say_no_memory(struct client *client, const json_t *id)
{
    char id_text[80];
    char text[256];

    if (print_id(id, id_text, sizeof(id_text))) {
        (void)snprintf(text, sizeof(text),
                       "{\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":%d,\"message\":\"out of "
                       "memory; what was asked for may have been done all the same\","
                       "\"data\":{\"errno\":\"ENOMEM\"}}}",
                       id_text, RPC_REFUSED);
        client_send_now(client, text);
    } else {
        client_close(client);
    }
}

/* Takes over `answer`, NULL: there was no memory for it. */
static void send_answer(struct client *client, const json_t *id, json_t *answer)
{
    char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;

    json_decref(answer);
    if (!text || client_send(client, text) < 0) {
        say_no_memory(client, id);
    }
    json_memory_free(text);
}

static json_t *error_object(int code, const char *text)
{
    unsigned before = json_memory_failures();
    json_t *error = json_object();

    (void)json_object_set_new(error, "code", json_integer(code));
    (void)json_object_set_new(error, "message", call_text(text));
    return json_memory_check(error, before);
}

/*
 * `id` is lent, NULL: the request could not be read so far.  Takes over `value`; without it, or
 * without memory, NULL is returned.
 */
static json_t *envelope(json_t *id, const char *member, json_t *value)
{
    unsigned before = json_memory_failures();
    json_t *answer = value ? json_object() : NULL;

    (void)json_object_set_new(answer, "jsonrpc", json_string("2.0"));
    if (id) {
        (void)json_object_set(answer, "id", id);
    } else {
        (void)json_object_set_new(answer, "id", json_null());
    }
    (void)json_object_set_new(answer, member, value);
    return json_memory_check(answer, before);
}

static void unlink_call(struct call *call)
{
    struct call **link = &call->client->calls;

    while (*link != call) {
        link = &(*link)->next;
    }
    *link = call->next;
    call->client->call_count--;
}

/* Takes over `value`. */
static void end_call(struct call *call, const char *member, json_t *value)
{
    struct client *client = call->client;

    if (client) {
        unlink_call(call);
    }
    if (client && call->id) {
        send_answer(client, call->id, envelope(call->id, member, value));
    } else {
        json_decref(value);
    }
    json_decref(call->id);
    free(call);
    if (client) {
        client_call_ended(client);
    }
}

void call_result(struct call *call, json_t *result)
{
    end_call(call, "result", result);
}

void call_error(struct call *call, int code, const char *text)
{
    end_call(call, "error", error_object(code, text));
}

void call_refuse(struct call *call, const struct err *err)
{
    unsigned before = json_memory_failures();
    json_t *error = error_object(RPC_REFUSED, err->text);

    (void)json_object_set_new(error, "data", json_pack("{s:s}", "errno", err_name(err->code)));
    end_call(call, "error", json_memory_check(error, before));
}

void call_forget_client(struct client *client)
{
    for (struct call *call = client->calls; call; call = call->next) {
        call->client = NULL;
    }
    client->calls = NULL;
    client->call_count = 0;
}

/* ---- requests ---- */

static const char *unknown_member(const json_t *request)
{
    static const char *const known[] = {"jsonrpc", "id", "method", "params"};
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)request, name, value)
    {
        bool is_known = false;

        for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
            is_known = is_known || strcmp(name, known[i]) == 0;
        }
        if (!is_known) {
            return name;
        }
    }
    return NULL;
}

static bool is_valid_id(const json_t *id)
{
    return !id || json_is_string(id) || json_is_integer(id) || json_is_null(id);
}

static int refuse_request(struct err *err, int code, const char *text)
{
    return err_say(err, code, "%s", text);
}

/* Returns 0 or a JSON-RPC code, which is in `err` as well. */
static int check_request(const json_t *request, struct err *err)
{
    const json_t *params = json_object_get(request, "params");
    const char *version = json_string_value(json_object_get(request, "jsonrpc"));
    const char *unknown;

    if (json_is_array(request)) {
        return refuse_request(err, RPC_INVALID_REQUEST,
                              "batches are not supported: send one request a line");
    }
    if (!json_is_object(request)) {
        return refuse_request(err, RPC_INVALID_REQUEST, "a request is an object");
    }
    if (!version || strcmp(version, "2.0") != 0) {
        return refuse_request(err, RPC_INVALID_REQUEST, "jsonrpc: must be \"2.0\"");
    }
    if (!is_valid_id(json_object_get(request, "id"))) {
        return refuse_request(err, RPC_INVALID_REQUEST, "id: must be a string, an integer or null");
    }
    if (!json_is_string(json_object_get(request, "method"))) {
        return refuse_request(err, RPC_INVALID_REQUEST, "method: must be a string");
    }
    unknown = unknown_member(request);
    if (unknown) {
        return err_say(err, RPC_INVALID_REQUEST, "unknown member \"%.64s\"", unknown);
    }
    if (params && !json_is_object(params)) {
        return refuse_request(err, RPC_INVALID_PARAMS, "params: must be an object");
    }
    return 0;
}

/* A request that cannot be carried out is answered even when it has no id. */
static void answer_bad(struct client *client, const json_t *request, const struct err *err)
{
    json_t *id = json_object_get(request, "id");

    id = is_valid_id(id) ? id : NULL;
    send_answer(client, id, envelope(id, "error", error_object(err->code, err->text)));
}

static struct call *new_call(struct client *client, const json_t *request)
{
    struct call *call = calloc(1, sizeof(*call));

    if (call) {
        call->client = client;
        call->id = json_incref(json_object_get(request, "id"));
        call->next = client->calls;
        client->calls = call;
        client->call_count++;
    }
    return call;
}

void call_line(struct client *client, const char *line, size_t len,
               void (*run)(struct call *call, const char *method, const json_t *params, void *arg),
               void *arg)
{
    unsigned before = json_memory_failures();
    json_error_t error;
    struct err err = {0};
    json_auto_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    json_auto_t *empty = json_object();
    const json_t *params = json_object_get(request, "params");
    struct call *call;

    if (json_memory_failures() != before) {
        say_no_memory(client, json_object_get(request, "id"));
        return;
    }
    if (!request) {
        (void)err_say(&err, RPC_PARSE_ERROR, "not JSON: column %d: %s", error.column, error.text);
        answer_bad(client, NULL, &err);
        return;
    }
    if (check_request(request, &err) < 0) {
        answer_bad(client, request, &err);
        return;
    }
    call = new_call(client, request);
    if (!call) {
        say_no_memory(client, json_object_get(request, "id"));
        return;
    }
    run(call, json_string_value(json_object_get(request, "method")), params ? params : empty, arg);
}
