# SPDX-License-Identifier: GPL-2.0-or-later
# Rings, the guest's memory, what a request of virtio-blk means.
noinst_LIBRARIES += core/virtio/libvirtio.a

core_virtio_libvirtio_a_SOURCES = \
	core/virtio/blk.c core/virtio/blk.h \
	core/virtio/blk_opts.c core/virtio/blk_opts.h \
	core/virtio/blk_ranges.c core/virtio/blk_ranges.h \
	core/virtio/blk_request.h \
	core/virtio/dirty_log.c core/virtio/dirty_log.h \
	core/virtio/inflight.c core/virtio/inflight.h \
	core/virtio/layout.h \
	core/virtio/mem.c core/virtio/mem.h \
	core/virtio/mem_guard.c \
	core/virtio/ring.h \
	core/virtio/ring_common.c \
	core/virtio/ring_inside.h \
	core/virtio/ring_order.c \
	core/virtio/ring_packed.c \
	core/virtio/ring_packed_inside.h \
	core/virtio/ring_packed_log.c \
	core/virtio/ring_split.c \
	core/virtio/ring_walk.c
