# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon: control, disks, what outlives it.
noinst_LIBRARIES += daemon/libdaemon.a

daemon_libdaemon_a_SOURCES = \
	daemon/call.c daemon/call.h \
	daemon/control.c daemon/control.h \
	daemon/control_socket.c daemon/control_socket.h \
	daemon/daemon.c daemon/daemon.h \
	daemon/disk_ask.c daemon/disk_ask.h \
	daemon/disk_config.c daemon/disk_config.h \
	daemon/disk_json.c daemon/disk_json.h \
	daemon/disk_limits.c daemon/disk_limits.h \
	daemon/disk_opened.c daemon/disk_opened.h \
	daemon/disk_params.c daemon/disk_params.h \
	daemon/disk_pin.c daemon/disk_pin.h \
	daemon/disk_record.c daemon/disk_record.h \
	daemon/disk_warnings.c daemon/disk_warnings.h \
	daemon/gather.c daemon/gather.h \
	daemon/json_memory.c daemon/json_memory.h \
	daemon/keeper.c daemon/keeper.h \
	daemon/let_go.c daemon/let_go.h \
	daemon/limits.c daemon/limits.h \
	daemon/method.h \
	daemon/methods.c daemon/methods.h \
	daemon/methods_disk.c daemon/methods_disk.h \
	daemon/methods_shutdown.c daemon/methods_shutdown.h \
	daemon/notify.c daemon/notify.h \
	daemon/op.c daemon/op.h \
	daemon/params.c daemon/params.h \
	daemon/params_values.c \
	daemon/paths.c daemon/paths.h \
	daemon/plane.c daemon/plane.h \
	daemon/plane_add.c daemon/plane_add.h \
	daemon/plane_await.c daemon/plane_await.h \
	daemon/plane_cache.c daemon/plane_cache.h \
	daemon/plane_close.c daemon/plane_close.h \
	daemon/plane_fate.c daemon/plane_fate.h \
	daemon/plane_handover.c daemon/plane_handover.h \
	daemon/plane_image.c daemon/plane_image.h \
	daemon/plane_info.c daemon/plane_info.h \
	daemon/plane_keep.c daemon/plane_keep.h \
	daemon/plane_late.c daemon/plane_late.h \
	daemon/plane_life.c daemon/plane_life.h \
	daemon/plane_look.c daemon/plane_look.h \
	daemon/plane_move.c daemon/plane_move.h \
	daemon/plane_opening.c daemon/plane_opening.h \
	daemon/plane_resumed.c daemon/plane_resumed.h \
	daemon/plane_set.c daemon/plane_set.h \
	daemon/plane_socket.c daemon/plane_socket.h \
	daemon/plane_state.c daemon/plane_state.h \
	daemon/plane_stop.c daemon/plane_stop.h \
	daemon/plane_sync.c daemon/plane_sync.h \
	daemon/plane_thread.c daemon/plane_thread.h \
	daemon/plane_wait.c daemon/plane_wait.h \
	daemon/protocol.h \
	daemon/registry.c daemon/registry.h \
	daemon/registry_keep.c daemon/registry_keep.h \
	daemon/registry_life.c daemon/registry_life.h \
	daemon/registry_sockets.c daemon/registry_sockets.h \
	daemon/registry_table.c daemon/registry_table.h \
	daemon/settings.c daemon/settings.h \
	daemon/signals.c daemon/signals.h \
	daemon/socket_watch.c daemon/socket_watch.h \
	daemon/state.c daemon/state.h \
	daemon/state_table.c daemon/state_table.h \
	daemon/stuck.c daemon/stuck.h \
	daemon/worker.c daemon/worker.h
