/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/rpc.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/ctl/command.h"
#include "daemon/protocol.h"

/* How long the daemon may take to accept, and to read what was sent. */
#define SEND_SECONDS 10

/* An answer may be large, `list` of a thousand disks; past this it is none of vblkd's. */
#define ANSWER_BYTES_MAX (256u << 20)

static int refuse_connect(const char *path, struct err *err)
{
    int code = -errno;

    switch (-code) {
    case ENOENT:
    case ECONNREFUSED:
    case ENOTSOCK:
    case ENOTDIR:
        (void)err_set(err, code, "no vblkd answers on %s", path);
        err_hint(err, "start one with: vblkd --control %s, or name another by --control", path);
        return STATUS_NO_DAEMON;
    case EAGAIN:
        (void)err_say(err, code, "vblkd does not accept connections on %s, it may hang", path);
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

static int refuse_lost(const struct rpc *rpc, struct err *err)
{
    (void)err_say(err, -ECONNRESET, "vblkd on %s closed the connection", rpc->path);
    return STATUS_NO_DAEMON;
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

static bool make_room(struct rpc *rpc)
{
    size_t room = rpc->room ? rpc->room * 2 : 65536;
    char *input;

    if (rpc->used < rpc->room) {
        return true;
    }
    input = room <= ANSWER_BYTES_MAX ? realloc(rpc->input, room) : NULL;
    if (!input) {
        return false;
    }
    rpc->input = input;
    rpc->room = room;
    return true;
}

/* Returns > 0 when more came, 0 at the end, -errno; -ETIMEDOUT past the deadline. */
static ssize_t receive(struct rpc *rpc, uint64_t deadline_ns)
{
    struct pollfd pollfd = {.fd = rpc->fd, .events = POLLIN};
    ssize_t count;

    do {
        uint64_t now = now_ns();
        int wait_ms = now < deadline_ns ? (int)((deadline_ns - now) / NS_PER_MS) + 1 : 0;
        int ready = poll(&pollfd, 1, wait_ms);

        if (ready == 0) {
            return -ETIMEDOUT;
        }
    } while (!(pollfd.revents & (POLLIN | POLLHUP | POLLERR)));
    if (!make_room(rpc)) {
        return -ENOMEM;
    }
    count = recv(rpc->fd, rpc->input + rpc->used, rpc->room - rpc->used, 0);
    if (count > 0) {
        rpc->used += (size_t)count;
    }
    return count < 0 ? -errno : count;
}

/* The next line as JSON, NULL when it is none. */
static int read_answer(struct rpc *rpc, uint64_t deadline_ns, unsigned wait_ms, json_t **answer,
                       struct err *err)
{
    char *end;

    while (!(end = rpc->used ? memchr(rpc->input, '\n', rpc->used) : NULL)) {
        ssize_t count = receive(rpc, deadline_ns);

        if (count == -ETIMEDOUT) {
            (void)err_say(err, -ETIMEDOUT, "vblkd on %s does not answer within %.1f s, it may hang",
                          rpc->path, wait_ms / 1000.0);
            return STATUS_REFUSED;
        }
        if (count <= 0 && count != -EINTR) {
            return refuse_lost(rpc, err);
        }
    }
    *answer = json_loadb(rpc->input, (size_t)(end - rpc->input), 0, NULL);
    rpc->used -= (size_t)(end + 1 - rpc->input);
    memmove(rpc->input, end + 1, rpc->used);
    return STATUS_OK;
}

/* Take the answer apart.  Takes over nothing. */
static int open_answer(const struct rpc *rpc, const json_t *answer, json_t **result,
                       struct err *err)
{
    const json_t *error = json_object_get(answer, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    json_int_t code = json_integer_value(json_object_get(error, "code"));

    if (message) {
        (void)err_say(err, code == RPC_INVALID_PARAMS ? -EINVAL : -EIO, "%s", message);
        return STATUS_REFUSED;
    }
    *result = json_incref(json_object_get(answer, "result"));
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

    if (!text) {
        (void)err_say(err, -ENOMEM, "out of memory");
        return STATUS_REFUSED;
    }
    status = send_all(rpc, text, strlen(text), err);
    free(text);
    if (status == STATUS_OK) {
        status = send_all(rpc, "\n", 1, err);
    }
    if (status == STATUS_OK) {
        status = read_answer(rpc, deadline_ns, wait_ms, &answer, err);
    }
    return status == STATUS_OK ? open_answer(rpc, answer, result, err) : status;
}

bool rpc_wait_closed(struct rpc *rpc, unsigned wait_ms)
{
    uint64_t deadline_ns = now_ns() + wait_ms * NS_PER_MS;
    ssize_t count;

    do {
        rpc->used = 0;
        count = receive(rpc, deadline_ns);
    } while (count > 0 || count == -EINTR);
    return count != -ETIMEDOUT;
}
