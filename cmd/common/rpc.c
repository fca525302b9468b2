/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/common/rpc.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/common/command.h"
#include "core/base/text.h"
#include "daemon/json_memory.h"
#include "daemon/protocol.h"

/* How long the daemon may take to accept, and to read what was sent. */
#define SEND_SECONDS 10

/* An answer may be large, `list` of a thousand disks; past this it is none of vblkd's. */
#define ANSWER_BYTES_MAX (256u << 20)

/* What has come by the deadline is read after it, as we may have been stopped; but not for ever. */
#define LINGER_MS 1000

/* A signal may come just before the call that it would end. */
#define INTERRUPT_MS 200

/* connect does not tell; no vblkd would take such a path either. */
static bool is_something_else(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && !S_ISSOCK(st.st_mode);
}

static int refuse_connect(const char *path, struct err *err)
{
    int code = -errno;
    char quoted[TEXT_QUOTED_BYTES];

    if (code == -ENOTDIR || (code == -ECONNREFUSED && is_something_else(path))) {
        (void)err_say(err, -ENOTSOCK, "no vblkd answers on %s: %s; name another by --control", path,
                      code == -ENOTDIR ? "that is not in a directory" : "it is no socket");
        return STATUS_NO_DAEMON;
    }
    switch (-code) {
    case ENOENT:
    case ECONNREFUSED:
        (void)err_set(err, code, "no vblkd answers on %s", path);
        err_hint(err, "start one with: vblkd --control %s, or name another by --control",
                 text_quote(path, quoted));
        return STATUS_NO_DAEMON;
    case EAGAIN:
        (void)err_say(err, code, "vblkd does not accept connections on %s, it may hang", path);
        return STATUS_REFUSED;
    case EACCES:
        (void)err_set(err, code, "cannot connect to %s", path);
        err_hint(err, "run as the user that vblkd runs as, or as root");
        return STATUS_REFUSED;
    default:
        (void)err_set(err, code, "cannot connect to %s", path);
        return STATUS_REFUSED;
    }
}

int rpc_open(struct rpc *rpc, const char *path, struct err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = SEND_SECONDS};
    int status;

    memset(rpc, 0, sizeof(*rpc));
    rpc->path = path;
    if (strlen(path) >= sizeof(addr.sun_path)) {
        (void)err_say(err, -ENAMETOOLONG, "%s is too long for a socket", path);
        return STATUS_USAGE;
    }
    memcpy(addr.sun_path, path, strlen(path) + 1);
    rpc->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (rpc->fd < 0) {
        (void)err_set(err, -errno, "socket");
        return STATUS_REFUSED;
    }
    (void)setsockopt(rpc->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(rpc->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        status = refuse_connect(path, err);
        close(rpc->fd);
        return status;
    }
    return STATUS_OK;
}

void rpc_close(struct rpc *rpc)
{
    close(rpc->fd);
    free(rpc->input);
}

static int refuse_no_memory(struct err *err)
{
    (void)err_say(err, -ENOMEM, "no memory for the answer; what was asked for may be done");
    return STATUS_REFUSED;
}

static int send_all(struct rpc *rpc, const char *text, size_t len, struct err *err)
{
    while (len > 0) {
        ssize_t sent = send(rpc->fd, text, len, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0 && errno == EAGAIN) {
            (void)err_say(err, -EAGAIN, "vblkd on %s does not read, it may hang", rpc->path);
            return STATUS_REFUSED;
        }
        if (sent < 0) {
            return 0; /* it may have said why before it closed: the answer is looked for */
        }
        text += sent;
        len -= (size_t)sent;
    }
    return STATUS_OK;
}

static int make_room(struct rpc *rpc)
{
    size_t room = rpc->room ? rpc->room * 2 : 65536;
    char *input;

    if (rpc->used < rpc->room) {
        return 0;
    }
    if (room > ANSWER_BYTES_MAX) {
        return -EMSGSIZE;
    }
    input = realloc(rpc->input, room);
    if (!input) {
        return -ENOMEM;
    }
    rpc->input = input;
    rpc->room = room;
    return 0;
}

/* Returns 0 when there is something to be received. */
static int await_input(const struct rpc *rpc, uint64_t deadline_ns)
{
    struct pollfd pollfd = {.fd = rpc->fd, .events = POLLIN};

    do {
        uint64_t now = now_ns();
        int wait_ms = now < deadline_ns ? (int)((deadline_ns - now) / NS_PER_MS) + 1 : 0;
        int ready = poll(&pollfd, 1, rpc->is_interrupted ? min_of(wait_ms, INTERRUPT_MS) : wait_ms);

        if (rpc->is_interrupted && *rpc->is_interrupted) {
            return -ECANCELED;
        }
        if (ready == 0 && now_ns() >= deadline_ns) {
            return -ETIMEDOUT;
        }
    } while (!(pollfd.revents & (POLLIN | POLLHUP | POLLERR)));
    return 0;
}

/*
 * Returns > 0 when more came, 0 at the end, -errno; -ETIMEDOUT past the deadline, -ECANCELED after
 * an interruption, -EMSGSIZE and -ENOMEM where there is no room for it.
 */
static ssize_t receive(struct rpc *rpc, uint64_t deadline_ns)
{
    ssize_t count = make_room(rpc);

    if (count == 0) {
        count = await_input(rpc, deadline_ns);
    }
    if (count < 0) {
        return count;
    }
    count = recv(rpc->fd, rpc->input + rpc->used, rpc->room - rpc->used, 0);
    if (count > 0) {
        rpc->used += (size_t)count;
    }
    return count < 0 ? -errno : count;
}

/* Returns the exit status.  `wait_ms`: how long it was waited for. */
static int refuse_receive(const struct rpc *rpc, ssize_t code, unsigned wait_ms, struct err *err)
{
    switch (code) {
    case -ETIMEDOUT:
        (void)err_say(err, -ETIMEDOUT, "vblkd on %s does not answer within %.1f s, it may hang",
                      rpc->path, wait_ms / 1000.0);
        return STATUS_REFUSED;
    case -ECANCELED:
        (void)err_say(err, -ECANCELED, "interrupted");
        return STATUS_REFUSED;
    case -EMSGSIZE:
        (void)err_say(err, -EMSGSIZE,
                      "what listens on %s sends an answer of more than %u MiB, as vblkd does not",
                      rpc->path, ANSWER_BYTES_MAX >> 20);
        return STATUS_REFUSED;
    case -ENOMEM:
        return refuse_no_memory(err);
    default:
        (void)err_say(err, -ECONNRESET, "vblkd on %s closed the connection", rpc->path);
        return STATUS_NO_DAEMON;
    }
}

/* Of the first line, which does not end before `seen`; NULL: it has no end yet. */
static char *find_end(const struct rpc *rpc, size_t seen)
{
    return rpc->used > seen ? memchr(rpc->input + seen, '\n', rpc->used - seen) : NULL;
}

/* The next line as JSON, NULL when it is none. */
static int read_answer(struct rpc *rpc, uint64_t deadline_ns, unsigned wait_ms, json_t **answer,
                       struct err *err)
{
    uint64_t end_ns = UINT64_MAX;
    size_t seen = 0;
    char *end;

    while (!(end = find_end(rpc, seen))) {
        ssize_t count;

        seen = rpc->used;
        count = receive(rpc, deadline_ns);
        if (now_ns() > deadline_ns) {
            end_ns = min_of(end_ns, now_ns() + LINGER_MS * NS_PER_MS);
        }
        if (now_ns() > end_ns) {
            count = -ETIMEDOUT;
        }
        if (count <= 0 && count != -EINTR) {
            return refuse_receive(rpc, count, wait_ms, err);
        }
    }
    *answer = json_loadb(rpc->input, (size_t)(end - rpc->input), 0, NULL);
    rpc->used -= (size_t)(end + 1 - rpc->input);
    memmove(rpc->input, end + 1, rpc->used);
    return STATUS_OK;
}

/* What is refused before the request was read has no id. */
static bool is_ours(const struct rpc *rpc, const json_t *answer)
{
    const json_t *id = json_object_get(answer, "id");

    return (json_is_integer(id) && json_integer_value(id) == rpc->last_id) ||
           (json_is_null(id) && json_object_get(answer, "error"));
}

static bool is_notification(const json_t *line)
{
    return json_object_get(line, "method") && !json_object_get(line, "id");
}

/* As read_answer; what the daemon says without being asked is for nobody. */
static int skip_to_answer(struct rpc *rpc, uint64_t deadline_ns, unsigned wait_ms, json_t **answer,
                          struct err *err)
{
    int status;

    do {
        json_decref(*answer);
        *answer = NULL;
        status = read_answer(rpc, deadline_ns, wait_ms, answer, err);
    } while (status == STATUS_OK && is_notification(*answer));
    return status;
}

/* Take the answer apart.  Takes over nothing. */
static int open_answer(const struct rpc *rpc, const json_t *answer, json_t **result,
                       struct err *err)
{
    const json_t *error = json_object_get(answer, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    json_int_t code = json_integer_value(json_object_get(error, "code"));

    if (message && is_ours(rpc, answer)) {
        (void)err_say(err, code == RPC_INVALID_PARAMS ? -EINVAL : -EIO, "%s", message);
        return code == RPC_INVALID_PARAMS ? STATUS_USAGE : STATUS_REFUSED;
    }
    *result = is_ours(rpc, answer) ? json_incref(json_object_get(answer, "result")) : NULL;
    if (!*result) {
        (void)err_say(err, -EPROTO, "what listens on %s does not speak as vblkd does", rpc->path);
        return STATUS_REFUSED;
    }
    return STATUS_OK;
}

int rpc_call(struct rpc *rpc, const char *method, json_t *params, unsigned wait_ms, json_t **result,
             struct err *err)
{
    uint64_t deadline_ns = now_ns() + wait_ms * NS_PER_MS;
    json_auto_t *request = json_pack("{s:s, s:I, s:s, s:O}", "jsonrpc", "2.0", "id", ++rpc->last_id,
                                     "method", method, "params", params);
    json_auto_t *answer = NULL;
    char *text = json_dumps(request, JSON_COMPACT);
    int status;

    if (!text || json_memory_failures() > 0) {
        (void)err_say(err, -ENOMEM, "out of memory, nothing was asked");
        json_memory_free(text);
        return STATUS_REFUSED;
    }
    status = send_all(rpc, text, strlen(text), err);
    json_memory_free(text);
    if (status == STATUS_OK) {
        status = send_all(rpc, "\n", 1, err);
    }
    if (status == STATUS_OK) {
        status = skip_to_answer(rpc, deadline_ns, wait_ms, &answer, err);
    }
    if (status == STATUS_OK && json_memory_failures() > 0) {
        return refuse_no_memory(err);
    }
    return status == STATUS_OK ? open_answer(rpc, answer, result, err) : status;
}

bool rpc_wait_ended(struct rpc *rpc, unsigned wait_ms, json_t **params)
{
    uint64_t deadline_ns = now_ns() + wait_ms * NS_PER_MS;
    int status;

    *params = NULL;
    do {
        json_auto_t *line = NULL;
        const char *method;

        status = read_answer(rpc, deadline_ns, wait_ms, &line, NULL);
        method = json_string_value(json_object_get(line, "method"));
        if (!*params && method && strcmp(method, PROTOCOL_ENDED) == 0) {
            *params = json_incref(json_object_get(line, "params"));
        }
    } while (status == STATUS_OK);
    return status == STATUS_NO_DAEMON;
}
