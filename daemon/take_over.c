/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* struct ucred */
#include "daemon/take_over.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/given_json.h"
#include "daemon/protocol.h"
#include "daemon/state_table.h"

/* The other one freezes its disks first, and waits for its table to be written. */
#define ANSWER_MORE_MS 20000u
#define PARCEL_MS 10000u
#define WORD_MS 10000u

/* ---- the question ---- */

/*
 * All that we are to be comes from there: the settings, and files that we write to.  As the one
 * that answers asks the same (hand_over.c), nobody is refused who was not before. Source: unix(7),
 * SO_PEERCRED: whoever called listen.
 */
static int check_listener(int fd, const char *path, struct err *err)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
        return err_set(err, -errno, "who listens at %s", path);
    }
    return peer.uid == geteuid()
               ? 0
               : err_say(err, -EPERM,
                         "who listens at %s runs as user %u, and the new vblkd as user %u: upgrade "
                         "it as that user",
                         path, (unsigned)peer.uid, (unsigned)geteuid());
}

static int connect_to(const char *path, struct err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int ret;

    if (fd < 0) {
        return err_set(err, -errno, "no socket");
    }
    if (strlen(path) >= sizeof(addr.sun_path)) {
        close(fd);
        return err_say(err, -ENAMETOOLONG, "%s: is no path of a socket", path);
    }
    memcpy(addr.sun_path, path, strlen(path) + 1);
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        ret = err_set(err, -errno, "no vblkd answers at %s", path);
    } else {
        ret = check_listener(fd, path, err);
    }
    if (ret < 0) {
        close(fd);
        return ret;
    }
    return fd;
}

/* A byte at a time, as what follows the line is no text. */
static int read_line(int sock, unsigned timeout_ms, char *line, size_t size)
{
    uint64_t end_ns = now_ns() + timeout_ms * NS_PER_MS;
    size_t used = 0;

    while (used + 1 < size) {
        uint64_t now = now_ns();
        int got = parcel_hear(sock, now < end_ns ? (unsigned)((end_ns - now) / NS_PER_MS) : 0);

        if (got < 0) {
            return got;
        }
        if (got == '\n') {
            line[used] = '\0';
            return 0;
        }
        line[used++] = (char)got;
    }
    return -EPROTO;
}

static int read_answer(const char *line, pid_t *pid, struct err *err)
{
    json_auto_t *answer = json_loads(line, 0, NULL);
    const json_t *error = json_object_get(answer, "error");
    const json_t *message = json_object_get(error, "message");
    const json_t *result = json_object_get(answer, "result");

    if (json_is_string(message)) {
        int code = (int)json_integer_value(json_object_get(error, "code"));

        if (code == RPC_METHOD_NOT_FOUND) {
            return err_say(err, -ENOTSUP,
                           "the vblkd that runs is of a version that hands nothing over: restart "
                           "it instead");
        }
        return err_say(err, -ECANCELED, "%s", json_string_value(message));
    }
    if (!json_is_object(result)) {
        return err_say(err, -EPROTO, "what answers is no vblkd");
    }
    *pid = (pid_t)json_integer_value(json_object_get(result, "pid"));
    return 0;
}

static int ask(struct take_over *take, unsigned timeout_ms, struct err *err)
{
    char line[PROTOCOL_LINE_MAX];
    int len = snprintf(line, sizeof(line),
                       "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.hand_over\","
                       "\"params\":{\"version\":%d,\"timeout_ms\":%u}}\n",
                       GIVEN_VERSION, timeout_ms);
    int ret;

    if (send(take->sock, line, (size_t)len, MSG_NOSIGNAL) != len) {
        return err_set(err, -errno, "the vblkd that runs");
    }
    ret = read_line(take->sock, timeout_ms + ANSWER_MORE_MS, line, sizeof(line));
    if (ret < 0) {
        return err_set(err, ret, "the vblkd that runs does not answer");
    }
    return read_answer(line, &take->before, err);
}

/* ---- the answer ---- */

static int damaged(struct err *err, const char *what)
{
    return err_say(err, -EPROTO, "what the vblkd that runs says of %s is not of version %d", what,
                   GIVEN_VERSION);
}

static int read_disks(struct take_over *take, const json_t *disks, struct err *err)
{
    take->disk = calloc(json_array_size(disks) + 1, sizeof(*take->disk));
    if (!take->disk) {
        return err_set(err, -ENOMEM, "disks");
    }
    for (; take->count < json_array_size(disks); take->count++) {
        if (given_read_disk(&take->parcel, json_array_get(disks, take->count),
                            &take->disk[take->count]) < 0) {
            return damaged(err, "a disk");
        }
    }
    return 0;
}

static int read_admission(const json_t *list, struct admission *admission)
{
    *admission = (struct admission){0};
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_int_t id;
        int is_group, rights;

        if (i == ADMISSIONS_MAX || json_unpack(json_array_get(list, i), "{s:I, s:b, s:i}", "id",
                                               &id, "group", &is_group, "rights", &rights) < 0) {
            return -EPROTO;
        }
        admission->list[i].id = (id_t)id;
        admission->list[i].is_group = is_group;
        admission->list[i].rights = (enum rights)rights;
        admission->count++;
    }
    return 0;
}

static void use_std(struct take_over *take, const json_t *list)
{
    take->report = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    take->errors = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++) {
        int fd = given_take_fd(&take->parcel, json_array_get(list, (size_t)i));

        if (fd >= 0) {
            (void)dup2(fd, i);
            close(fd);
        }
    }
}

static void use_environment(const char *name, const char *value)
{
    if (value[0]) {
        (void)setenv(name, value, 1);
    } else {
        (void)unsetenv(name);
    }
}

static void use_directory(struct take_over *take, const json_t *number)
{
    int fd = given_take_fd(&take->parcel, number);

    if (fd >= 0) {
        (void)!fchdir(fd); /* paths are absolute; it is for what a person sees */
        close(fd);
    }
}

static int use_settings(struct take_over *take, const json_t *json, struct daemon_opts *opts,
                        struct err *err)
{
    int level, sandbox, mask;
    const char *notify, *journal;
    json_t *admission, *cwd, *std;

    if (json_unpack((json_t *)json, "{s:s, s:s, s:s, s:i, s:i, s:o, s:i, s:s, s:s, s:o, s:o}",
                    "control", &opts->control_path, "socket_dir", &opts->socket_dir, "state_dir",
                    &opts->state_dir, "log_level", &level, "sandbox", &sandbox, "admission",
                    &admission, "umask", &mask, "notify", &notify, "journal", &journal, "cwd", &cwd,
                    "std", &std) < 0 ||
        read_admission(admission, &opts->admission) < 0) {
        return damaged(err, "its settings");
    }
    opts->level = (enum log_level)level;
    opts->sandbox_mode = (enum sandbox_mode)sandbox;
    (void)umask((mode_t)mask);
    use_environment("NOTIFY_SOCKET", notify);
    use_environment("JOURNAL_STREAM", journal);
    use_directory(take, cwd);
    use_std(take, std);
    return 0;
}

static int read_all(struct take_over *take, struct daemon_opts *opts, struct err *err)
{
    json_t *settings, *listener, *dir, *lock, *disks;
    int version;

    take->all = json_loadb(take->parcel.text, take->parcel.bytes, 0, NULL);
    if (json_unpack(take->all, "{s:i, s:o, s:o, s:o, s:o, s:o}", "version", &version, "settings",
                    &settings, "listener", &listener, "state_dir", &dir, "state_lock", &lock,
                    "disks", &disks) < 0 ||
        version != GIVEN_VERSION) {
        return damaged(err, "itself");
    }
    if (given_read_listener(&take->parcel, listener, &take->listener) < 0) {
        return damaged(err, "its control socket");
    }
    take->dir_fd = given_take_fd(&take->parcel, dir);
    take->lock_fd = given_take_fd(&take->parcel, lock);
    if (take->listener.fd < 0 || take->dir_fd < 0 || take->lock_fd < 0) {
        return damaged(err, "its locks");
    }
    if (read_disks(take, disks, err) < 0) {
        return err->code;
    }
    return use_settings(take, settings, opts, err);
}

int take_over_begin(struct take_over *take, const char *control_path, unsigned timeout_ms,
                    struct daemon_opts *opts, struct err *err)
{
    int ret;

    *take = (struct take_over){.report = -1, .errors = -1};
    take->sock = connect_to(control_path, err);
    if (take->sock < 0) {
        return take->sock;
    }
    ret = ask(take, timeout_ms, err);
    if (ret == 0) {
        ret = parcel_receive(take->sock, &take->parcel, PARCEL_MS);
        ret = ret < 0 ? err_set(err, ret, "what the vblkd that runs has") : 0;
    }
    if (ret == 0) {
        ret = read_all(take, opts, err);
    }
    opts->take_over = take;
    return ret;
}

/* A table has none of those: they are known by what came beside it. */
static void mark_transient(const struct take_over *take, struct disk_record *records, size_t count)
{
    for (size_t i = 0; i < take->count; i++) {
        for (size_t j = 0; j < count && take->disk[i].is_transient; j++) {
            if (strcmp(records[j].config.name, take->disk[i].name) == 0) {
                records[j].config.no_persist = true;
            }
        }
    }
}

int take_over_state(struct take_over *take, const struct daemon_opts *opts, struct state **state,
                    struct disk_record **records, size_t *count, struct err *err)
{
    const char *table = json_string_value(json_object_get(take->all, "table"));
    int ret = state_take(state, opts->state_dir, take->dir_fd, take->lock_fd, err);

    if (ret == 0) {
        ret = table ? state_table_parse("its table", table, strlen(table), records, count, err)
                    : damaged(err, "its table");
    }
    if (ret == 0) {
        mark_transient(take, *records, *count);
    }
    return ret;
}

/* ---- the end ---- */

int take_over_commit(struct take_over *take, struct err *err)
{
    int ret;

    for (size_t i = 0; i < take->count; i++) {
        const struct plane_given *disk = &take->disk[i];

        if (disk->err.code < 0) {
            return err_say(err, disk->err.code, "%s: %s", disk->name,
                           err_text_after(&disk->err, disk->name));
        }
        if (!disk->is_ready) { /* its image does not open, say */
            return err_say(err, -ETIMEDOUT, "%s: does not become ready", disk->name);
        }
    }
    ret = parcel_say(take->sock, HAND_OVER_READY, WORD_MS);
    if (ret == 0) {
        ret = parcel_hear(take->sock, WORD_MS);
    }
    if (ret != HAND_OVER_GO) {
        return err_say(err, ret < 0 ? ret : -EPROTO,
                       "the vblkd that runs keeps its disks, see its log");
    }
    /* Who has said so has them no more, even if it is there no longer to hear that. */
    (void)parcel_say(take->sock, HAND_OVER_GONE, WORD_MS);
    return 0;
}

static uint64_t paused_for(const struct take_over *take)
{
    uint64_t now = now_ns();
    uint64_t since = now;

    for (size_t i = 0; i < take->count; i++) {
        since = min_of(since, take->disk[i].paused_ns);
    }
    return now - since;
}

static void close_report(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void take_over_done(struct take_over *take)
{
    double ms = (double)paused_for(take) / NS_PER_MS;
    char text[160];

    (void)snprintf(text, sizeof(text), "%zu disk%s went from process %d to %d, paused for %.1f ms",
                   take->count, take->count == 1 ? "" : "s", (int)take->before, (int)getpid(), ms);
    log_info("daemon: %s", text);
    (void)!dprintf(take->report, /* whoever reads it may have gone */
                   "{\"disks\":%zu,\"from\":%d,\"to\":%d,\"paused_us\":%.0f}\n", take->count,
                   (int)take->before, (int)getpid(), ms * 1e3);
    close_report(&take->report);
    close_report(&take->errors);
    close(take->sock);
    for (size_t i = 0; i < take->count; i++) {
        plane_given_fini(&take->disk[i], true);
    }
    free(take->disk);
    take->disk = NULL;
    take->count = 0;
    parcel_fini(&take->parcel);
}

void take_over_failed(struct take_over *take, const struct err *err)
{
    if (take->errors >= 0) {
        (void)!dprintf(take->errors, "vblkd: %s\n", err->text);
    } else {
        log_plain("vblkd: %s", err->text);
    }
}
