/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/call.h"
#include "daemon/json_memory.h"
#include "daemon/methods.h"
#include "daemon/methods_shutdown.h"
#include "daemon/registry_life.h"
#include "tests/unit/control_world.h"
#include "tests/unit/count_alloc.h"
#include "tests/unit/no_rates.h"

#define LINE_BYTES 65536
#define PATIENCE_NS (20 * NS_PER_S)

/* The control socket of a daemon with one disk, and a client; all of it but the disk is here. */
struct bench {
    struct control_world world;
    char path[96];
    struct unix_listener listener;
    struct control control;
    struct state *state;
    struct registry registry;
    struct methods methods;
    struct disk_config config;
    int client; /* -1: it was closed */
    char line[LINE_BYTES];
    size_t used;
    bool is_done;
    bool is_finished;
    bool is_shut_down;
    bool has_ended;
};

static void on_line(struct client *client, const char *line, size_t len, void *arg)
{
    struct bench *b = arg;

    call_line(client, line, len, methods_run, &b->methods);
}

static void on_added(struct op *op)
{
    struct bench *b = op->arg;

    assert_int_equal(op->err.code, 0);
    b->is_done = true;
}

static void connect_client(struct bench *b)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    strcpy(addr.sun_path, b->path);
    b->client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(b->client, (struct sockaddr *)&addr, sizeof(addr)), 0);
    while (b->control.client_count == 0) {
        uv_run(&b->world.loop, UV_RUN_NOWAIT);
    }
    b->used = 0;
}

static int bench_start(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    struct registry_opts registry = {.open_ms = 60000};
    static const struct admission admission;
    struct control_opts control = {.line = on_line,
                                   .gone = call_forget_client,
                                   .arg = b,
                                   .listener = &b->listener,
                                   .admission = &admission};

    assert_non_null(b);
    *state = b;
    control_world_start(&b->world, "control");
    (void)snprintf(b->path, sizeof(b->path), "%s/control", b->world.dir);
    assert_int_equal(unix_listen(&b->listener, b->path, SOCKET_OWN(0600), NULL), 0);
    assert_int_equal(state_open(&b->state, b->world.dir, NULL), 0);
    assert_int_equal(state_start(b->state, &b->world.mailbox, NULL), 0);
    registry.loop = control.loop = &b->world.loop;
    registry.mailbox = &b->world.mailbox;
    registry.state = b->state;
    registry.socket_dir = b->world.dir;
    registry.control_path = b->path;
    assert_int_equal(registry_init(&b->registry, &registry), 0);
    b->methods.registry = &b->registry;
    assert_int_equal(control_start(&b->control, &control, NULL), 0);
    b->config = (struct disk_config){
        .name = "vda",
        .image = {.type = "null", .cache = "none", .size = 1 << 20},
        .settings = {.poll_us = 0,
                     .poll_cpu = 100,
                     .engine = "auto",
                     .huge_bounce = "auto",
                     .queue_threads = "auto",
                     .cpus = "all",
                     .detect_zeroes = "off",
                     .on_read_error = "report",
                     .on_write_error = "enospc",
                     NO_RATES,
                     .threads = 1},
        .discard = "on",
        .socket_mode = "0600",
        .socket_owner = -1,
        .socket_group = -1,
        .write_zeroes = "on",
        .config_wce = "on",
        .packed = "on",
        .in_order = "off",
        .seg_max = BLK_SEG_MAX,
        .max_discard_segments = BLK_RANGES,
        .max_write_zeroes_segments = BLK_RANGES,
        .queues = 1,
        .queue_size = 64,
    };
    assert_int_equal(registry_add(&b->registry, &b->config, on_added, b, NULL), 0);
    control_world_wait(&b->world, &b->is_done);
    connect_client(b);
    return 0;
}

static void on_finished(void *arg)
{
    ((struct bench *)arg)->is_finished = true;
}

static void on_ended(void *arg)
{
    ((struct bench *)arg)->has_ended = true;
}

static void on_stopped(void *arg, bool is_clean)
{
    struct bench *b = arg;

    assert_true(is_clean);
    state_stop(b->state, on_ended, b);
}

static int bench_stop(void **state)
{
    struct bench *b = *state;

    if (b->client >= 0) {
        close(b->client);
    }
    control_unlisten(&b->control);
    unix_unlisten(&b->listener);
    registry_stop(&b->registry, on_stopped, b);
    control_world_wait(&b->world, &b->has_ended);
    registry_fini(&b->registry);
    control_finish(&b->control, on_finished);
    control_world_wait(&b->world, &b->is_finished);
    control_world_stop(&b->world);
    free(b);
    return 0;
}

/* Returns false at the end of the connection. */
static bool receive(struct bench *b)
{
    ssize_t got = recv(b->client, b->line + b->used, sizeof(b->line) - b->used, MSG_DONTWAIT);

    if (got > 0) {
        b->used += (size_t)got;
    }
    return got > 0 || (got < 0 && errno == EAGAIN);
}

static bool wait_line(struct bench *b)
{
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;

    while (!memchr(b->line, '\n', b->used)) {
        assert_true(now_ns() < deadline_ns); /* a client would wait for ever */
        uv_run(&b->world.loop, UV_RUN_NOWAIT);
        if (!receive(b)) {
            close(b->client);
            b->client = -1;
            return false;
        }
    }
    return true;
}

/*
 * The answer to `line`, with the allocation `n` failing, or all from there; the caller frees it.
 * NULL: the connection was closed.
 */
static json_t *ask(struct bench *b, const char *line, unsigned long n, bool and_all,
                   bool *has_failed)
{
    json_t *answer;
    char *end;
    bool has_line;

    assert_int_equal(send(b->client, line, strlen(line), MSG_NOSIGNAL), (ssize_t)strlen(line));
    fail_alloc(n, and_all);
    has_line = wait_line(b);
    *has_failed = fail_alloc_end();
    if (!has_line) {
        return NULL;
    }
    end = memchr(b->line, '\n', b->used);
    answer = json_loadb(b->line, (size_t)(end - b->line), 0, NULL);
    assert_non_null(answer);
    b->used -= (size_t)(end + 1 - b->line);
    memmove(b->line, end + 1, b->used);
    return answer;
}

static const char *errno_of(const json_t *answer)
{
    const json_t *error = json_object_get(answer, "error");

    return json_string_value(json_object_get(json_object_get(error, "data"), "errno"));
}

static bool is_no_memory(const json_t *answer)
{
    const char *name = errno_of(answer);

    return name && strcmp(name, "ENOMEM") == 0;
}

static void expect_id(const json_t *answer, const json_t *whole)
{
    const json_t *id = json_object_get(answer, "id");

    assert_true(json_is_null(id) || json_equal(id, json_object_get(whole, "id")));
}

/* Returns false when there were fewer. */
static bool try_failure(struct bench *b, const char *line, const json_t *whole, unsigned long n,
                        bool and_all)
{
    json_t *answer;
    bool has_failed;

    answer = ask(b, line, n, and_all, &has_failed);
    if (!answer) {
        if (!has_failed) {
            print_error("%s  was not answered, with %lu allocations\n", line, n);
        }
        assert_true(has_failed);
        connect_client(b);
        return true;
    }
    expect_id(answer, whole);
    if (!is_no_memory(answer) && !json_equal(answer, whole)) {
        char *text = json_dumps(answer, 0);

        print_error("with allocation %lu failing, %s  was answered %s\n", n, line, text);
        fail();
    }
    json_decref(answer);
    return has_failed;
}

static void fail_each_of(struct bench *b, const char *line, bool and_all)
{
    bool has_failed;
    json_auto_t *whole = ask(b, line, 0, false, &has_failed);
    unsigned long n = 1;

    assert_non_null(whole);
    assert_false(is_no_memory(whole));
    while (try_failure(b, line, whole, n, and_all)) {
        n++;
    }
    assert_true(n > 1);
}

static void fail_each(struct bench *b, const char *line)
{
    fail_each_of(b, line, false);
    fail_each_of(b, line, true);
}

#define REQUEST(id, method, params) \
    "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"" method "\",\"params\":" params "}\n"

static void no_question_about_the_daemon_stays_without_an_answer(void **state)
{
    struct bench *b = *state;

    fail_each(b, REQUEST("1", "daemon.ping", "{}"));
    fail_each(b, REQUEST("\"two\"", "daemon.version", "{}"));
    fail_each(b, REQUEST("-3", "daemon.methods", "{}"));
}

/* And no disk is left out, nor a member of one. */
static void no_question_about_disks_is_answered_in_part(void **state)
{
    struct bench *b = *state;

    fail_each(b, REQUEST("1", "disk.list", "{}"));
    fail_each(b, REQUEST("2", "disk.show", "{\"name\":\"vda\"}"));
    fail_each(b, REQUEST("3", "disk.start", "{\"name\":\"vda\"}"));
}

static void no_refusal_stays_without_an_answer(void **state)
{
    struct bench *b = *state;

    fail_each(b, REQUEST("1", "disk.show", "{\"name\":\"vdb\"}"));
    fail_each(b, REQUEST("2", "disk.show", "{\"names\":\"vdb\"}"));
    fail_each(b, REQUEST("3", "disk.eat", "{}"));
    fail_each(b, REQUEST("\"with \\\"quotes\\\" and \\u00e9\"", "daemon.ping", "{}"));
    fail_each(b, "{\"jsonrpc\":\"1.0\",\"id\":4}\n");
    fail_each(b, "no JSON\n");
}

/* ---- an image that would be lost ---- */

static void on_shutdown(void *arg)
{
    ((struct bench *)arg)->is_shut_down = true;
}

/* A second disk, whose image has been deleted; control has heard of that. */
static void add_doomed(struct bench *b)
{
    struct disk_config *config = &b->config;
    json_t *answer;
    bool has_failed;

    b->methods.shutdown = on_shutdown;
    b->methods.arg = b;
    strcpy(config->name, "vdb");
    *config->socket = *config->serial = '\0';
    config->image = (struct image_config){
        .type = "file", .cache = "writeback", .size = 1 << 20, .create = true};
    (void)snprintf(config->image.path, sizeof(config->image.path), "%s/img", b->world.dir);
    b->is_done = false;
    assert_int_equal(registry_add(&b->registry, config, on_added, b, NULL), 0);
    control_world_wait(&b->world, &b->is_done);
    assert_int_equal(unlink(config->image.path), 0);
    answer = ask(b, REQUEST("1", "disk.show", "{\"name\":\"vdb\"}"), 0, false, &has_failed);
    json_decref(answer);
}

static void no_lack_of_memory_loses_an_image(void **state)
{
    struct bench *b = *state;

    add_doomed(b);
    fail_each(b, REQUEST("1", "daemon.shutdown", "{}"));
    assert_false(b->is_shut_down);
}

/* What keeps a disk's thread from answering. */
struct hold {
    struct message message;
    sem_t end;
};

static void run_hold(struct message *message)
{
    struct hold *hold = containerof(message, struct hold, message);

    while (sem_wait(&hold->end) < 0) {
    }
}

/* As "echo ... | nc -U" does. */
static void half_closed_client_is_told_how_the_daemon_ended(void **state)
{
    struct bench *b = *state;
    const char *line = REQUEST("1", "daemon.shutdown", "{}");
    const struct err nothing = {0};

    b->methods.shutdown = on_shutdown;
    b->methods.arg = b;
    assert_int_equal(send(b->client, line, strlen(line), MSG_NOSIGNAL), (ssize_t)strlen(line));
    assert_int_equal(shutdown(b->client, SHUT_WR), 0);
    assert_true(wait_line(b));
    for (unsigned i = 0; i < 10; i++) { /* it sees the end of what the client sends */
        uv_run(&b->world.loop, UV_RUN_NOWAIT);
        assert_true(receive(b));
    }
    assert_true(b->is_shut_down);
    b->used = 0;
    shutdown_tell(&b->control, &b->registry, &nothing);
    assert_true(wait_line(b));
    assert_non_null(memmem(b->line, b->used, PROTOCOL_ENDED, strlen(PROTOCOL_ENDED)));
}

static void client_is_told_of_images_that_the_end_has_left(void **state)
{
    static const char left[] = "\"left\":[\"/srv/img\"]";
    struct bench *b = *state;
    const struct err nothing = {0};
    struct disk *disk = registry_find(&b->registry, "vda", NULL);

    (void)snprintf(disk->record.config.image.path, sizeof(disk->record.config.image.path),
                   "/srv/img");
    disk->is_left = true;
    b->control.clients->awaits_end = true;
    shutdown_tell(&b->control, &b->registry, &nothing);
    assert_true(wait_line(b));
    assert_non_null(memmem(b->line, b->used, left, strlen(left)));
}

static void disk_that_does_not_answer_keeps_the_image_that_it_would_lose(void **state)
{
    struct bench *b = *state;
    static struct hold hold = {.message = {.run = run_hold}}; /* held a little longer than we are */
    bool has_failed;

    add_doomed(b);
    assert_int_equal(sem_init(&hold.end, 0, 0), 0);
    mailbox_send(&registry_find(&b->registry, "vdb", NULL)->plane.worker.mailbox, &hold.message);
    for (unsigned i = 0; i < 2; i++) { /* the second time it is not even asked */
        json_auto_t *answer = ask(b, REQUEST("1", "daemon.shutdown", "{}"), 0, false, &has_failed);

        assert_string_equal(errno_of(answer), "ESTALE");
    }
    assert_false(b->is_shut_down);
    assert_int_equal(sem_post(&hold.end), 0);
}

#define bench_test(test) cmocka_unit_test_setup_teardown(test, bench_start, bench_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(no_question_about_the_daemon_stays_without_an_answer),
        bench_test(no_question_about_disks_is_answered_in_part),
        bench_test(no_refusal_stays_without_an_answer),
        bench_test(no_lack_of_memory_loses_an_image),
        bench_test(half_closed_client_is_told_how_the_daemon_ended),
        bench_test(client_is_told_of_images_that_the_end_has_left),
        bench_test(disk_that_does_not_answer_keeps_the_image_that_it_would_lose),
    };

    count_alloc_install();
    json_memory_install();
    return unit_run(tests);
}
