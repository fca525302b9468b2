/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/broker_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/fds.h"
#include "core/base/log.h"
#include "core/base/names.h"
#include "core/base/text.h"
#include "daemon/broker_work.h"

static int broker = -1;
static atomic_bool has_told;

static void fail(struct names_answer *answer, int code)
{
    answer->ret = -1;
    answer->code = code;
    if (code == NAMES_GONE && !atomic_exchange(&has_told, true)) {
        log_error(
            "daemon: the broker has ended: disks that run go on, but no image is opened and no "
            "socket made any more; restart vblkd");
    }
}

/* What comes first of a socket is its lock; errno alone would not tell where it may be. */
static void refuse_socket(const struct names_question *question, struct names_answer *answer)
{
    char shown[1024];

    answer->code = EACCES;
    if (question->op == NAMES_OPEN && (question->flags & O_CREAT)) {
        log_warn("daemon: with --user, sockets lie below --socket-dir alone, and %s does not",
                 text_safe(question->path, shown, sizeof(shown)));
    }
}

static int send_question(const struct names_question *question, const int *fds, unsigned count)
{
    struct pollfd pollfd = {.fd = broker, .events = POLLOUT};
    ssize_t ret;

    do {
        ret = fds_send(broker, question, sizeof(*question), fds, count);
    } while (ret == -EAGAIN && (poll(&pollfd, 1, -1) > 0 || errno == EINTR));
    return ret < 0 ? (int)ret : 0;
}

/* Whoever looks what this thread waits for finds poll. */
static void wait_for(int sock)
{
    struct pollfd pollfd = {.fd = sock, .events = POLLIN};

    while (poll(&pollfd, 1, -1) < 0 && errno == EINTR) {
    }
}

static bool receive_answer(int sock, struct names_answer *answer)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = answer, .iov_len = sizeof(*answer)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control)};
    const struct cmsghdr *cmsg;
    ssize_t len;

    wait_for(sock);
    len = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    if (len != (ssize_t)sizeof(*answer)) {
        return false;
    }
    cmsg = CMSG_FIRSTHDR(&msg);
    if (cmsg && cmsg->cmsg_type == SCM_RIGHTS) {
        memcpy(&answer->ret, CMSG_DATA(cmsg), sizeof(int));
    } else if (msg.msg_flags & MSG_CTRUNC) {
        answer->ret = -1; /* it was sent, and there was no room for it */
        answer->code = EMFILE;
    }
    return true;
}

static void ask(const struct names_question *question, int fd, struct names_answer *answer)
{
    int pair[2];
    int fds[2];
    int ret;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        fail(answer, errno);
        return;
    }
    fds[0] = pair[1];
    fds[1] = fd;
    ret = send_question(question, fds, fd >= 0 ? 2 : 1);
    close(pair[1]);
    if (ret < 0) {
        fail(answer, ret == -EPIPE || ret == -ECONNRESET ? NAMES_GONE : -ret);
    } else if (!receive_answer(pair[0], answer)) {
        fail(answer, NAMES_GONE);
    } else if (answer->ret < 0 && answer->code == BROKER_NO_SOCKET) {
        refuse_socket(question, answer);
    }
    close(pair[0]);
}

void broker_ask_by(int sock)
{
    broker = sock;
    names_ask_at(ask);
}
