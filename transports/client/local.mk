# SPDX-License-Identifier: GPL-2.0-or-later
# The front-end of vhost-user.
noinst_LIBRARIES += transports/client/libclient.a

transports_client_libclient_a_SOURCES = \
	transports/client/vhost_user_bus.c transports/client/vhost_user_bus.h \
	transports/client/vhost_user_channel.c \
	transports/client/vhost_user_client.c transports/client/vhost_user_client.h \
	transports/client/vhost_user_client_inflight.c \
	transports/client/vhost_user_client_ring.c \
	transports/client/vhost_user_client_setup.c \
	transports/client/vhost_user_client_state.h \
	transports/client/vhost_user_link.c transports/client/vhost_user_link.h
