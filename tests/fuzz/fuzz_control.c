/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The control socket with all that is behind it: lines, JSON, parameters, methods, disks on
 * threads of their own, the state file.  The input is what a client sends.  Every request must be
 * answered once, every answer must be whole, the connection must end, and the state file must be
 * that of the disks that are there.
 *
 * Files are kept from the fuzzer by the linker: images are null, sockets lie in one directory.
 */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/log.h"
#include "daemon/call.h"
#include "daemon/disk_ask.h"
#include "daemon/json_memory.h"
#include "daemon/methods.h"
#include "daemon/registry_life.h"

#define PATIENCE_NS (20 * NS_PER_S)
#define ANSWER_BYTES (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The linker sends what is called NAME to __wrap_NAME, and __real_NAME to NAME. */
int __real_image_open(struct image **out, const struct image_opts *opts, struct err *err);
int __wrap_image_open(struct image **out, const struct image_opts *opts, struct err *err);
int __real_unix_listen(struct unix_listener *listener, const char *path,
                       const struct socket_rights *rights, struct err *err);
int __wrap_unix_listen(struct unix_listener *listener, const char *path,
                       const struct socket_rights *rights, struct err *err);
int __real_unlink(const char *path);
int __wrap_unlink(const char *path);

static char dir[64];
static char path[80];
static struct mailbox mailbox;
static uv_loop_t loop;
static struct unix_listener listener;
static struct control control;
static struct state *state;
static struct registry registry;
static struct methods methods;
static char answers[ANSWER_BYTES];
static unsigned lines;
static unsigned answered_lines; /* of those, that must be answered */

static bool is_ours(const char *name)
{
    size_t len = strlen(dir);

    return strncmp(name, dir, len) == 0 && name[len] == '/' && !strstr(name, "..") &&
           !strchr(name + len + 1, '/');
}

int __wrap_image_open(struct image **out, const struct image_opts *opts, struct err *err)
{
    struct image_opts null = *opts;

    if (strcmp(opts->type, "file") == 0) {
        if (opts->path[1] == '!') {
            return err_say(err, -ENOENT, "cannot open %s", opts->path);
        }
        null = (struct image_opts){
            .type = "null", .size = opts->create ? opts->size : 1 << 20, .max_inflight = 16};
    }
    return __real_image_open(out, &null, err);
}

int __wrap_unix_listen(struct unix_listener *l, const char *name,
                       const struct socket_rights *rights, struct err *err)
{
    if (!is_ours(name)) {
        l->fd = -1;
        l->lock_fd = -1;
        return err_say(err, -EACCES, "cannot bind %s", name);
    }
    return __real_unix_listen(l, name, rights, err);
}

int __wrap_unlink(const char *name)
{
    return is_ours(name) ? __real_unlink(name) : 0;
}

/* What is no object, or has an id, is answered in any case. */
static bool is_answered(const char *line, size_t len)
{
    json_auto_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);

    return !json_is_object(request) || json_object_get(request, "id");
}

static void on_line(struct client *client, const char *line, size_t len, void *arg)
{
    lines++;
    answered_lines += is_answered(line, len);
    call_line(client, line, len, methods_run, &methods);
}

/* There is no end here, so nobody is to wait for how it went. */
static void on_shutdown(void *arg)
{
    for (struct client *client = control.clients; client; client = client->next) {
        client->awaits_end = false;
    }
}

static void remove_files(void)
{
    static const char *const names[] = {"control", "control.lock", "lock", "disks.json",
                                        "disks.json.new"};
    char name[128];

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        (void)snprintf(name, sizeof(name), "%s/%s", dir, names[i]);
        (void)__real_unlink(name);
    }
    (void)rmdir(dir);
}

static void set_up(void)
{
    struct registry_opts registry_opts = {.loop = &loop,
                                          .mailbox = &mailbox,
                                          .socket_dir = dir,
                                          .control_path = path,
                                          .open_ms = PROTOCOL_OPEN_MS};
    static const struct admission admission;
    struct control_opts control_opts = {.loop = &loop,
                                        .listener = &listener,
                                        .line = on_line,
                                        .gone = call_forget_client,
                                        .admission = &admission};

    (void)snprintf(dir, sizeof(dir), "/tmp/vblk-fuzz-control-XXXXXX");
    assert(mkdtemp(dir));
    atexit(remove_files);
    (void)snprintf(path, sizeof(path), "%s/control", dir);
    log_set_level(LOG_LEVEL_ERROR);
    json_memory_install();
    assert(uv_loop_init(&loop) == 0 && mailbox_init(&mailbox, &loop) == 0);
    assert(__real_unix_listen(&listener, path, SOCKET_OWN(0600), NULL) == 0);
    assert(state_open(&state, dir, NULL) == 0 && state_start(state, &mailbox, NULL) == 0);
    registry_opts.state = state;
    assert(registry_init(&registry, &registry_opts) == 0);
    methods = (struct methods){.registry = &registry, .shutdown = on_shutdown};
    assert(control_start(&control, &control_opts, NULL) == 0);
}

static void turn(uint64_t deadline_ns)
{
    assert(now_ns() < deadline_ns); /* somebody waits for ever */
    (void)uv_run(&loop, UV_RUN_NOWAIT);
}

/* One line of an answer. */
static void check_answer(const char *line, size_t len)
{
    json_auto_t *answer = json_loadb(line, len, 0, NULL);
    const json_t *error = json_object_get(answer, "error");

    assert(json_object_size(answer) == 3);
    assert(strcmp(json_string_value(json_object_get(answer, "jsonrpc")), "2.0") == 0);
    assert(json_object_get(answer, "id"));
    if (error) {
        assert(json_is_integer(json_object_get(error, "code")));
        assert(json_string_length(json_object_get(error, "message")) > 0);
    } else {
        assert(json_is_object(json_object_get(answer, "result")));
    }
}

/* A client that is dropped, as it has too much to read, is owed nothing. */
static void check_answers(size_t len)
{
    const char *line = answers;
    const char *end;
    unsigned count = 0;

    while ((end = memchr(line, '\n', len - (size_t)(line - answers)))) {
        check_answer(line, (size_t)(end - line));
        line = end + 1;
        count++;
    }
    if (len < PROTOCOL_BACKLOG_MAX / 2) {
        assert(line == answers + len);
        assert(count >= answered_lines && count <= lines + 1); /* one says why it ends */
    }
}

/* Send all, say that it is all, and take what comes until the connection is closed. */
static size_t talk(int client, const uint8_t *data, size_t size)
{
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;
    size_t used = 0;
    ssize_t got;

    do {
        ssize_t sent = size > 0 ? send(client, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;

        if (sent < 0 && errno != EAGAIN) {
            size = 0; /* it was closed on us: its last words are still there */
        } else if (sent > 0) {
            data += sent;
            size -= (size_t)sent;
        }
        if (size == 0) {
            (void)shutdown(client, SHUT_WR);
        }
        turn(deadline_ns);
        got = recv(client, answers + used, sizeof(answers) - used, MSG_DONTWAIT);
        used += got > 0 ? (size_t)got : 0;
        assert(used < sizeof(answers));
    } while (got > 0 || (got < 0 && errno == EAGAIN));
    return used;
}

static size_t count_kept(void)
{
    size_t count = 0;

    for (const struct disk *disk = registry.disks; disk; disk = disk->next) {
        count += disk->is_kept && !disk->is_removing;
    }
    return count;
}

static void check_state_file(void)
{
    struct disk_record *records;
    size_t count;

    assert(!keeper_is_dirty(&registry.keeper));
    assert(state_read(state, &records, &count, NULL) == 0);
    assert(count == count_kept());
    free(records);
}

static void remove_disks(void)
{
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;

    for (struct disk *disk = registry.disks; disk; disk = disk->next) {
        (void)disk_remove(disk, true, 1000, NULL, NULL, NULL);
    }
    while (registry.disks || registry.dying || registry.ops || control.client_count > 0) {
        turn(deadline_ns);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    uint64_t deadline_ns;
    int client;

    if (!dir[0]) {
        set_up();
    }
    lines = 0;
    answered_lines = 0;
    strcpy(addr.sun_path, path);
    client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(client >= 0 && connect(client, (struct sockaddr *)&addr, sizeof(addr)) == 0);
    check_answers(talk(client, data, size));
    close(client);
    deadline_ns = now_ns() + PATIENCE_NS;
    while (registry.ops) {
        turn(deadline_ns);
    }
    check_state_file();
    remove_disks();
    check_state_file();
    return 0;
}
