/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/common/command.h"
#include "cmd/common/rpc.h"
#include "daemon/json_memory.h"
#include "tests/unit/count_alloc.h"

/* vblkctl, and the daemon's end of its connection. */
struct world {
    struct rpc rpc;
    int daemon;
};

static void world_start(struct world *w)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    *w = (struct world){.rpc = {.fd = fds[0], .path = "socket"}, .daemon = fds[1]};
}

static void world_stop(struct world *w)
{
    rpc_close(&w->rpc);
    close(w->daemon);
}

static void answer(struct world *w, const char *line)
{
    assert_int_equal(send(w->daemon, line, strlen(line), 0), (ssize_t)strlen(line));
}

static bool was_asked(struct world *w)
{
    char text[512];

    return recv(w->daemon, text, sizeof(text), MSG_DONTWAIT) > 0;
}

static json_t *params_of(const char *name)
{
    json_t *params = json_object();

    (void)json_object_set_new(params, "name", json_string(name));
    (void)json_object_set_new(params, "readonly", json_true());
    return params;
}

static void question_has_its_answer(void **state)
{
    struct world w;
    struct err err = {0};
    json_auto_t *params = params_of("vda");
    json_auto_t *result = NULL;

    world_start(&w);
    answer(&w, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"pid\":7}}\n");
    assert_int_equal(rpc_call(&w.rpc, "disk.add", params, 1000, &result, &err), STATUS_OK);
    assert_true(was_asked(&w));
    assert_int_equal(json_integer_value(json_object_get(result, "pid")), 7);
    world_stop(&w);
}

/* A disk that lost its "readonly" on the way would be writable.  After it there is no way back. */
static void nothing_is_asked_when_a_parameter_may_be_missing(void **state)
{
    struct world w;
    struct err err = {0};
    json_auto_t *result = NULL;
    json_auto_t *params = NULL;

    world_start(&w);
    answer(&w, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n");
    fail_alloc(3, false);
    params = params_of("vda");
    assert_true(fail_alloc_end());
    assert_int_equal(rpc_call(&w.rpc, "disk.add", params, 1000, &result, &err), STATUS_REFUSED);
    assert_int_equal(err.code, -ENOMEM);
    assert_false(was_asked(&w));
    world_stop(&w);
}

static int call(struct world *w, unsigned wait_ms, struct err *err)
{
    json_auto_t *params = params_of("vda");
    json_auto_t *result = NULL;

    *err = (struct err){0};
    return rpc_call(&w->rpc, "disk.show", params, wait_ms, &result, err);
}

static void answer_to_something_else_is_none(void **state)
{
    struct world w;
    struct err err;

    world_start(&w);
    answer(&w, "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"pid\":7}}\n");
    assert_int_equal(call(&w, 1000, &err), STATUS_REFUSED);
    assert_int_equal(err.code, -EPROTO);
    answer(&w, "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":1,\"message\":\"old\"}}\n");
    assert_int_equal(call(&w, 1000, &err), STATUS_REFUSED);
    assert_int_equal(err.code, -EPROTO);
    answer(&w, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":1,\"message\":\"full\"}}\n");
    assert_int_equal(call(&w, 1000, &err), STATUS_REFUSED);
    assert_string_equal(err.text, "full");
    answer(&w, "{\"jsonrpc\":\"2.0\",\"method\":\"news\"}\n"
               "{\"jsonrpc\":\"2.0\",\"id\":4,\"result\":{}}\n");
    assert_int_equal(call(&w, 1000, &err), STATUS_OK);
    world_stop(&w);
}

/* What listens there sends bytes without an end, `count` at a time. */
struct babbler {
    int fd;
    size_t count;
};

static void *babble(void *arg)
{
    static const char bytes[1 << 16] = {'x'};
    const struct babbler *babbler = arg;

    while (send(babbler->fd, bytes, babbler->count, MSG_NOSIGNAL) > 0) {
    }
    return NULL;
}

static int call_babbler(size_t count, unsigned wait_ms, struct err *err)
{
    struct world w;
    struct babbler babbler = {.count = count};
    pthread_t thread;
    int status;

    world_start(&w);
    babbler.fd = w.daemon;
    assert_int_equal(pthread_create(&thread, NULL, babble, &babbler), 0);
    status = call(&w, wait_ms, err);
    (void)shutdown(w.daemon, SHUT_RDWR);
    assert_int_equal(pthread_join(thread, NULL), 0);
    world_stop(&w);
    return status;
}

static void answer_without_an_end_ends_with_the_time(void **state)
{
    struct err err;

    assert_int_equal(call_babbler(64, 200, &err), STATUS_REFUSED);
    assert_int_equal(err.code, -ETIMEDOUT);
}

static void answer_that_is_too_large_is_told(void **state)
{
    struct err err;

    assert_int_equal(call_babbler(1 << 16, 600000, &err), STATUS_REFUSED);
    assert_int_equal(err.code, -EMSGSIZE);
}

/* As the end of the connection would say that the daemon has ended. */
static void lack_of_memory_is_no_end_of_the_connection(void **state)
{
    struct world w;
    json_t *params;

    world_start(&w);
    answer(&w, "{}\n");
    fail_alloc(1, false);
    assert_false(rpc_wait_ended(&w.rpc, 1000, &params));
    assert_true(fail_alloc_end());
    world_stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(question_has_its_answer),
        cmocka_unit_test(answer_to_something_else_is_none),
        cmocka_unit_test(answer_without_an_end_ends_with_the_time),
        cmocka_unit_test(answer_that_is_too_large_is_told),
        cmocka_unit_test(lack_of_memory_is_no_end_of_the_connection),
        cmocka_unit_test(nothing_is_asked_when_a_parameter_may_be_missing),
    };

    json_memory_install();
    return unit_run(tests);
}
