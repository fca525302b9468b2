# SPDX-License-Identifier: GPL-2.0-or-later
# Images, and the engines that drive them.
noinst_LIBRARIES += core/block/libblock.a

core_block_libblock_a_SOURCES = \
	core/block/aio_ring.c core/block/aio_ring.h \
	core/block/block_lock.c core/block/block_lock.h \
	core/block/bounce.c core/block/bounce.h \
	core/block/context.c core/block/context.h \
	core/block/delay.c core/block/delay.h \
	core/block/engine.c core/block/engine.h \
	core/block/engine_aio.c \
	core/block/engine_log.c core/block/engine_log.h \
	core/block/engine_threads.c \
	core/block/error_policy.c core/block/error_policy.h \
	core/block/file_io.c core/block/file_io.h \
	core/block/io.h \
	core/block/io_log.c core/block/io_log.h \
	core/block/flight.h \
	core/block/granule.c core/block/granule.h \
	core/block/huge_bounce.c core/block/huge_bounce.h \
	core/block/huge_learn.c core/block/huge_learn.h \
	core/block/huge_pool.c core/block/huge_pool.h \
	core/block/image.c core/block/image.h \
	core/block/image_allocate.c core/block/image_allocate.h \
	core/block/image_chs.c core/block/image_chs.h \
	core/block/image_claim.c core/block/image_claim.h \
	core/block/image_closing.c core/block/image_closing.h \
	core/block/image_fate.c core/block/image_fate.h \
	core/block/image_fd.c core/block/image_fd.h \
	core/block/image_fence.c core/block/image_fence.h \
	core/block/image_file.c core/block/image_file.h \
	core/block/image_format.c core/block/image_format.h \
	core/block/image_given.c core/block/image_given.h \
	core/block/image_holder.c core/block/image_holder.h \
	core/block/image_id.c core/block/image_id.h \
	core/block/image_lock.c core/block/image_lock.h \
	core/block/image_loop.c core/block/image_loop.h \
	core/block/image_loss.h \
	core/block/image_opening.c core/block/image_opening.h \
	core/block/image_opts.c core/block/image_opts.h \
	core/block/image_owner.c core/block/image_owner.h \
	core/block/image_progress.h \
	core/block/image_range.c core/block/image_range.h \
	core/block/image_refusal.c core/block/image_refusal.h \
	core/block/image_shape.c core/block/image_shape.h \
	core/block/image_stable.c core/block/image_stable.h \
	core/block/image_sync.c core/block/image_sync.h \
	core/block/image_type.c core/block/image_type.h \
	core/block/image_wait.c core/block/image_wait.h \
	core/block/image_zoned.c core/block/image_zoned.h \
	core/block/merge.c core/block/merge.h \
	core/block/node.c core/block/node.h \
	core/block/node_fault.c core/block/node_fault.h \
	core/block/node_file.c core/block/node_file.h \
	core/block/node_forward.c core/block/node_forward.h \
	core/block/node_null.c core/block/node_null.h \
	core/block/node_sector.c core/block/node_sector.h \
	core/block/patch.c core/block/patch.h \
	core/block/path.c core/block/path.h \
	core/block/path_file.c core/block/path_file.h \
	core/block/range.c core/block/range.h \
	core/block/retry.c core/block/retry.h \
	core/block/wipe.c core/block/wipe.h \
	core/block/wiper.c core/block/wiper.h

if HAVE_LIBURING
core_block_libblock_a_SOURCES += core/block/engine_uring.c
endif
