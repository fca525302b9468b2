/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/client/vhost_user_link.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/fds.h"

static const char *const names[] = {
    [VHOST_USER_GET_FEATURES] = "GET_FEATURES",
    [VHOST_USER_SET_FEATURES] = "SET_FEATURES",
    [VHOST_USER_SET_OWNER] = "SET_OWNER",
    [VHOST_USER_SET_MEM_TABLE] = "SET_MEM_TABLE",
    [VHOST_USER_SET_VRING_NUM] = "SET_VRING_NUM",
    [VHOST_USER_SET_VRING_ADDR] = "SET_VRING_ADDR",
    [VHOST_USER_SET_VRING_BASE] = "SET_VRING_BASE",
    [VHOST_USER_GET_VRING_BASE] = "GET_VRING_BASE",
    [VHOST_USER_SET_VRING_KICK] = "SET_VRING_KICK",
    [VHOST_USER_SET_VRING_CALL] = "SET_VRING_CALL",
    [VHOST_USER_SET_VRING_ERR] = "SET_VRING_ERR",
    [VHOST_USER_GET_PROTOCOL_FEATURES] = "GET_PROTOCOL_FEATURES",
    [VHOST_USER_SET_PROTOCOL_FEATURES] = "SET_PROTOCOL_FEATURES",
    [VHOST_USER_GET_QUEUE_NUM] = "GET_QUEUE_NUM",
    [VHOST_USER_SET_VRING_ENABLE] = "SET_VRING_ENABLE",
    [VHOST_USER_SET_BACKEND_REQ_FD] = "SET_BACKEND_REQ_FD",
    [VHOST_USER_GET_CONFIG] = "GET_CONFIG",
    [VHOST_USER_SET_CONFIG] = "SET_CONFIG",
    [VHOST_USER_GET_INFLIGHT_FD] = "GET_INFLIGHT_FD",
    [VHOST_USER_SET_INFLIGHT_FD] = "SET_INFLIGHT_FD",
    [VHOST_USER_ADD_MEM_REG] = "ADD_MEM_REG",
};

static const char *name_of(uint32_t request)
{
    return request < ARRAY_SIZE(names) && names[request] ? names[request] : "a message";
}

#define NO_DEADLINE UINT64_MAX

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static int remaining_ms(uint64_t deadline_ns)
{
    uint64_t now = now_ns();

    if (deadline_ns == NO_DEADLINE) {
        return -1;
    }
    return now >= deadline_ns ? 0 : (int)((deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS);
}

/*
 * Wait for `events` on the socket.  Meanwhile the back-end may want an answer on its own channel
 * before it goes on; whatever comes there, the deadline stands.
 */
static int wait_for(struct vhost_user_link *link, short events, uint64_t deadline_ns)
{
    int left_ms;

    while ((left_ms = remaining_ms(deadline_ns)) != 0) {
        struct pollfd fds[] = {{.fd = link->sock, .events = events},
                               {.fd = link->channel, .events = POLLIN}};
        int ret = poll(fds, ARRAY_SIZE(fds), left_ms);

        if (ret < 0 && errno != EINTR) {
            return -errno;
        }
        if (ret > 0 && fds[1].revents != 0) {
            (void)vhost_user_link_serve_channel(link); /* what is left comes in the next turn */
        }
        if (ret > 0 && fds[0].revents != 0) {
            return 0;
        }
    }
    return -ETIMEDOUT;
}

static int send_all(struct vhost_user_link *link, const struct vhost_user_out *out, uint32_t flags,
                    uint64_t deadline_ns)
{
    struct {
        struct vhost_user_header header;
        uint8_t payload[VHOST_USER_MAX_PAYLOAD];
    } __attribute__((packed))
    msg = {.header = {.request = out->request, .flags = flags, .size = out->len}};
    size_t len = sizeof(msg.header) + out->len;
    size_t done = 0;

    if (out->len > 0) {
        memcpy(msg.payload, out->payload, out->len);
    }
    while (done < len) {
        ssize_t sent = fds_send(link->sock, (const uint8_t *)&msg + done, len - done, out->fds,
                                done == 0 ? out->fd_count : 0);

        if (sent == -EAGAIN) {
            int ret = wait_for(link, POLLOUT, deadline_ns);

            if (ret < 0) {
                return ret;
            }
        } else if (sent < 0) {
            return (int)sent;
        } else {
            done += (size_t)sent;
        }
    }
    return 0;
}

/* Keep the first that has come, if there was none yet; room for one may be room for two. */
static void keep_fd(struct msghdr *msg, int *fd)
{
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
    int fds[2] = {-1, -1};
    size_t bytes;

    if (!cmsg || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
        return;
    }
    bytes = min_of((size_t)(cmsg->cmsg_len - CMSG_LEN(0)), sizeof(fds));
    memcpy(fds, CMSG_DATA(cmsg), bytes);
    for (unsigned i = 0; i < bytes / sizeof(int); i++) {
        if (*fd < 0) {
            *fd = fds[i];
        } else {
            close(fds[i]);
        }
    }
}

/* What is there.  Bytes or -errno. */
static ssize_t receive_some(int sock, void *to, size_t len, int *fd)
{
    struct iovec iov = {.iov_base = to, .iov_len = len};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t got;

    if (fd) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
    }
    got = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0) {
        return -errno;
    }
    if (fd) {
        keep_fd(&msg, fd);
    }
    return got;
}

/* fd: of the file descriptor that may come along; NULL: none is wanted, the kernel drops it */
static int receive_all(struct vhost_user_link *link, void *to, size_t len, int *fd,
                       uint64_t deadline_ns)
{
    size_t done = 0;

    while (done < len) {
        ssize_t got = receive_some(link->sock, (uint8_t *)to + done, len - done, fd);

        if (got == 0) {
            return -ECONNRESET;
        }
        if (got == -EAGAIN) {
            int ret = wait_for(link, POLLIN, deadline_ns);

            if (ret < 0) {
                return ret;
            }
        } else if (got < 0 && got != -EINTR) {
            return (int)got;
        } else if (got > 0) {
            done += (size_t)got;
        }
    }
    return 0;
}

/* What is to come back: at most `bytes` into `to`, and the length that came. */
struct reply {
    void *to;
    uint32_t bytes;
    uint32_t *len;
    int *fd; /* see receive_all */
};

static int receive_reply(struct vhost_user_link *link, uint32_t request, const struct reply *reply,
                         uint64_t deadline_ns)
{
    struct vhost_user_header header;
    int ret = receive_all(link, &header, sizeof(header), reply->fd, deadline_ns);

    if (ret < 0) {
        return ret;
    }
    if (header.request != request || !(header.flags & VHOST_USER_REPLY) ||
        (header.flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION ||
        header.size > reply->bytes) {
        return -EPROTO;
    }
    *reply->len = header.size;
    return receive_all(link, reply->to, header.size, reply->fd, deadline_ns);
}

void vhost_user_link_limit(struct vhost_user_link *link, const char *what, unsigned ms)
{
    link->limit_of = what;
    link->limit_ms = ms;
    link->limit_end_ns = what ? now_ns() + ms * NS_PER_MS : 0;
}

/* The whole set-up has a deadline as well, as a slow answer to each message takes for ever. */
static uint64_t deadline_of(const struct vhost_user_link *link, unsigned limit_ms)
{
    uint64_t deadline_ns = now_ns() + limit_ms * NS_PER_MS;

    return link->limit_end_ns != 0 ? min_of(deadline_ns, link->limit_end_ns) : deadline_ns;
}

static int explain_timeout(const struct vhost_user_link *link, const char *name, unsigned limit_ms,
                           struct err *err)
{
    if (link->limit_end_ns != 0 && now_ns() >= link->limit_end_ns) {
        return err_say(err, -ETIMEDOUT, "%s: the %s takes longer than %u ms, it is at %s",
                       link->path, link->limit_of, link->limit_ms, name);
    }
    return err_say(err, -ETIMEDOUT, "%s: no answer to %s within %u ms", link->path, name, limit_ms);
}

static int explain(const struct vhost_user_link *link, int code, uint32_t request, unsigned limit,
                   struct err *err)
{
    const char *name = name_of(request);

    switch (code) {
    case 0:
        return 0;
    case -ETIMEDOUT:
        return explain_timeout(link, name, limit, err);
    case -ECONNRESET:
    case -EPIPE:
        return err_say(err, -ECONNRESET, "%s: the back-end closed the connection at %s", link->path,
                       name);
    case -EPROTO:
        return err_say(err, code, "%s: what came back is no answer to %s", link->path, name);
    default:
        return err_set(err, code, "%s: %s", link->path, name);
    }
}

static int ask(struct vhost_user_link *link, const struct vhost_user_out *out,
               const struct reply *reply, unsigned patience, struct err *err)
{
    unsigned limit_ms = link->timeout_ms * patience;
    uint64_t deadline =
        patience == VHOST_USER_LINK_FOR_EVER ? NO_DEADLINE : deadline_of(link, limit_ms);
    int ret = send_all(link, out, VHOST_USER_VERSION, deadline);

    if (ret == 0) {
        ret = receive_reply(link, out->request, reply, deadline);
    }
    return explain(link, ret, out->request, limit_ms, err);
}

int vhost_user_link_ask(struct vhost_user_link *link, const struct vhost_user_out *out, void *reply,
                        uint32_t reply_bytes, uint32_t *reply_len, unsigned patience,
                        struct err *err)
{
    const struct reply to = {.to = reply, .bytes = reply_bytes, .len = reply_len};

    return ask(link, out, &to, patience, err);
}

int vhost_user_link_ask_fd(struct vhost_user_link *link, const struct vhost_user_out *out,
                           void *reply, uint32_t reply_bytes, int *fd, struct err *err)
{
    uint32_t len = 0;
    const struct reply to = {.to = reply, .bytes = reply_bytes, .len = &len, .fd = fd};
    int ret;

    *fd = -1;
    ret = ask(link, out, &to, 1, err);
    if (ret == 0 && len != reply_bytes) {
        ret = explain(link, -EPROTO, out->request, 0, err);
    }
    if (ret < 0) {
        close_fd(fd);
    }
    return ret;
}

int vhost_user_link_get_u64(struct vhost_user_link *link, uint32_t request, uint64_t *value,
                            struct err *err)
{
    const struct vhost_user_out out = {.request = request};
    uint32_t len = 0;
    int ret = vhost_user_link_ask(link, &out, value, sizeof(*value), &len, 1, err);

    if (ret == 0 && len != sizeof(*value)) {
        return explain(link, -EPROTO, request, 0, err);
    }
    return ret;
}

int vhost_user_link_set(struct vhost_user_link *link, const struct vhost_user_out *out,
                        struct err *err)
{
    uint64_t deadline = deadline_of(link, link->timeout_ms);
    bool wants_ack = vhost_user_link_has(link, VHOST_USER_PROTOCOL_F_REPLY_ACK);
    uint32_t flags = VHOST_USER_VERSION | (wants_ack ? VHOST_USER_NEED_REPLY : 0);
    uint64_t result = 0;
    uint32_t len = sizeof(result);
    int ret = send_all(link, out, flags, deadline);

    if (ret == 0 && wants_ack) {
        const struct reply reply = {.to = &result, .bytes = sizeof(result), .len = &len};

        ret = receive_reply(link, out->request, &reply, deadline);
        if (ret == 0 && len != sizeof(result)) {
            ret = -EPROTO;
        }
    }
    if (ret == 0 && result != 0) {
        return err_say(err, -EREMOTEIO, "%s: the back-end refused %s; its log says why", link->path,
                       name_of(out->request));
    }
    return explain(link, ret, out->request, link->timeout_ms, err);
}

int vhost_user_link_set_u64(struct vhost_user_link *link, uint32_t request, uint64_t value,
                            struct err *err)
{
    const struct vhost_user_out out = {.request = request, .len = sizeof(value), .payload = &value};

    return vhost_user_link_set(link, &out, err);
}

static void hint_connect(int code, struct err *err)
{
    switch (code) {
    case -ENOENT:
    case -ECONNREFUSED:
        err_hint(err, "start the back-end, or give the path of another socket");
        break;
    case -EACCES:
        err_hint(err, "run as the user that the socket belongs to");
        break;
    case -EAGAIN:
        err_hint(err, "the back-end does not take connections, it may hang");
        break;
    default:
        break;
    }
}

/* What is there may be no socket at all; connect does not tell. */
static int connect_failed(const struct vhost_user_link *link, int code, struct err *err)
{
    struct stat st;

    if (code == -ECONNREFUSED && stat(link->path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
        return err_say(err, -ENOTSOCK, "cannot connect to %s: it is no socket", link->path);
    }
    err_set(err, code, "cannot connect to %s", link->path);
    hint_connect(code, err);
    return code;
}

/* The socket does not wait: a back-end whose queue is full is as good as absent. */
int vhost_user_link_open(struct vhost_user_link *link, struct err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(link->path);
    int ret;

    link->protocol_features = 0;
    link->config_changed = false;
    if (len == 0 || len >= sizeof(addr.sun_path)) {
        return err_say(err, -ENAMETOOLONG, "%s: the path of a socket has 1 to %zu bytes",
                       link->path, sizeof(addr.sun_path) - 1);
    }
    memcpy(addr.sun_path, link->path, len);
    link->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->sock < 0) {
        return err_set(err, -errno, "no socket for %s", link->path);
    }
    if (connect(link->sock, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        ret = connect_failed(link, -errno, err);
        vhost_user_link_close(link);
        return ret;
    }
    vhost_user_link_limit(link, "set-up", link->setup_ms);
    return 0;
}

void vhost_user_link_close(struct vhost_user_link *link)
{
    close_fd(&link->sock);
    close_fd(&link->channel);
}
