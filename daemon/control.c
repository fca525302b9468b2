/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* struct ucred */
#include "daemon/control.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* Between two tries to accept a client when that fails. */
#define ACCEPT_RETRY_MS 100

/* How long clients that do not read may hold up the end of the daemon. */
#define PATIENCE_MS 1000

#define TOO_MANY                                                               \
    "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32000,\"message\":" \
    "\"too many clients are connected\",\"data\":{\"errno\":\"EAGAIN\"}}}"
#define NOT_ALLOWED                                                                               \
    "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32000,\"message\":"                    \
    "\"this user may not connect: only root and the daemon's own user may, and those that vblkd " \
    "was told by --allow-user and --allow-group\",\"data\":{\"errno\":\"EPERM\"}}}"
#define TOO_LONG                                                               \
    "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":" \
    "\"the line is longer than 65536 bytes\"}}"
_Static_assert(PROTOCOL_LINE_MAX == 65536, "said in TOO_LONG");

/* A line on its way out. */
struct output {
    uv_write_t write; /* first */
    struct client *client;
    char text[];
};

/* ---- file descriptors for when there are none ---- */

/*
 * As many as can be had, of what nobody else uses: a copy of the listening socket would keep it
 * alive when another one takes its number, and whoever connects there would wait for ever.
 */
static void keep_spare(struct control *control)
{
    for (unsigned i = 0; i < CONTROL_SPARE_FDS; i++) {
        if (control->spare[i] < 0) {
            control->spare[i] = eventfd(0, EFD_CLOEXEC);
        }
    }
}

/* Returns false when there is none. */
static bool drop_spare(struct control *control)
{
    for (unsigned i = 0; i < CONTROL_SPARE_FDS; i++) {
        if (control->spare[i] >= 0) {
            close(control->spare[i]);
            control->spare[i] = -1;
            return true;
        }
    }
    return false;
}

static void drop_all_spare(struct control *control)
{
    while (drop_spare(control)) {
    }
}

/* ---- the end of a client ---- */

static void check_finished(struct control *control)
{
    if (control->finished && !control->clients) {
        void (*finished)(void *arg) = control->finished;

        control->finished = NULL;
        uv_close((uv_handle_t *)&control->patience, NULL);
        finished(control->opts.arg);
    }
}

static void on_client_closed(uv_handle_t *handle)
{
    struct client *client = containerof((uv_pipe_t *)handle, struct client, pipe);
    struct control *control = client->control;
    struct client **link = &control->clients;

    while (*link != client) {
        link = &(*link)->next;
    }
    *link = client->next;
    control->client_count--;
    free(client);
    if (control->is_listening) {
        keep_spare(control);
    }
    check_finished(control);
}

static void close_client(struct client *client)
{
    if (!client->is_closing) {
        client->is_closing = true;
        client->control->opts.gone(client);
        uv_close((uv_handle_t *)&client->pipe, on_client_closed);
    }
}

/* Whoever asks for the end of the daemon is owed more than the answer: control_finish closes it. */
static bool is_owed_more(const struct client *client)
{
    return !client->is_ending &&
           (!client->is_at_eof || client->call_count > 0 || client->awaits_end);
}

static void close_when_done(struct client *client)
{
    if (!is_owed_more(client) &&
        uv_stream_get_write_queue_size((uv_stream_t *)&client->pipe) == 0) {
        close_client(client);
    }
}

static void stop_reading(struct client *client)
{
    if (client->is_reading) {
        client->is_reading = false;
        (void)uv_read_stop((uv_stream_t *)&client->pipe);
    }
}

/* Say goodbye and take no more. */
static void end_client(struct client *client, const char *text)
{
    stop_reading(client);
    (void)client_send(client, text); /* without memory it sees the end of the connection */
    client->is_ending = true;
    close_when_done(client);
}

/* ---- output ---- */

static void on_written(uv_write_t *write, int status)
{
    struct output *output = containerof(write, struct output, write);
    struct client *client = output->client;

    free(output);
    if (client->is_closing) {
        return; /* the handle is being closed, which ends its writes: the client is still there */
    }
    if (status < 0) {
        close_client(client);
        return;
    }
    close_when_done(client);
}

static bool takes_output(const struct client *client)
{
    return !client->is_closing && !client->is_ending;
}

int client_send(struct client *client, const char *text)
{
    size_t len = strlen(text);
    struct output *output;
    uv_buf_t buf;

    if (!takes_output(client)) {
        return 0;
    }
    /* One answer may be larger than that; a second one then has to wait for a reader. */
    if (uv_stream_get_write_queue_size((uv_stream_t *)&client->pipe) > PROTOCOL_BACKLOG_MAX) {
        log_limited(&client->control->log, LOG_LEVEL_WARN,
                    "control: a client does not read its answers, dropped");
        close_client(client);
        return 0;
    }
    output = malloc(sizeof(*output) + len + 1);
    if (!output) {
        return -ENOMEM;
    }
    output->client = client;
    memcpy(output->text, text, len);
    output->text[len] = '\n';
    buf = uv_buf_init(output->text, (unsigned)len + 1);
    if (uv_write(&output->write, (uv_stream_t *)&client->pipe, &buf, 1, on_written) < 0) {
        free(output);
        close_client(client);
    }
    return 0;
}

void client_send_now(struct client *client, const char *text)
{
    char feed[] = "\n";
    uv_buf_t bufs[] = {uv_buf_init((char *)text, (unsigned)strlen(text)), uv_buf_init(feed, 1)};
    size_t len = bufs[0].len + bufs[1].len;

    log_limited(&client->control->log, LOG_LEVEL_ERROR, "control: no memory for an answer");
    if (takes_output(client) &&
        uv_try_write((uv_stream_t *)&client->pipe, bufs, ARRAY_SIZE(bufs)) != (int)len) {
        close_client(client);
    }
}

/* ---- input ---- */

/* One line, or nothing when none is complete or enough calls are under way. */
static bool consume_line(struct client *client, size_t *start)
{
    const char *line = client->input + *start;
    const char *end = memchr(line, '\n', client->used - *start);

    if (!end || client->is_closing || client->is_ending ||
        client->call_count >= PROTOCOL_CALLS_MAX) {
        return false;
    }
    *start += (size_t)(end - line) + 1;
    client->control->opts.line(client, line, (size_t)(end - line), client->control->opts.arg);
    return true;
}

static void start_reading(struct client *client);

static void consume(struct client *client)
{
    size_t start = 0;

    client->is_consuming = true;
    while (consume_line(client, &start)) {
    }
    client->is_consuming = false;
    if (client->is_closing) {
        return;
    }
    client->used -= start;
    memmove(client->input, client->input + start, client->used);
    if (client->used == sizeof(client->input) && client->call_count < PROTOCOL_CALLS_MAX) {
        end_client(client, TOO_LONG);
    } else if (client->call_count >= PROTOCOL_CALLS_MAX) {
        stop_reading(client);
    } else if (!client->is_at_eof && !client->is_ending) {
        start_reading(client);
    }
    close_when_done(client);
}

int client_peer(const struct client *client, struct ucred *peer)
{
    socklen_t len = sizeof(*peer);
    int fd;
    int ret = uv_fileno((const uv_handle_t *)&client->pipe, &fd);

    if (ret == 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &len) < 0) {
        ret = -errno;
    }
    return ret;
}

int client_lend(struct client *client)
{
    int fd;
    int ret = uv_fileno((const uv_handle_t *)&client->pipe, &fd);

    if (ret < 0) {
        return ret;
    }
    stop_reading(client);
    client->is_lent = true;
    ret = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return ret < 0 ? -errno : ret;
}

void client_close(struct client *client)
{
    close_client(client);
}

void client_call_ended(struct client *client)
{
    if (!client->is_consuming && !client->is_closing) {
        consume(client);
    }
}

/* A peer that has only shut down its sending half still wants its answers. */
static bool has_hung_up(struct client *client)
{
    struct pollfd pollfd = {0};

    (void)uv_fileno((uv_handle_t *)&client->pipe, &pollfd.fd);
    return poll(&pollfd, 1, 0) == 1 && (pollfd.revents & (POLLHUP | POLLERR));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct client *client = containerof((uv_pipe_t *)stream, struct client, pipe);

    if (count > 0) {
        client->used += (size_t)count;
        consume(client);
    } else if (count < 0 && (count != UV_EOF || has_hung_up(client))) {
        close_client(client);
    } else if (count == UV_EOF) {
        stop_reading(client);
        client->is_at_eof = true;
        close_when_done(client);
    }
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct client *client = containerof((uv_pipe_t *)handle, struct client, pipe);

    *buf =
        uv_buf_init(client->input + client->used, (unsigned)(sizeof(client->input) - client->used));
}

static void start_reading(struct client *client)
{
    if (!client->is_reading && !client->is_lent) {
        client->is_reading = true;
        if (uv_read_start((uv_stream_t *)&client->pipe, on_alloc, on_read) < 0) {
            close_client(client);
        }
    }
}

/* ---- clients ---- */

/* Whoever may do less leaves room for those who may do more: see vblkd-protocol(7), "Limits". */
static const unsigned clients_max[] = {
    [RIGHTS_NONE] = 0,
    [RIGHTS_READ] = PROTOCOL_READERS_MAX,
    [RIGHTS_CHANGE] = PROTOCOL_GUESTS_MAX,
    [RIGHTS_OWNER] = PROTOCOL_CLIENTS_MAX,
};

static enum rights rights_of(const struct client *client)
{
    int fd = -1;

    return uv_fileno((const uv_handle_t *)&client->pipe, &fd) == 0
               ? admission_rights(client->control->opts.admission, fd)
               : RIGHTS_NONE;
}

static void welcome(struct client *client)
{
    client->rights = rights_of(client);
    if (client->rights == RIGHTS_NONE) {
        log_limited(&client->control->log, LOG_LEVEL_WARN,
                    "control: a client of a user who is not allowed, refused");
        end_client(client, NOT_ALLOWED);
    } else if (client->control->client_count > clients_max[client->rights]) {
        log_limited(&client->control->log, LOG_LEVEL_WARN, "control: more than %u clients, refused",
                    clients_max[client->rights]);
        end_client(client, TOO_MANY);
    } else {
        start_reading(client);
    }
}

/* Takes over `fd`. */
static void add_client(struct control *control, int fd)
{
    struct client *client = calloc(1, sizeof(*client));

    if (!client) {
        log_limited(&control->log, LOG_LEVEL_ERROR, "control: no memory for a client");
        close(fd);
        return;
    }
    client->control = control;
    client->next = control->clients;
    control->clients = client;
    control->client_count++;
    (void)uv_pipe_init(control->opts.loop, &client->pipe, 0); /* cannot fail */
    if (uv_pipe_open(&client->pipe, fd) < 0) {
        close(fd);
        close_client(client);
        return;
    }
    welcome(client);
}

/* ---- the socket ---- */

static void on_listen(uv_poll_t *poll, int status, int events);

static void on_accept_retry(uv_timer_t *timer)
{
    struct control *control = containerof(timer, struct control, accept_retry);

    (void)uv_poll_start(&control->socket.poll, UV_READABLE, on_listen);
}

/* Without an fd for it, a connection stays in the queue and the socket stays readable. */
static void accept_failed(struct control *control, int code)
{
    if (code == EAGAIN || code == EINTR || code == ECONNABORTED) {
        return;
    }
    log_limited(&control->log, LOG_LEVEL_ERROR, "control: cannot accept a client: %s",
                strerror(code));
    (void)uv_poll_stop(&control->socket.poll);
    (void)uv_timer_start(&control->accept_retry, on_accept_retry, ACCEPT_RETRY_MS, 0);
}

/*
 * libuv's own way to accept is not taken: when all fds are in use, and another thread takes
 * the one that it gives up for such a case, it does not return.
 */
static void on_listen(uv_poll_t *poll, int status, int events)
{
    struct control *control = containerof(poll, struct control, socket.poll);
    int listener = control->opts.listener->fd;
    int fd;

    do {
        fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (fd < 0 && (errno == EMFILE || errno == ENFILE) && drop_spare(control));
    if (fd < 0) {
        accept_failed(control, errno);
    } else {
        add_client(control, fd);
    }
}

int control_start(struct control *control, const struct control_opts *opts, struct err *err)
{
    int ret;

    memset(control, 0, sizeof(*control));
    memset(control->spare, -1, sizeof(control->spare));
    control->opts = *opts;
    keep_spare(control);
    ret = control_socket_start(&control->socket, opts->loop, opts->listener, on_listen, err);
    if (ret < 0) {
        drop_all_spare(control);
        return ret;
    }
    (void)uv_timer_init(opts->loop, &control->accept_retry); /* cannot fail */
    control->is_listening = true;
    return 0;
}

void control_hold(struct control *control, bool on)
{
    if (!control->is_listening) {
        return;
    }
    (void)uv_timer_stop(&control->accept_retry);
    if (on) {
        (void)uv_poll_stop(&control->socket.poll);
    } else {
        (void)uv_poll_start(&control->socket.poll, UV_READABLE, on_listen);
    }
}

void control_unlisten(struct control *control)
{
    if (control->is_listening) {
        control->is_listening = false;
        uv_close((uv_handle_t *)&control->accept_retry, NULL);
        control_socket_stop(&control->socket);
        drop_all_spare(control);
    }
}

static void on_impatient(uv_timer_t *timer)
{
    struct control *control = containerof(timer, struct control, patience);

    for (struct client *client = control->clients; client; client = client->next) {
        close_client(client);
    }
}

void control_finish(struct control *control, void (*finished)(void *arg))
{
    control->finished = finished;
    (void)uv_timer_init(control->opts.loop, &control->patience); /* cannot fail */
    (void)uv_timer_start(&control->patience, on_impatient, PATIENCE_MS, 0);
    for (struct client *client = control->clients; client; client = client->next) {
        stop_reading(client);
        client->is_ending = true;
        close_when_done(client);
    }
    check_finished(control);
}
