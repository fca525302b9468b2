/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * One request of a client, from its line to its answer: the JSON-RPC 2.0 envelope.
 * A call ends with exactly one of call_result, call_refuse and call_error, at once or later;
 * whether the client is still there by then is no concern of the caller.
 * Thread: control.
 */

#include <jansson.h>

#include "core/base/err.h"
#include "daemon/control.h"

struct call {
    struct call *next;     /* the client's list */
    struct client *client; /* NULL: it has gone */
    json_t *id;            /* owned; NULL: a notification, nobody wants an answer */
};

/* Takes over `result`; NULL: there was no memory to make it, which the client is told. */
void call_result(struct call *call, json_t *result);

/* -32000 with the errno's name. */
void call_refuse(struct call *call, const struct err *err);

void call_error(struct call *call, int code, const char *text);

/*
 * Read one line and run `method` with its parameters (an object, lent until it returns), or
 * answer what is wrong with the line.
 */
void call_line(struct client *client, const char *line, size_t len,
               void (*run)(struct call *call, const char *method, const json_t *params, void *arg),
               void *arg);

/* The client goes: its calls will be answered to nobody. */
void call_forget_client(struct client *client);

/* NULL without memory.  Text of any origin as a JSON string; where it is not UTF-8, as text_escape
 * shows it. */
json_t *call_text(const char *text);
