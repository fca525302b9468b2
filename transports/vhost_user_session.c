/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/vhost_user_session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transports/vhost_user_msgs.h"

/* Source: vhost-user, "VHOST_USER_PROTOCOL_F_REPLY_ACK". */
bool vu_wants_ack(const struct vu_session *session)
{
    return (session->msg->header.flags & VHOST_USER_NEED_REPLY) && !session->handler->has_reply &&
           (session->protocol_features & VHOST_USER_PROTOCOL_F_REPLY_ACK);
}

static void acknowledge(struct vu_session *session, uint64_t result)
{
    if (vu_wants_ack(session) || session->handler->always_acks) {
        vu_conn_reply(session->conn, session->msg->header.request, &result, sizeof(result));
    }
}

/* The text first: the peer may turn out to be gone when it is answered, and the message with it. */
static void close_for_fault(struct vu_session *session)
{
    char text[sizeof(session->err.text) + 64];

    snprintf(text, sizeof(text), "message %u (%s): %s", session->msg->header.request,
             session->handler->name, session->err.text);
    if (vu_wants_ack(session)) {
        acknowledge(session, 1);
    }
    vu_conn_fail(session->conn, text);
}

/* A channel that is full holds the same message already, unread. */
static bool send_config_change(int fd)
{
    const struct vhost_user_header header = {.request = VHOST_USER_BACKEND_CONFIG_CHANGE_MSG,
                                             .flags = VHOST_USER_VERSION};
    ssize_t sent = send(fd, &header, sizeof(header), MSG_DONTWAIT | MSG_NOSIGNAL);

    return sent == (ssize_t)sizeof(header) ||
           (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
}

static bool has_channel(const struct vu_session *session)
{
    const uint64_t needed = VHOST_USER_PROTOCOL_F_CONFIG | VHOST_USER_PROTOCOL_F_BACKEND_REQ;

    return session->backend_fd >= 0 && (session->protocol_features & needed) == needed;
}

/*
 * No reply is asked for: there is nothing that we could do about a refusal.  A device whose rings
 * were all stopped is to send nothing, and tells it when one starts (tell_if_unread).
 * Source: vhost-user, "Suspended device state".
 */
bool vu_session_config_changed(struct vu_session *session)
{
    bool has_one = has_channel(session);
    bool is_told = has_one && (session->is_suspended || send_config_change(session->backend_fd));

    if (!is_told) {
        log_warn("%s: cannot be told of the new size%s%s, the guest sees it when its device is "
                 "restarted",
                 session->label, has_one ? ": " : " (no BACKEND_REQ channel)",
                 has_one ? strerror(errno) : "");
    }
    return is_told;
}

/*
 * What is said while no ring runs some drop, and some connect again without reading the config
 * space anew.
 * Source: QEMU 10.0, hw/block/vhost-user-blk.c, vhost_user_blk_handle_config_change (dev->started)
 * and vhost_user_blk_connect.
 */
static void tell_if_unread(struct vu_session *session)
{
    if (session->read_capacity != device_capacity(session->dev) && has_channel(session)) {
        (void)vu_session_config_changed(session);
    }
}

/*
 * Which messages start rings, or stop them, depends on what came before.  Who migrates a guest
 * stops all of its rings in the end, and the log lasts until they would run again.
 * Source: QEMU 10.0, migration/migration.c, migration_completion; system/memory.c,
 * memory_global_dirty_log_stop.
 */
static void look_for_rings(struct vu_session *session)
{
    const struct vu_guest *guest = session->guest;
    bool had_rings = session->has_rings;

    session->has_rings = device_rings_running(session->dev) > 0;
    session->is_suspended = !session->has_rings && (had_rings || session->is_suspended);
    if (session->has_rings && !had_rings) {
        tell_if_unread(session);
        if (guest->came) {
            guest->came(guest->arg);
        }
    } else if (!session->has_rings && had_rings && device_is_logged(session->dev) && guest->left) {
        guest->left(guest->arg);
    }
}

static void finish_message(struct vu_session *session, enum vu_verdict verdict)
{
    struct vu_msg *msg = session->msg;

    look_for_rings(session);
    switch (verdict) {
    case VU_DONE:
        acknowledge(session, 0);
        break;
    case VU_REPLY:
        vu_conn_reply(session->conn, msg->header.request, msg->payload.bytes, msg->header.size);
        break;
    case VU_REFUSED:
        log_limited(&session->log, LOG_LEVEL_WARN, "%s: %s refused: %s", session->label,
                    session->handler->name, session->err.text);
        acknowledge(session, 1);
        break;
    case VU_BAD:
        close_for_fault(session);
        break;
    case VU_LATER:
        return;
    }
    session->msg = NULL;
}

/* Is it served, and of the form that the table says? */
static bool form_ok(struct vu_session *session)
{
    const struct vu_handler *handler = session->handler;
    const struct vu_msg *msg = session->msg;

    if (!handler->handle) {
        err_say(&session->err, -EPROTO, "not served, no feature that was offered needs it");
    } else if (msg->header.size < handler->min_payload || msg->header.size > handler->max_payload) {
        err_say(&session->err, -EPROTO, "payload of %u bytes instead of %u to %u", msg->header.size,
                handler->min_payload, handler->max_payload);
    } else if (msg->fd_count < handler->min_fds || msg->fd_count > handler->max_fds) {
        err_say(&session->err, -EPROTO, "%u file descriptors instead of %u to %u", msg->fd_count,
                handler->min_fds, handler->max_fds);
    } else {
        return true;
    }
    return false;
}

void vu_session_message(struct vu_session *session, struct vu_msg *msg)
{
    enum vu_verdict verdict = VU_BAD;

    session->msg = msg;
    session->handler = vu_handler_of(msg->header.request);
    if (form_ok(session)) {
        verdict = session->handler->handle(session, msg);
    }
    if (verdict == VU_LATER) {
        vu_conn_suspend(session->conn);
    } else {
        finish_message(session, verdict);
    }
    if (session->ends_writethrough) {
        vu_end_writethrough(session);
    }
}

static void close_untaken(struct vu_msg *msg)
{
    for (unsigned i = 0; i < msg->fd_count; i++) {
        if (msg->fd[i].fd >= 0) {
            close(msg->fd[i].fd);
            msg->fd[i].fd = -1;
        }
    }
}

int vu_session_repeat(struct vu_session *session, struct vu_msg *msg, struct err *err)
{
    enum vu_verdict verdict = VU_BAD;

    session->msg = msg;
    session->handler = vu_handler_of(msg->header.request);
    if (form_ok(session)) {
        verdict = session->handler->handle(session, msg);
    }
    session->msg = NULL;
    close_untaken(msg);
    if (verdict == VU_DONE || verdict == VU_REPLY) {
        return 0;
    }
    return err_say(err, -EPROTO, "%s: %s", session->handler->name,
                   verdict == VU_LATER ? "has to be waited for" : session->err.text);
}

void vu_session_repeated(struct vu_session *session)
{
    look_for_rings(session);
}

const char *vu_session_work(const struct vu_session *session)
{
    if (session->msg) {
        return "a message of its front-end is at work";
    }
    if (session->is_settling) {
        return "its front-end is changing the guest's memory";
    }
    if (session->transfer.fd >= 0 || (session->transfer.is_known && !session->has_rings)) {
        return "its guest is being migrated";
    }
    return NULL;
}

/* The device is resumed last: a connection that ends meanwhile has paused it for good. */
static void on_drained(struct drain *drain)
{
    struct vu_session *session = containerof(drain, struct vu_session, drain);
    bool resumes = session->is_device_paused;
    enum vu_verdict verdict;

    session->is_device_paused = false;
    verdict = session->then(session, session->msg);
    finish_message(session, verdict);
    if (resumes && !session->is_settling) {
        device_resume(session->dev, PAUSE_MESSAGE);
    }
    if (verdict != VU_LATER) {
        vu_conn_resume(session->conn);
    }
}

void vu_session_kept(struct vu_session *session, const struct err *err)
{
    if (!session->is_keeping) {
        return;
    }
    session->is_keeping = false;
    (void)uv_timer_stop(&session->patience);
    session->err = *err;
    finish_message(session, err->code < 0 ? VU_REFUSED : VU_DONE);
    vu_conn_resume(session->conn);
}

enum vu_verdict vu_wait_for_state(struct vu_session *session)
{
    session->is_checking = true;
    return VU_LATER;
}

void vu_session_checked(struct vu_session *session)
{
    enum vu_verdict verdict;

    if (!session->is_checking) {
        return;
    }
    session->is_checking = false;
    verdict = session->handler->handle(session, session->msg);
    finish_message(session, verdict);
    if (verdict != VU_LATER) {
        vu_conn_resume(session->conn);
    }
}

static enum vu_verdict wait_for_device(struct vu_session *session, bool frees_memory, vu_then *then)
{
    session->then = then;
    session->is_device_paused = true;
    session->drain =
        (struct drain){.done = on_drained, .own_below = LANES_MAX, .frees_memory = frees_memory};
    device_pause(session->dev, PAUSE_MESSAGE, &session->drain);
    return VU_LATER;
}

enum vu_verdict vu_wait_for_device(struct vu_session *session, vu_then *then)
{
    return wait_for_device(session, false, then);
}

enum vu_verdict vu_wait_for_reset(struct vu_session *session, vu_then *then)
{
    return wait_for_device(session, true, then);
}

enum vu_verdict vu_wait_for_ring(struct vu_session *session, unsigned index, vu_then *then)
{
    session->then = then;
    session->drain = (struct drain){.done = on_drained, .frees_memory = true};
    device_ring_pause(session->dev, index, &session->drain);
    return VU_LATER;
}

enum vu_verdict vu_wait_to_suspend(struct vu_session *session, unsigned index, vu_then *then)
{
    session->then = then;
    session->drain = (struct drain){.done = on_drained, .frees_memory = true};
    device_ring_suspend(session->dev, index, &session->drain);
    return VU_LATER;
}

void vu_session_init(struct vu_session *session, uv_loop_t *loop, struct device *dev,
                     struct vu_conn *conn, const struct vu_cache *cache,
                     const struct vu_guest *guest)
{
    *session = (struct vu_session){.dev = dev,
                                   .conn = conn,
                                   .cache = cache,
                                   .guest = guest,
                                   .backend_fd = -1,
                                   .transfer = {.fd = -1}};
    (void)uv_timer_init(loop, &session->settle); /* cannot fail */
    (void)uv_timer_init(loop, &session->patience);
    (void)uv_timer_init(loop, &session->transfer_timer);
}

void vu_session_begin(struct vu_session *session, const char *label)
{
    session->label = label;
    session->protocol_features = 0;
    session->has_protocol_features = false;
    session->has_features = false;
    session->status = 0;
    session->msg = NULL;
    session->is_device_paused = false;
    session->is_settling = false;
    session->is_keeping = false;
    session->ends_writethrough = false;
    session->has_rings = false;
    session->is_suspended = false;
    session->read_capacity = CAPACITY_UNREAD;
}

bool vu_session_is_migrating(const struct vu_session *session)
{
    return device_is_logged(session->dev) || (session->transfer.is_known && !session->has_rings);
}

void vu_session_end(struct vu_session *session)
{
    device_drain_cancel(session->dev, &session->drain);
    (void)uv_timer_stop(&session->settle);
    (void)uv_timer_stop(&session->patience);
    session->is_keeping = false;
    session->is_checking = false;
    session->ends_writethrough = false;
    vu_transfer_drop(session);
    if (session->is_device_paused || session->is_settling) {
        device_resume(session->dev, PAUSE_MESSAGE);
    }
    session->is_device_paused = false;
    session->is_settling = false;
    session->msg = NULL;
    if (session->backend_fd >= 0) {
        close(session->backend_fd);
        session->backend_fd = -1;
    }
}
