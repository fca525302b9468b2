/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What one connection has agreed on, and the message that is at work: it is checked against
 * the table of vhost_user_msgs.c, handled, and answered, at once or after a drain.
 * Embedded in struct vhost_user, where it outlives connections; disk thread only.
 */

#include "core/device/device.h"
#include "core/base/log.h"
#include "transports/vhost_user_conn.h"
#include "transports/vhost_user_record.h"

/* How a message ends. */
enum vu_verdict {
    VU_DONE,    /* answered with 0 when an answer was asked for */
    VU_REPLY,   /* the answer is in the message: payload and header.size */
    VU_LATER,   /* vu_wait_for_* was called, or is_keeping */
    VU_REFUSED, /* answered with 1 when asked for; the connection goes on */
    VU_BAD,     /* the same, and the connection is closed */
};

struct vu_session;
struct vu_handler;

/* Who keeps what the driver has said of its cache; see vhost_user.h. */
struct vu_cache {
    void (*keep)(void *arg);
    void *arg;
    unsigned patience_ms;
};

/* A state on its way, see vhost_user_transfer.c. */
struct vu_transfer {
    bool is_known; /* there is one, or was */
    uint32_t direction;
    int fd;         /* owned; -1: it is over */
    size_t done;    /* bytes */
    struct err err; /* why it has failed */
    uint64_t deadline_ns;
    uint8_t bytes[sizeof(struct vu_record) + 1];
};

/* Who is told that rings run, or do no more; see vhost_user.h. */
struct vu_guest {
    void (*came)(void *arg);
    void (*left)(void *arg);
    void *arg;
};

/* What is left to do for a message when nothing is in flight any more. */
typedef enum vu_verdict vu_then(struct vu_session *session, struct vu_msg *msg);

/* The size of no disk; one without an image has 0. */
#define CAPACITY_UNREAD UINT64_MAX

struct vu_session {
    struct device *dev;   /* lent */
    struct vu_conn *conn; /* the parent's */
    const char *label;    /* the parent's: who is connected to what, for log lines */
    uint64_t protocol_features;
    bool has_protocol_features; /* VHOST_USER_F_PROTOCOL_FEATURES was accepted */
    bool has_features;          /* the driver has accepted some, or none */
    uint64_t read_capacity;     /* bytes, as the front-end has read it last */
    uint8_t status;             /* of the device, as it was set: see vhost_user_status.c */
    int backend_fd;             /* owned, where our own requests go; -1: none */

    struct vu_msg *msg; /* at work, the connection's; NULL: none */
    const struct vu_handler *handler;
    vu_then *then;
    struct drain drain;
    bool is_device_paused; /* for the message at work */
    struct err err;        /* why it is VU_REFUSED or VU_BAD */

    const struct vu_cache *cache; /* the parent's */
    const struct vu_guest *guest; /* the parent's */
    bool has_rings;               /* that run, after the latest message */
    bool is_suspended;            /* none does any more: nothing is sent but answers */
    uv_timer_t patience;          /* runs while `is_keeping` */
    bool is_keeping;              /* the message waits for vu_session_kept */
    bool ends_writethrough;       /* when the message is answered */

    struct vu_transfer transfer;
    uv_timer_t transfer_timer; /* runs while it is on its way */
    unsigned state_ms;         /* so long may that take */
    bool is_checking;          /* the message waits for its end */

    uv_timer_t settle; /* see vhost_user_memory.c */
    bool is_settling;  /* the device stays paused until the memory table is whole again */
    struct log_limit log;
};

/* Once, with its parent: opens the timers on `loop`; the parent closes them. */
void vu_session_init(struct vu_session *session, uv_loop_t *loop, struct device *dev,
                     struct vu_conn *conn, const struct vu_cache *cache,
                     const struct vu_guest *guest);

/* A front-end has connected; `label` is lent until the end of the session. */
void vu_session_begin(struct vu_session *session, const char *label);

/*
 * The connection is over: wait for nothing any more, close what the front-end gave.
 * Whoever calls has paused the device for a reason of its own.
 */
void vu_session_end(struct vu_session *session);

/* Serve one message.  Answers it, or suspends the connection until it can be answered. */
void vu_session_message(struct vu_session *session, struct vu_msg *msg);

/* Tell the front-end that the config space has changed.  Returns false when it cannot be told. */
bool vu_session_config_changed(struct vu_session *session);

/*
 * A message that another process was told, once more, without an answer.  Nothing has to be waited
 * for, as no ring has started; but a kick starts it.  Fds of it that were not taken are closed.
 * Returns 0 or -errno.
 */
int vu_session_repeat(struct vu_session *session, struct vu_msg *msg, struct err *err);

/* Rings may have been started by those. */
void vu_session_repeated(struct vu_session *session);

/* What it is at that a process cannot hand over; NULL: nothing. */
const char *vu_session_work(const struct vu_session *session);

/* See vhost_user_is_migrating. */
bool vu_session_is_migrating(const struct vu_session *session);

/* What the driver said of its cache is kept (err->code 0), or not.  Nobody may wait for it. */
void vu_session_kept(struct vu_session *session, const struct err *err);

/* For handlers: handle the message once more when the transfer is over; and that it is. */
enum vu_verdict vu_wait_for_state(struct vu_session *session);
void vu_session_checked(struct vu_session *session);

/* For handlers: finish the message by `then` when the device, or one ring, has drained. */
enum vu_verdict vu_wait_for_device(struct vu_session *session, vu_then *then);
enum vu_verdict vu_wait_for_ring(struct vu_session *session, unsigned index, vu_then *then);

/* The same for the device, whose driver has other uses for its buffers then, as a ring's has. */
enum vu_verdict vu_wait_for_reset(struct vu_session *session, vu_then *then);

/* The same, and `then` stops the ring: see device_ring_suspend. */
enum vu_verdict vu_wait_to_suspend(struct vu_session *session, unsigned index, vu_then *then);

/* Has an acknowledgement been asked for, so that a refusal will be seen? */
bool vu_wants_ack(const struct vu_session *session);

/* Refuse a message and say why; `verdict` is VU_REFUSED or VU_BAD. */
#define vu_fault(session, verdict, ...) (err_say(&(session)->err, -EPROTO, __VA_ARGS__), (verdict))

/* For calls of core that fill session->err. */
static inline enum vu_verdict vu_verdict_of(int ret)
{
    return ret < 0 ? VU_BAD : VU_DONE;
}

static inline enum vu_verdict vu_reply_u64(struct vu_msg *msg, uint64_t value)
{
    msg->payload.u64 = value;
    msg->header.size = sizeof(value);
    return VU_REPLY;
}
