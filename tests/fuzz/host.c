/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/fuzz/host.h"

#include <assert.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/porter.h"
#include "core/base/ringer.h"
#include "core/virtio/mem.h"
#include "daemon/call.h"
#include "daemon/json_memory.h"
#include "daemon/methods.h"
#include "daemon/registry_life.h"

#define PATIENCE_NS (30 * NS_PER_S)
#define ASKED_MAX 16u
#define ANSWERS_BYTES (1u << 20)
#define RINGERS_NS (NS_PER_S / 10)

static char host_dir[64];
static char control_path[HOST_PATH_BYTES];
static struct mailbox mailbox;
static uv_loop_t loop;
static struct unix_listener listener;
static struct control control;
static struct state *state;
static struct registry registry;
static struct methods methods;

/* The client's side. */
static int client = -1;
static char answers[ANSWERS_BYTES];
static size_t answers_used;
static json_int_t asked, answered, wanted;
static json_t *wanted_answer;

void host_path(char path[HOST_PATH_BYTES], const char *name)
{
    (void)snprintf(path, HOST_PATH_BYTES, "%s/%s", host_dir, name);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void remove_files(void)
{
    (void)nftw(host_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void on_line(struct client *c, const char *line, size_t len, void *arg)
{
    call_line(c, line, len, methods_run, &methods);
}

static void on_shutdown(void *arg)
{
    abort(); /* nobody asks for that */
}

static void make_dir(void)
{
    (void)snprintf(host_dir, sizeof(host_dir), "/dev/shm/vblk-fuzz-disk-XXXXXX");
    if (!mkdtemp(host_dir)) {
        (void)snprintf(host_dir, sizeof(host_dir), "/tmp/vblk-fuzz-disk-XXXXXX");
        assert(mkdtemp(host_dir));
    }
    atexit(remove_files);
}

static void become_client(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", control_path);
    client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(client >= 0 && connect(client, (struct sockaddr *)&addr, sizeof(addr)) == 0);
}

void host_start(void)
{
    struct registry_opts registry_opts = {.loop = &loop,
                                          .mailbox = &mailbox,
                                          .socket_dir = host_dir,
                                          .control_path = control_path,
                                          .open_ms = PROTOCOL_OPEN_MS};
    struct control_opts control_opts = {
        .loop = &loop, .listener = &listener, .line = on_line, .gone = call_forget_client};

    make_dir();
    host_path(control_path, "control");
    log_set_level(getenv("FUZZ_LOG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    json_memory_install();
    (void)porter_init();
    mem_guard_install();
    ringers_install();
    assert(uv_loop_init(&loop) == 0 && mailbox_init(&mailbox, &loop) == 0);
    assert(unix_listen(&listener, control_path, SOCKET_OWN(0600), NULL) == 0);
    assert(state_open(&state, host_dir, NULL) == 0 && state_start(state, &mailbox, NULL) == 0);
    registry_opts.state = state;
    assert(registry_init(&registry, &registry_opts) == 0);
    methods = (struct methods){.registry = &registry, .shutdown = on_shutdown};
    assert(control_start(&control, &control_opts, NULL) == 0);
    become_client();
}

/* ---- answers ---- */

static void check_answer(const char *line, size_t len)
{
    json_t *answer = json_loadb(line, len, 0, NULL);
    json_int_t id = json_integer_value(json_object_get(answer, "id"));

    assert(json_object_size(answer) == 3 && id > 0 && id <= asked);
    assert(json_is_object(json_object_get(answer, "result")) ||
           json_is_object(json_object_get(answer, "error")));
    answered++;
    if (id == wanted) {
        wanted_answer = answer;
    } else {
        json_decref(answer);
    }
}

static void take_answers(void)
{
    ssize_t got =
        recv(client, answers + answers_used, sizeof(answers) - answers_used, MSG_DONTWAIT);
    char *line = answers;
    char *end;

    assert(got > 0 || (got < 0 && errno == EAGAIN));
    answers_used += got > 0 ? (size_t)got : 0;
    assert(answers_used < sizeof(answers));
    while ((end = memchr(line, '\n', answers_used - (size_t)(line - answers)))) {
        check_answer(line, (size_t)(end - line));
        line = end + 1;
    }
    answers_used -= (size_t)(line - answers);
    memmove(answers, line, answers_used);
}

void host_turn(void)
{
    static uint64_t watched_ns;
    uint64_t now = now_ns();

    (void)uv_run(&loop, UV_RUN_NOWAIT);
    if (now - watched_ns >= RINGERS_NS) {
        (void)ringers_watch();
        watched_ns = now;
    }
    take_answers();
}

void host_turn_until(uint64_t deadline_ns)
{
    assert(now_ns() < deadline_ns);
    host_turn();
    (void)usleep(50);
}

/* ---- questions ---- */

static void host_wait(json_int_t until)
{
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;

    while (answered < until) {
        host_turn_until(deadline_ns);
    }
}

void host_ask(const char *method, const char *params)
{
    char line[1024];
    int len;

    if (asked >= answered + ASKED_MAX) {
        host_settle();
    }
    len = snprintf(line, sizeof(line),
                   "{\"jsonrpc\": \"2.0\", \"id\": %lld, \"method\": \"%s\", \"params\": %s}\n",
                   (long long)++asked, method, params);
    assert(len > 0 && (size_t)len < sizeof(line));
    assert(send(client, line, (size_t)len, MSG_NOSIGNAL) == len);
    host_turn();
}

void host_settle(void)
{
    host_wait(asked);
}

json_t *host_call(const char *method, const char *params, bool may_not_fail)
{
    json_t *result;

    wanted = asked + 1;
    wanted_answer = NULL;
    host_ask(method, params);
    host_settle();
    assert(wanted_answer);
    result = json_incref(json_object_get(wanted_answer, "result"));
    if (!result && (may_not_fail || getenv("FUZZ_LOG"))) {
        (void)fprintf(
            stderr, "%s %s: %s\n", method, params,
            json_string_value(json_object_get(json_object_get(wanted_answer, "error"), "message")));
    }
    json_decref(wanted_answer);
    wanted = 0;
    return result;
}

unsigned host_disks(void)
{
    unsigned count = 0;

    for (const struct disk *disk = registry.disks; disk; disk = disk->next) {
        count++;
    }
    return count;
}

unsigned host_ending(void)
{
    unsigned count = registry.op_count;

    for (const struct disk *disk = registry.dying; disk; disk = disk->next) {
        count++;
    }
    return count;
}
