# SPDX-License-Identifier: GPL-2.0-or-later
# The back-end of vhost-user, and UNIX sockets.
noinst_LIBRARIES += transports/libvhost_user.a

transports_libvhost_user_a_SOURCES = \
	transports/socket_rights.c transports/socket_rights.h \
	transports/unix_socket.c transports/unix_socket.h \
	transports/vhost_user.c transports/vhost_user.h \
	transports/vhost_user_cache.c \
	transports/vhost_user_conn.c transports/vhost_user_conn.h \
	transports/vhost_user_given.c transports/vhost_user_given.h \
	transports/vhost_user_inflight.c \
	transports/vhost_user_log.c \
	transports/vhost_user_memory.c \
	transports/vhost_user_msgs.c transports/vhost_user_msgs.h \
	transports/vhost_user_peek.c transports/vhost_user_peek.h \
	transports/vhost_user_peer.c transports/vhost_user_peer.h \
	transports/vhost_user_record.c transports/vhost_user_record.h \
	transports/vhost_user_reply.c transports/vhost_user_reply.h \
	transports/vhost_user_rings.c \
	transports/vhost_user_session.c transports/vhost_user_session.h \
	transports/vhost_user_status.c \
	transports/vhost_user_transfer.c \
	transports/vhost_user_wire.h
