/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/notify.h"
#include "tests/unit/control_world.h"

#define PATIENCE_S 60

/* The test is the service manager, and reads when it likes. */
struct bench {
    struct control_world control;
    struct notify notify;
    uv_poll_t poll;
    int fd;
    char path[96];
    char told[64]; /* the last datagram */
    bool has_told;
};

static int bench_start(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    assert_non_null(b);
    control_world_start(&b->control, "notify");
    (void)snprintf(b->path, sizeof(b->path), "%s/manager", b->control.dir);
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", b->path);
    b->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(b->fd >= 0);
    assert_int_equal(bind(b->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    setenv("NOTIFY_SOCKET", b->path, 1);
    assert_int_equal(notify_init(&b->notify, &b->control.loop), 0);
    (void)alarm(PATIENCE_S); /* whoever waits for the manager fails its test */
    *state = b;
    return 0;
}

static int bench_stop(void **state)
{
    struct bench *b = *state;

    (void)alarm(0);
    unsetenv("NOTIFY_SOCKET");
    notify_close(&b->notify);
    close(b->fd);
    unlink(b->path);
    control_world_stop(&b->control);
    free(b);
    return 0;
}

/* As many datagrams as the queue takes. */
static void fill(const struct bench *b)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_true(fd >= 0);
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", b->path);
    while (sendto(fd, "x", 1, 0, (struct sockaddr *)&addr, sizeof(addr)) == 1) {
    }
    assert_int_equal(errno, EAGAIN);
    close(fd);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct bench *b = containerof(poll, struct bench, poll);
    ssize_t len = recv(b->fd, b->told, sizeof(b->told) - 1, MSG_DONTWAIT);

    assert_true(len >= 0);
    b->told[len] = '\0';
    b->has_told = strcmp(b->told, "x") != 0;
}

/* What comes after all that fill sent. */
static const char *next_told(struct bench *b)
{
    b->has_told = false;
    assert_int_equal(uv_poll_init(&b->control.loop, &b->poll, b->fd), 0);
    assert_int_equal(uv_poll_start(&b->poll, UV_READABLE, on_readable), 0);
    control_world_wait(&b->control, &b->has_told);
    uv_close((uv_handle_t *)&b->poll, NULL);
    return b->told;
}

static void manager_is_told_at_once(void **state)
{
    struct bench *b = *state;

    notify_manager(&b->notify, "READY=1");
    assert_int_equal(recv(b->fd, b->told, sizeof(b->told), MSG_DONTWAIT), strlen("READY=1"));
    assert_false(uv_is_active((uv_handle_t *)&b->notify.again));
}

static void manager_that_does_not_read_is_told_when_it_does(void **state)
{
    struct bench *b = *state;

    fill(b);
    notify_manager(&b->notify, "READY=1");
    assert_string_equal(next_told(b), "READY=1");
    assert_false(uv_is_active((uv_handle_t *)&b->notify.again));
}

static void state_that_is_over_is_not_told(void **state)
{
    struct bench *b = *state;

    fill(b);
    notify_manager(&b->notify, "READY=1");
    notify_manager(&b->notify, "STOPPING=1");
    assert_string_equal(next_told(b), "STOPPING=1");
}

static void manager_that_is_gone_is_told_nothing(void **state)
{
    struct bench *b = *state;

    unlink(b->path);
    notify_manager(&b->notify, "READY=1");
    assert_false(uv_is_active((uv_handle_t *)&b->notify.again));
}

#define benched(test) cmocka_unit_test_setup_teardown(test, bench_start, bench_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        benched(manager_is_told_at_once),
        benched(manager_that_does_not_read_is_told_when_it_does),
        benched(state_that_is_over_is_not_told),
        benched(manager_that_is_gone_is_told_nothing),
    };

    return unit_run(tests);
}
