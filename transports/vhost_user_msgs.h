/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The meaning of vhost-user messages: one table, one small handler for each.  Those about
 * rings are in vhost_user_rings.c, those about memory in vhost_user_memory.c, those about the
 * two logs in vhost_user_inflight.c and vhost_user_log.c, about the device status in
 * vhost_user_status.c, about what is migrated in vhost_user_transfer.c, what the driver writes to
 * the config space in vhost_user_cache.c, the rest with the table in vhost_user_msgs.c. No state of
 * their own. Disk thread only.
 */

#include "transports/vhost_user_session.h"

/*
 * One message.  A handler is called when payload and fds are of the form that is said here;
 * an fd that it takes it replaces by -1, the connection closes the others.  Without a handler
 * the message is known by name and not served.
 */
struct vu_handler {
    const char *name;
    uint16_t min_payload; /* bytes */
    uint16_t max_payload;
    uint8_t min_fds;
    uint8_t max_fds;
    bool has_reply; /* of its own, so it is never answered with an acknowledgement */
    enum vu_verdict (*handle)(struct vu_session *session, struct vu_msg *msg);
    bool always_acks; /* asked to or not, unless it closes the connection */
};

/* Of one that is disabled nothing is in flight, once that was answered. */
bool vu_has_enabled_ring(const struct device *dev);

/* They are all disabled, and drained: end them, and handle the message.  See set_up_anew. */
enum vu_verdict vu_set_all_up_anew(struct vu_session *session, struct vu_msg *msg);

/* Never NULL. */
const struct vu_handler *vu_handler_of(uint32_t request);

/* vhost_user_rings.c */
enum vu_verdict vu_set_vring_num(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_set_vring_addr(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_set_vring_base(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_get_vring_base(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_get_vring_base_skip_drain(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_set_vring_kick(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_set_vring_call(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_set_vring_err(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_set_vring_enable(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_reset_device(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_reset_owner(struct vu_session *session, struct vu_msg *msg);

/* For handlers: stop and disable all rings when they are drained; they keep where they are. */
enum vu_verdict vu_stop_rings(struct vu_session *session);

/* vhost_user_status.c */
enum vu_verdict vu_set_status(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_get_status(struct vu_session *session, struct vu_msg *msg);

/* vhost_user_memory.c */
enum vu_verdict vu_set_mem_table(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_get_max_mem_slots(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_add_mem_reg(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_rem_mem_reg(struct vu_session *session, struct vu_msg *msg);

/* vhost_user_inflight.c */
enum vu_verdict vu_get_inflight_fd(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_set_inflight_fd(struct vu_session *session, struct vu_msg *msg);

/* vhost_user_log.c */
enum vu_verdict vu_set_log_base(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_set_log_fd(struct vu_session *session, struct vu_msg *msg);

/* May this front-end have its writes logged? */
bool vu_has_log(const struct vu_session *session);

/* vhost_user_transfer.c: the state of a guest that is migrated. */
enum vu_verdict vu_set_device_state_fd(struct vu_session *session, struct vu_msg *msg);
enum vu_verdict vu_check_device_state(struct vu_session *session, struct vu_msg *msg);

/* The connection is over: nobody wants what is on its way. */
void vu_transfer_drop(struct vu_session *session);

/* vhost_user_cache.c: the driver writes `writeback` of the config space. */
enum vu_verdict vu_switch_cache(struct vu_session *session, uint8_t is_writeback);

/* It has writethrough from now on, and the message is done when that is kept. */
enum vu_verdict vu_begin_writethrough(struct vu_session *session);

/* That it wants writeback was acknowledged. */
void vu_end_writethrough(struct vu_session *session);

/* A ring was stopped: perhaps the device waited for memory of that one alone. */
void vu_memory_settle(struct vu_session *session);
