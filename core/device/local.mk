# SPDX-License-Identifier: GPL-2.0-or-later
# A disk's data plane and its threads.
noinst_LIBRARIES += core/device/libdevice.a

core_device_libdevice_a_SOURCES = \
	core/device/batch.c core/device/batch.h \
	core/device/device.c core/device/device.h \
	core/device/device_change.c core/device/device_change.h \
	core/device/device_choice.h \
	core/device/device_error.c \
	core/device/device_given.c core/device/device_given.h \
	core/device/device_image.c \
	core/device/device_info.c \
	core/device/device_inflight.c \
	core/device/device_log.c \
	core/device/device_ring.c \
	core/device/device_state.h \
	core/device/device_sync.c core/device/device_sync.h \
	core/device/drain.h \
	core/device/held.h \
	core/device/lane.h \
	core/device/lane_delay.c core/device/lane_delay.h \
	core/device/lane_finish.c core/device/lane_finish.h \
	core/device/lane_gate.c core/device/lane_gate.h \
	core/device/lane_life.c core/device/lane_life.h \
	core/device/lane_map.c core/device/lane_map.h \
	core/device/lane_mark.c core/device/lane_mark.h \
	core/device/lane_refusal.c core/device/lane_refusal.h \
	core/device/lane_serve.c core/device/lane_serve.h \
	core/device/lane_signal.c core/device/lane_signal.h \
	core/device/lane_start.h \
	core/device/lane_thread.c core/device/lane_thread.h \
	core/device/lane_tidy.c core/device/lane_tidy.h \
	core/device/lane_turn.c core/device/lane_turn.h \
	core/device/lane_way.c core/device/lane_way.h \
	core/device/lane_zeroes.c core/device/lane_zeroes.h \
	core/device/lanes.c core/device/lanes.h \
	core/device/limiter.c core/device/limiter.h \
	core/device/pause.h \
	core/device/queue.c core/device/queue.h \
	core/device/queue_blind.c \
	core/device/queue_signal.c \
	core/device/rate_buckets.c core/device/rate_buckets.h \
	core/device/rates.c core/device/rates.h \
	core/device/ring_setup.c core/device/ring_setup.h \
	core/device/spin.c core/device/spin.h \
	core/device/throttle.h
