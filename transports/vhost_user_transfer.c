/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The state that a disk takes along with its guest (vhost_user_record.h), by a pipe of the
 * front-end's.  It is less than a pipe holds, and yet whoever has the other end may fill it, or
 * leave it open, or take O_NONBLOCK from it: so it is tried by the clock, for so long and no
 * longer, and what waits is ended like a kick that does (ringer.h).
 *
 * What was loaded is put to use when the front-end asks whether that went well, which it does when
 * it has closed its end; until then, and after any failure, the disk is as it was.
 *
 * Rings are to be stopped meanwhile; disabled is enough, as nothing of them is in flight either.
 * Source: vhost-user, "Migrating back-end state" and "VHOST_USER_SET_DEVICE_STATE_FD".
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/base/ringer.h"
#include "transports/vhost_user_msgs.h"

/* "VHOST_USER_SET_DEVICE_STATE_FD": the parameters. */
enum direction { SAVE, LOAD, DIRECTIONS };
#define PHASE_STOPPED 0u

/* The answer: an error in the lower bits; no file descriptor comes back with it. */
#define ANSWER_NO_FD (1ull << 8)
#define ANSWER_ERROR 1ull

/* Between two tries. */
#define TRY_MS 2

static bool has_states(const struct vu_session *session)
{
    return session->protocol_features & VHOST_USER_PROTOCOL_F_DEVICE_STATE;
}

/* Nothing is on its way any more: `code` 0, or why not in session->transfer.err. */
static void end_transfer(struct vu_session *session)
{
    struct vu_transfer *transfer = &session->transfer;

    if (transfer->fd >= 0) {
        close(transfer->fd); /* a pipe: it takes no time */
        transfer->fd = -1;
    }
    (void)uv_timer_stop(&session->transfer_timer);
    vu_session_checked(session);
}

static void fail_transfer(struct vu_session *session, int code, const char *what)
{
    if (code == -EINTR) {
        (void)err_say(&session->transfer.err, code, "%s waited, as it was made to block", what);
    } else {
        (void)err_set(&session->transfer.err, code, "%s", what);
    }
    end_transfer(session);
}

/* Returns false while there is more to do. */
static bool send_some(struct vu_transfer *transfer, int *code)
{
    ssize_t sent = ringer_write(transfer->fd, transfer->bytes + transfer->done,
                                sizeof(struct vu_record) - transfer->done);

    if (sent < 0) {
        *code = (int)sent;
        return sent != -EAGAIN;
    }
    transfer->done += (size_t)sent;
    return transfer->done == sizeof(struct vu_record);
}

/* One byte more than a state has tells that it is none. */
static bool receive_some(struct vu_transfer *transfer, int *code)
{
    ssize_t got = ringer_take(transfer->fd, transfer->bytes + transfer->done,
                              sizeof(transfer->bytes) - transfer->done);

    if (got < 0) {
        *code = (int)got;
        return got != -EAGAIN;
    }
    transfer->done += (size_t)got;
    return got == 0 || transfer->done == sizeof(transfer->bytes);
}

static void try_transfer(struct vu_session *session)
{
    struct vu_transfer *transfer = &session->transfer;
    bool saves = transfer->direction == SAVE;
    int code = 0;
    bool is_over = saves ? send_some(transfer, &code) : receive_some(transfer, &code);

    if (is_over && code < 0) {
        fail_transfer(session, code, saves ? "the pipe of the state" : "the pipe with the state");
    } else if (is_over) {
        end_transfer(session);
    } else if (session->is_checking && vu_conn_peer_left(session->conn)) {
        fail_transfer(session, -ECANCELED, "a front-end that has left"); /* the next one waits */
    } else if (now_ns() >= transfer->deadline_ns) {
        fail_transfer(session, -ETIMEDOUT,
                      saves ? "the state was not taken" : "the end of the state");
    }
}

static void on_try(uv_timer_t *timer)
{
    try_transfer(containerof(timer, struct vu_session, transfer_timer));
}

void vu_transfer_drop(struct vu_session *session)
{
    struct vu_transfer *transfer = &session->transfer;

    if (transfer->fd >= 0) {
        close(transfer->fd);
    }
    (void)uv_timer_stop(&session->transfer_timer);
    *transfer = (struct vu_transfer){.fd = -1};
}

/* Which ends of a pipe can be read is known by their mode. */
static int check_pipe(struct vu_session *session, const struct foreign *foreign, uint32_t direction)
{
    int wrong = direction == SAVE ? O_RDONLY : O_WRONLY;
    int flags = foreign->kind == FOREIGN_PIPE ? fcntl(foreign->fd, F_GETFL) : -1;

    if (foreign->kind != FOREIGN_PIPE) {
        return err_say(&session->err, -EPROTO, "what came is %s; a state goes through a pipe",
                       foreign->what);
    }
    if (flags < 0 || (flags & O_ACCMODE) == wrong ||
        fcntl(foreign->fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        return err_say(&session->err, -EPROTO, "the end of a pipe that came cannot be %s",
                       direction == SAVE ? "written" : "read");
    }
    return 0;
}

static int check_transfer(struct vu_session *session, const struct vu_msg *msg)
{
    const struct vhost_user_transfer *wanted = &msg->payload.transfer;

    if (wanted->direction >= DIRECTIONS || wanted->phase != PHASE_STOPPED) {
        return err_say(&session->err, -EPROTO, "direction %u, phase %u: neither is known",
                       wanted->direction, wanted->phase);
    }
    if (vu_has_enabled_ring(session->dev)) {
        return err_say(&session->err, -EBUSY, "rings run, and a state is of a disk at rest");
    }
    return check_pipe(session, &msg->fd[0], wanted->direction);
}

static void begin_transfer(struct vu_session *session, struct vu_msg *msg)
{
    struct vu_transfer *transfer = &session->transfer;

    vu_transfer_drop(session);
    transfer->is_known = true;
    transfer->direction = msg->payload.transfer.direction;
    transfer->fd = msg->fd[0].fd;
    transfer->deadline_ns = now_ns() + (uint64_t)session->state_ms * NS_PER_MS;
    msg->fd[0].fd = -1;
    if (transfer->direction == SAVE) {
        vu_record_make((struct vu_record *)transfer->bytes, session->dev);
    }
    (void)uv_timer_start(&session->transfer_timer, on_try, 0, TRY_MS);
}

/* What is refused is told by the answer, and the front-end does without. */
enum vu_verdict vu_set_device_state_fd(struct vu_session *session, struct vu_msg *msg)
{
    if (!has_states(session)) {
        return vu_fault(session, VU_BAD, "DEVICE_STATE was not negotiated");
    }
    if (check_transfer(session, msg) < 0) {
        log_limited(&session->log, LOG_LEVEL_WARN, "%s: SET_DEVICE_STATE_FD refused: %s",
                    session->label, session->err.text);
        return vu_reply_u64(msg, ANSWER_NO_FD | ANSWER_ERROR);
    }
    begin_transfer(session, msg);
    return vu_reply_u64(msg, ANSWER_NO_FD);
}

/* What the driver has said of its cache where it was before holds here. */
static enum vu_verdict take_cache(struct vu_session *session, uint32_t cache)
{
    if (cache == VU_RECORD_UNKNOWN) {
        return VU_DONE;
    }
    device_vouch(session->dev);
    if (cache == VU_RECORD_WRITETHROUGH) {
        return device_has_writeback(session->dev) ? vu_begin_writethrough(session) : VU_DONE;
    }
    if (!device_has_writeback(session->dev)) {
        vu_end_writethrough(session);
    }
    return VU_DONE;
}

static enum vu_verdict take_state(struct vu_session *session)
{
    const struct vu_record *record = (const struct vu_record *)session->transfer.bytes;
    char note[512];

    if (vu_has_enabled_ring(session->dev)) {
        return vu_fault(session, VU_REFUSED, "rings run already, the state came too late");
    }
    if (vu_record_check(record, session->transfer.done, session->dev, note, sizeof(note),
                        &session->err) < 0) {
        return VU_REFUSED;
    }
    log_info("%s: goes on with the state of a guest that came%s%s", session->label,
             note[0] ? "; what it sees otherwise when it starts anew: " : "", note);
    return take_cache(session, record->cache);
}

enum vu_verdict vu_check_device_state(struct vu_session *session, struct vu_msg *msg)
{
    struct vu_transfer *transfer = &session->transfer;

    (void)msg;
    if (!has_states(session)) {
        return vu_fault(session, VU_BAD, "DEVICE_STATE was not negotiated");
    }
    if (!transfer->is_known) {
        return vu_fault(session, VU_REFUSED, "no state was asked for, or sent");
    }
    if (transfer->fd >= 0) {
        return vu_wait_for_state(session);
    }
    if (transfer->err.code < 0) {
        session->err = transfer->err;
        return VU_REFUSED;
    }
    return transfer->direction == LOAD ? take_state(session) : VU_DONE;
}
