# SPDX-License-Identifier: GPL-2.0-or-later
# ---- tests ----
TESTS =
check_PROGRAMS =
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
LOG_COMPILER = $(top_srcdir)/tests/unit/tap

LDADD = libtest.a cmd/common/libcommon.a transports/vmm/libvmm.a $(FRONT_END) $(CMOCKA_LIBS) $(UV_LIBS) $(AIO_LIBS)

# The other side: a front-end with a guest, and whatever such a guest may do wrong.
check_LIBRARIES = libtest.a
libtest_a_SOURCES = \
	tests/lib/arena.c tests/lib/arena.h \
	tests/lib/driver.c tests/lib/driver.h \
	tests/lib/find_parts.h \
	tests/lib/frontend.c tests/lib/frontend.h tests/lib/frontend_io.c \
	tests/lib/packed.c tests/lib/packed.h \
	tests/lib/raw_ring.c tests/lib/raw_ring.h \
	tests/lib/vhost_msg.c tests/lib/vhost_msg.h \
	tests/unit/operation.c tests/unit/operation.h \
	tests/unit/device_end.h tests/unit/unit.h

FRONTEND_LDADD = libtest.a $(FRONT_END)

# Front-ends, well-behaved and not, against a daemon that runs: tests/e2e/frontend.bats.
check_PROGRAMS += tests/frontend-tests
tests_frontend_tests_SOURCES = \
	tests/e2e/frontend_bad_messages.c tests/e2e/frontend_bad_rings.c tests/e2e/frontend_cache.c \
	tests/e2e/frontend_cases.h tests/e2e/frontend_good.c tests/e2e/frontend_large.c \
	tests/e2e/frontend_life.c tests/e2e/frontend_ranges.c \
	tests/e2e/frontend_tests.c
tests_frontend_tests_LDADD = $(FRONTEND_LDADD)

# Front-ends that mean harm, round by round: tests/e2e/hostile-peers.bats, tests/bench/hostile.
check_PROGRAMS += tests/hostile-peer
tests_hostile_peer_SOURCES = tests/e2e/hostile_messages.c tests/e2e/hostile_peer.c \
	tests/e2e/hostile_peer.h tests/e2e/hostile_rings.c
tests_hostile_peer_LDADD = $(FRONTEND_LDADD)

# Comparisons with other back-ends: `make bench BENCH_FLAGS=...`, see vblk-performance(7).
bench: all
	$(srcdir)/tests/bench/compare --builddir . $(BENCH_FLAGS)

# Reads beside discards, run by hand: tests/bench/discard.
check_PROGRAMS += tests/discard-load
tests_discard_load_SOURCES = tests/bench/discard_load.c
tests_discard_load_LDADD = $(FRONTEND_LDADD)

# A front-end that stays, with requests under way: tests/e2e/control.bats.
check_PROGRAMS += tests/frontend-fence tests/frontend-hold
tests_frontend_fence_SOURCES = tests/e2e/frontend_fence.c
tests_frontend_fence_LDADD = $(FRONTEND_LDADD)
tests_frontend_hold_SOURCES = tests/e2e/frontend_hold.c
tests_frontend_hold_LDADD = $(FRONTEND_LDADD)

# Kills under load: by hand, by scripts/check, by soak.bats.
dist_noinst_SCRIPTS = tests/soak tests/soaking/deeds.py tests/soaking/loads.py tests/soaking/world.py \
	tests/e2e/scattered_fs.py tests/e2e/soak.bats

# A driver over the project's own front-end, without a guest: tests/e2e/client.bats.
check_PROGRAMS += tests/client-load
tests_client_load_SOURCES = tests/e2e/client_load.c
tests_client_load_LDADD = $(FRONTEND_LDADD)

.PHONY: bench check-valgrind

if HAVE_CMOCKA
UNIT_TESTS = \
	tests/unit/test_admission \
	tests/unit/test_aio_ring \
	tests/unit/test_argv \
	tests/unit/test_base \
	tests/unit/test_block_lock \
	tests/unit/test_blk \
	tests/unit/test_blk_driver \
	tests/unit/test_boot \
	tests/unit/test_broker \
	tests/unit/test_chore \
	tests/unit/test_claim \
	tests/unit/test_console \
	tests/unit/test_control \
	tests/unit/test_cpus \
	tests/unit/test_device \
	tests/unit/test_device_inflight \
	tests/unit/test_device_suspend \
	tests/unit/test_device_log \
	tests/unit/test_dirty_log \
	tests/unit/test_disk \
	tests/unit/test_disk_fence \
	tests/unit/test_disk_pin \
	tests/unit/test_device_long \
	tests/unit/test_engine \
	tests/unit/test_err \
	tests/unit/test_errors \
	tests/unit/test_fence \
	tests/unit/test_flush \
	tests/unit/test_foreign \
	tests/unit/test_gate \
	tests/unit/test_glance \
	tests/unit/test_hist \
	tests/unit/test_huge_bounce \
	tests/unit/test_huge_learn \
	tests/unit/test_image \
	tests/unit/test_image_allocate \
	tests/unit/test_image_chs \
	tests/unit/test_image_format \
	tests/unit/test_keeper \
	tests/unit/test_image_fate \
	tests/unit/test_given_json \
	tests/unit/test_image_given \
	tests/unit/test_image_id \
	tests/unit/test_image_lock \
	tests/unit/test_image_random \
	tests/unit/test_image_range \
	tests/unit/test_image_sync \
	tests/unit/test_image_zoned \
	tests/unit/test_lane_map \
	tests/unit/test_lane_refusal \
	tests/unit/test_lane_zeroes \
	tests/unit/test_lanes \
	tests/unit/test_limiter \
	tests/unit/test_log \
	tests/unit/test_log_writer \
	tests/unit/test_machine \
	tests/unit/test_machine_wild \
	tests/unit/test_mem \
	tests/unit/test_merge \
	tests/unit/test_node \
	tests/unit/test_node_file \
	tests/unit/test_node_null \
	tests/unit/test_node_sector \
	tests/unit/test_notify \
	tests/unit/test_options \
	tests/unit/test_params \
	tests/unit/test_parcel \
	tests/unit/test_pci_host \
	tests/unit/test_plane \
	tests/unit/test_plane_handover \
	tests/unit/test_plane_medium \
	tests/unit/test_plane_resize \
	tests/unit/test_porter \
	tests/unit/test_range \
	tests/unit/test_registry \
	tests/unit/test_retry \
	tests/unit/test_ring \
	tests/unit/test_ring_driver \
	tests/unit/test_ring_driver_packed \
	tests/unit/test_ring_inflight \
	tests/unit/test_ring_log \
	tests/unit/test_ring_packed \
	tests/unit/test_ringer \
	tests/unit/test_rpc \
	tests/unit/test_sandbox \
	tests/unit/test_show \
	tests/unit/test_sector_random \
	tests/unit/test_size \
	tests/unit/test_slots \
	tests/unit/test_socket_dir \
	tests/unit/test_batch \
	tests/unit/test_spin \
	tests/unit/test_state \
	tests/unit/test_stuck \
	tests/unit/test_take_over \
	tests/unit/test_text \
	tests/unit/test_trial \
	tests/unit/test_unix_socket \
	tests/unit/test_uring_limits \
	tests/unit/test_verify \
	tests/unit/test_vhost_user \
	tests/unit/test_vhost_user_client \
	tests/unit/test_vhost_user_conn \
	tests/unit/test_vhost_user_given \
	tests/unit/test_vhost_user_inflight \
	tests/unit/test_vhost_user_log \
	tests/unit/test_vhost_user_memory \
	tests/unit/test_vhost_user_cache \
	tests/unit/test_vhost_user_msgs \
	tests/unit/test_vhost_user_rings \
	tests/unit/test_vhost_user_state \
	tests/unit/test_vhost_user_status \
	tests/unit/test_virtio_mmio \
	tests/unit/test_virtio_pci \
	tests/unit/test_virtio_registers \
	tests/unit/test_virtio_wild \
	tests/unit/test_wiper \
	tests/unit/test_worker \
	tests/unit/test_zeroes
check_PROGRAMS += $(UNIT_TESTS)
TESTS += $(UNIT_TESTS)

RING_DRIVER_WORLD = tests/unit/ring_driver_world.h
IMAGE_WORLD = tests/unit/image_world.c tests/unit/image_world.h
GATE_IMAGE = tests/unit/gate_image.c tests/unit/gate_image.h
DEVICE_GUEST = tests/unit/device_guest.c tests/unit/device_guest.h
BLOCK_RAM = tests/unit/block_ram.c tests/unit/block_ram.h
LOCK_HOLDER = tests/unit/lock_holder.c tests/unit/lock_holder.h
tests_unit_test_node_file_SOURCES = tests/unit/test_node_file.c $(IMAGE_WORLD) $(LOCK_HOLDER)
tests_unit_test_unix_socket_SOURCES = tests/unit/test_unix_socket.c $(LOCK_HOLDER)
tests_unit_test_node_file_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=nanosleep
tests_unit_test_unix_socket_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=nanosleep
tests_unit_test_huge_bounce_SOURCES = tests/unit/test_huge_bounce.c $(IMAGE_WORLD)
tests_unit_test_wiper_SOURCES = tests/unit/test_wiper.c $(IMAGE_WORLD)
tests_unit_test_wiper_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=fallocate,--wrap=fdatasync,--wrap=thread_start
tests_unit_test_merge_SOURCES = tests/unit/test_merge.c $(IMAGE_WORLD)
tests_unit_test_image_SOURCES = tests/unit/test_image.c $(IMAGE_WORLD) \
	tests/unit/node_count.c tests/unit/node_count.h
tests_unit_test_image_fate_SOURCES = tests/unit/test_image_fate.c $(IMAGE_WORLD)
tests_unit_test_image_given_SOURCES = tests/unit/test_image_given.c $(IMAGE_WORLD)
tests_unit_test_image_id_SOURCES = tests/unit/test_image_id.c $(IMAGE_WORLD)
tests_unit_test_image_allocate_SOURCES = tests/unit/test_image_allocate.c $(IMAGE_WORLD)
tests_unit_test_image_allocate_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=fallocate,--wrap=pwrite
tests_unit_test_image_range_SOURCES = tests/unit/test_image_range.c $(IMAGE_WORLD)
tests_unit_test_fence_SOURCES = tests/unit/test_fence.c tests/unit/dying.c tests/unit/dying.h \
	$(IMAGE_WORLD)
tests_unit_test_fence_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=nanosleep
tests_unit_test_claim_SOURCES = tests/unit/test_claim.c tests/unit/dying.c tests/unit/dying.h \
	$(IMAGE_WORLD)
tests_unit_test_claim_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=nanosleep
tests_unit_test_image_lock_SOURCES = tests/unit/test_image_lock.c $(IMAGE_WORLD)
tests_unit_test_image_lock_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=nanosleep
tests_unit_test_image_sync_SOURCES = tests/unit/test_image_sync.c $(IMAGE_WORLD)
tests_unit_test_node_SOURCES = tests/unit/test_node.c $(IMAGE_WORLD) \
	tests/unit/node_count.c tests/unit/node_count.h
tests_unit_test_image_random_SOURCES = tests/unit/test_image_random.c $(IMAGE_WORLD) \
	tests/unit/node_mirror.c tests/unit/node_mirror.h
tests_unit_test_range_SOURCES = tests/unit/test_range.c
tests_unit_test_block_lock_SOURCES = tests/unit/test_block_lock.c tests/unit/chance.h
tests_unit_test_block_lock_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=pthread_mutex_lock,--wrap=pthread_mutex_unlock
tests_unit_test_node_sector_SOURCES = tests/unit/test_node_sector.c $(BLOCK_RAM)
tests_unit_test_sector_random_SOURCES = tests/unit/test_sector_random.c tests/unit/chance.h $(BLOCK_RAM)
tests_unit_test_retry_SOURCES = tests/unit/test_retry.c $(IMAGE_WORLD)
tests_unit_test_engine_SOURCES = tests/unit/test_engine.c $(IMAGE_WORLD)

tests_unit_test_gate_SOURCES = tests/unit/test_gate.c tests/unit/chance.h $(DEVICE_GUEST)

tests_unit_test_errors_SOURCES = tests/unit/test_errors.c tests/unit/chance.h $(DEVICE_GUEST)
tests_unit_test_limiter_SOURCES = tests/unit/test_limiter.c tests/unit/chance.h

tests_unit_test_flush_SOURCES = tests/unit/test_flush.c tests/unit/chance.h \
	tests/unit/flush_check.c tests/unit/flush_check.h tests/unit/flush_world.c \
	tests/unit/flush_world.h $(IMAGE_WORLD) $(DEVICE_GUEST)

tests_unit_test_lane_zeroes_SOURCES = tests/unit/test_lane_zeroes.c $(DEVICE_GUEST)

tests_unit_test_device_SOURCES = tests/unit/test_device.c $(GATE_IMAGE) $(DEVICE_GUEST) \
	tests/unit/count_alloc.c tests/unit/count_alloc.h
tests_unit_test_device_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free

tests_unit_test_dirty_log_SOURCES = tests/unit/test_dirty_log.c tests/unit/chance.h

tests_unit_test_device_inflight_SOURCES = tests/unit/test_device_inflight.c $(DEVICE_GUEST)
tests_unit_test_device_suspend_SOURCES = tests/unit/test_device_suspend.c $(DEVICE_GUEST)

tests_unit_test_device_log_SOURCES = tests/unit/test_device_log.c tests/unit/chance.h $(GATE_IMAGE) \
	$(IMAGE_WORLD)

tests_unit_test_device_long_SOURCES = tests/unit/test_device_long.c \
	tests/unit/count_alloc.c tests/unit/count_alloc.h
tests_unit_test_device_long_LDFLAGS = $(tests_unit_test_device_LDFLAGS)

tests_unit_test_lanes_SOURCES = tests/unit/test_lanes.c $(IMAGE_WORLD) $(GATE_IMAGE) $(DEVICE_GUEST) \
	tests/unit/node_mirror.c tests/unit/node_mirror.h \
	tests/unit/count_alloc.c tests/unit/count_alloc.h
tests_unit_test_lanes_LDFLAGS = $(tests_unit_test_device_LDFLAGS)

DAEMON_LDADD = libtest.a cmd/common/libcommon.a daemon/libdaemon.a $(FRONT_END) \
	$(CMOCKA_LIBS) $(JANSSON_LIBS) $(UV_LIBS) $(AIO_LIBS)
CONTROL_WORLD = tests/unit/control_world.c tests/unit/control_world.h tests/unit/no_rates.h
tests_unit_test_admission_SOURCES = tests/unit/test_admission.c
tests_unit_test_admission_LDADD = daemon/libdaemon.a $(LDADD)
tests_unit_test_argv_SOURCES = tests/unit/test_argv.c
tests_unit_test_chore_SOURCES = tests/unit/test_chore.c $(CONTROL_WORLD)
tests_unit_test_console_SOURCES = tests/unit/test_console.c cmd/vm/console.c cmd/vm/console.h
tests_unit_test_control_SOURCES = tests/unit/test_control.c $(CONTROL_WORLD) \
	tests/unit/count_alloc.c tests/unit/count_alloc.h
tests_unit_test_control_LDFLAGS = $(tests_unit_test_device_LDFLAGS)
tests_unit_test_control_LDADD = $(DAEMON_LDADD)
tests_unit_test_hist_SOURCES = tests/unit/test_hist.c cmd/bench/hist.c cmd/bench/hist.h
tests_unit_test_verify_SOURCES = tests/unit/test_verify.c cmd/bench/verify.c cmd/bench/verify.h
tests_unit_test_broker_LDADD = $(DAEMON_LDADD) $(SECCOMP_LIBS)
tests_unit_test_sandbox_LDADD = $(DAEMON_LDADD) $(SECCOMP_LIBS)
tests_unit_test_notify_SOURCES = tests/unit/test_notify.c $(CONTROL_WORLD)
tests_unit_test_notify_LDADD = $(DAEMON_LDADD)
tests_unit_test_keeper_SOURCES = tests/unit/test_keeper.c $(CONTROL_WORLD)
tests_unit_test_given_json_LDADD = $(DAEMON_LDADD)
tests_unit_test_keeper_LDADD = $(DAEMON_LDADD)
tests_unit_test_params_LDADD = $(DAEMON_LDADD)
tests_unit_test_disk_fence_LDADD = $(DAEMON_LDADD)
tests_unit_test_disk_pin_LDADD = $(DAEMON_LDADD)
tests_unit_test_plane_SOURCES = tests/unit/test_plane.c tests/unit/chance.h $(CONTROL_WORLD) $(GATE_IMAGE)
tests_unit_test_plane_LDADD = $(DAEMON_LDADD)
tests_unit_test_plane_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=image_open,--wrap=image_close,--wrap=image_fate_look
tests_unit_test_plane_handover_SOURCES = tests/unit/test_plane_handover.c $(CONTROL_WORLD)
tests_unit_test_plane_handover_LDADD = $(DAEMON_LDADD)
tests_unit_test_plane_medium_SOURCES = tests/unit/test_plane_medium.c $(CONTROL_WORLD)
tests_unit_test_plane_medium_LDADD = $(DAEMON_LDADD)
tests_unit_test_plane_medium_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=image_open,--wrap=image_close
tests_unit_test_plane_resize_SOURCES = tests/unit/test_plane_resize.c $(CONTROL_WORLD) $(GATE_IMAGE)
tests_unit_test_plane_resize_LDADD = $(DAEMON_LDADD)
tests_unit_test_plane_resize_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=image_open,--wrap=node_measure,--wrap=node_resize
tests_unit_test_registry_SOURCES = tests/unit/test_registry.c $(CONTROL_WORLD)
tests_unit_test_registry_LDADD = $(DAEMON_LDADD)
tests_unit_test_registry_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=device_attach,--wrap=device_new,--wrap=image_open,--wrap=image_close
tests_unit_test_rpc_SOURCES = tests/unit/test_rpc.c \
	tests/unit/count_alloc.c tests/unit/count_alloc.h
tests_unit_test_rpc_LDFLAGS = $(tests_unit_test_device_LDFLAGS)
tests_unit_test_rpc_LDADD = $(DAEMON_LDADD)
tests_unit_test_show_SOURCES = tests/unit/test_show.c cmd/ctl/show.c cmd/ctl/show.h \
	cmd/ctl/list.c cmd/ctl/list.h cmd/ctl/rates.c cmd/ctl/rates.h \
	cmd/ctl/rows.c cmd/ctl/rows.h cmd/ctl/held.c cmd/ctl/held.h \
	cmd/ctl/print.c cmd/ctl/print.h cmd/ctl/shape.c cmd/ctl/shape.h
tests_unit_test_show_LDADD = cmd/common/libcommon.a daemon/libdaemon.a core/block/libblock.a core/base/libbase.a $(CMOCKA_LIBS) $(JANSSON_LIBS)
tests_unit_test_options_SOURCES = tests/unit/test_options.c cmd/ctl/options.c cmd/ctl/options.h \
	cmd/ctl/fixed.c cmd/ctl/fixed.h
tests_unit_test_options_LDADD = $(tests_unit_test_show_LDADD)
tests_unit_test_size_SOURCES = tests/unit/test_size.c
tests_unit_test_state_SOURCES = tests/unit/test_state.c $(CONTROL_WORLD) \
	tests/unit/count_alloc.c tests/unit/count_alloc.h
tests_unit_test_state_LDFLAGS = $(tests_unit_test_device_LDFLAGS)
tests_unit_test_state_LDADD = $(DAEMON_LDADD)
tests_unit_test_socket_dir_LDADD = daemon/libdaemon.a core/base/libbase.a $(CMOCKA_LIBS)
tests_unit_test_take_over_LDADD = $(DAEMON_LDADD)
tests_unit_test_stuck_LDADD = daemon/libdaemon.a core/base/libbase.a $(CMOCKA_LIBS)
tests_unit_test_worker_SOURCES = tests/unit/test_worker.c $(CONTROL_WORLD)
tests_unit_test_worker_LDADD = $(DAEMON_LDADD)

tests_unit_test_boot_SOURCES = tests/unit/test_boot.c cmd/vm/boot.c cmd/vm/boot.h cmd/vm/ram.c \
	cmd/vm/ram.h cmd/vm/layout.h

VU_BENCH = tests/unit/vu_bench.c tests/unit/vu_bench.h tests/unit/vu_bench_peer.c \
	tests/unit/fd_count.h $(GATE_IMAGE)
VIRTIO_HOST = tests/unit/virtio_host.c tests/unit/virtio_host.h
MACHINE_WORLD = tests/unit/machine_world.c tests/unit/machine_world.h $(VIRTIO_HOST) $(VM_MACHINE)
tests_unit_test_disk_SOURCES = tests/unit/test_disk.c tests/unit/fake_backend.c \
	tests/unit/fake_backend.h $(VM_MACHINE)
tests_unit_test_machine_SOURCES = tests/unit/test_machine.c $(MACHINE_WORLD)
tests_unit_test_machine_wild_SOURCES = tests/unit/test_machine_wild.c tests/unit/chance.h \
	$(MACHINE_WORLD)
tests_unit_test_virtio_mmio_SOURCES = tests/unit/test_virtio_mmio.c $(VIRTIO_HOST)
tests_unit_test_virtio_pci_SOURCES = tests/unit/test_virtio_pci.c $(VIRTIO_HOST)
tests_unit_test_virtio_wild_SOURCES = tests/unit/test_virtio_wild.c tests/unit/chance.h \
	$(VIRTIO_HOST)
tests_unit_test_virtio_registers_SOURCES = tests/unit/test_virtio_registers.c $(VIRTIO_HOST)

tests_unit_test_ring_driver_SOURCES = tests/unit/test_ring_driver.c $(RING_DRIVER_WORLD)
tests_unit_test_ring_driver_packed_SOURCES = \
	tests/unit/test_ring_driver_packed.c $(RING_DRIVER_WORLD)
tests_unit_test_porter_SOURCES = tests/unit/test_porter.c tests/unit/fd_count.h tests/unit/lingering.h
tests_unit_test_vhost_user_SOURCES = tests/unit/test_vhost_user.c $(VU_BENCH)
tests_unit_test_vhost_user_conn_SOURCES = tests/unit/test_vhost_user_conn.c \
	tests/unit/lingering.h $(VU_BENCH)
tests_unit_test_vhost_user_memory_SOURCES = tests/unit/test_vhost_user_memory.c $(VU_BENCH)
tests_unit_test_vhost_user_cache_SOURCES = tests/unit/test_vhost_user_cache.c $(VU_BENCH)
tests_unit_test_vhost_user_given_SOURCES = tests/unit/test_vhost_user_given.c $(VU_BENCH)
tests_unit_test_vhost_user_inflight_SOURCES = tests/unit/test_vhost_user_inflight.c $(VU_BENCH)
tests_unit_test_vhost_user_log_SOURCES = tests/unit/test_vhost_user_log.c $(VU_BENCH)
tests_unit_test_vhost_user_msgs_SOURCES = tests/unit/test_vhost_user_msgs.c $(VU_BENCH)
tests_unit_test_vhost_user_rings_SOURCES = tests/unit/test_vhost_user_rings.c $(VU_BENCH)
tests_unit_test_vhost_user_state_SOURCES = tests/unit/test_vhost_user_state.c $(VU_BENCH)
tests_unit_test_vhost_user_status_SOURCES = tests/unit/test_vhost_user_status.c $(VU_BENCH)

tests_unit_test_vhost_user_client_SOURCES = tests/unit/test_vhost_user_client.c \
	tests/unit/fake_backend.c tests/unit/fake_backend.h

# Unit tests under valgrind; a leak is an error.
# All registers are exact at each access: the memory guard goes on behind one that has faulted.
# Threads take turns: a test that looks for answers without sleep would keep the disk's from running.
VALGRIND = valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
	--vex-iropt-register-updates=allregs-at-mem-access --fair-sched=try
check-valgrind: $(UNIT_TESTS) tests/sim/sim
	@status=0; export SIM_SEEDS=60; for test in $(UNIT_TESTS) tests/sim/sim; do \
		echo "valgrind $$test"; \
		$(VALGRIND) ./$$test >$$test.valgrind 2>&1 || { status=1; \
			echo "not ok - $$test under valgrind"; \
			grep -v '^ok' $$test.valgrind | head -n 90 | sed 's/^/# /'; }; \
		cat $$test.valgrind; rm $$test.valgrind; \
	done; exit $$status
endif

# The bare-metal test guest, a bzImage: nothing of a C library, nothing of the sanitizers.
BARE_FLAGS = -ffreestanding -mno-red-zone -mgeneral-regs-only -fno-stack-protector -fno-pic \
	-fno-pie -fno-asynchronous-unwind-tables -fno-sanitize=all -fcf-protection=none
BARE_SCRIPT = tests/guest/bare/bare.ld
if HAVE_BARE
check_PROGRAMS += tests/guest/bare/bare
endif
tests_guest_bare_bare_SOURCES = \
	core/base/base.h \
	core/driver/blk_driver.c core/driver/blk_driver.h core/driver/blk_driver_io.c \
	core/driver/ring_driver.c core/driver/ring_driver.h \
	core/driver/ring_driver_packed.c \
	tests/guest/bare/bare.h \
	tests/guest/bare/boot.S \
	tests/guest/bare/bus_legacy.c \
	tests/guest/bare/bus_mmio.c \
	tests/guest/bare/bus_modern.c \
	tests/guest/bare/bus_pci.c tests/guest/bare/bus_pci.h \
	tests/guest/bare/console.c \
	tests/guest/bare/irq.c \
	tests/guest/bare/main.c \
	tests/guest/bare/options.c \
	tests/guest/bare/pci.c tests/guest/bare/pci.h
tests_guest_bare_bare_CFLAGS = -std=gnu11 $(WARNINGS) $(BARE_FLAGS)
tests_guest_bare_bare_CCASFLAGS = -Wa,--noexecstack
tests_guest_bare_bare_LDFLAGS = $(BARE_FLAGS) -nostdlib -static -Wl,--oformat=binary \
	-Wl,--build-id=none -Wl,-T,$(srcdir)/$(BARE_SCRIPT)
tests_guest_bare_bare_LDADD =
tests_guest_bare_bare_DEPENDENCIES = $(BARE_SCRIPT)

# Fuzz targets: with --enable-fuzzers programs of libFuzzer, else they replay their corpora.
FUZZERS = tests/fuzz/fuzz_control tests/fuzz/fuzz_disk tests/fuzz/fuzz_ring tests/fuzz/fuzz_state \
	tests/fuzz/fuzz_vhost_user
check_PROGRAMS += $(FUZZERS)
tests_fuzz_fuzz_control_SOURCES = tests/fuzz/fuzz_control.c
tests_fuzz_fuzz_disk_SOURCES = tests/fuzz/fuzz_disk.c \
	tests/fuzz/host.c tests/fuzz/host.h tests/fuzz/peer.c tests/fuzz/peer.h \
	tests/fuzz/peer_flip.c tests/fuzz/peer_guest.c
tests_fuzz_fuzz_ring_SOURCES = tests/fuzz/fuzz_ring.c
tests_fuzz_fuzz_state_SOURCES = tests/fuzz/fuzz_state.c
tests_fuzz_fuzz_vhost_user_SOURCES = tests/fuzz/fuzz_vhost_user.c
FUZZ_LDADD = libtest.a $(FRONT_END) $(UV_LIBS) $(AIO_LIBS)
FUZZ_DAEMON_LDADD = libtest.a cmd/common/libcommon.a daemon/libdaemon.a $(FRONT_END) \
	$(JANSSON_LIBS) $(UV_LIBS) $(AIO_LIBS)
FUZZ_CONTROL_WRAP = -Wl,--wrap=image_open,--wrap=unix_listen,--wrap=unlink
tests_fuzz_fuzz_control_LDADD = $(FUZZ_DAEMON_LDADD)
tests_fuzz_fuzz_disk_LDADD = $(FUZZ_DAEMON_LDADD)
tests_fuzz_fuzz_ring_LDADD = $(FUZZ_LDADD)
tests_fuzz_fuzz_state_LDADD = $(FUZZ_DAEMON_LDADD)
tests_fuzz_fuzz_vhost_user_LDADD = $(FUZZ_LDADD)
if ENABLE_FUZZERS
tests_fuzz_fuzz_control_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_CONTROL_WRAP) -fsanitize=fuzzer
tests_fuzz_fuzz_disk_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_ring_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_state_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_vhost_user_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
else
tests_fuzz_fuzz_control_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_CONTROL_WRAP)
tests_fuzz_fuzz_control_SOURCES += tests/fuzz/standalone.c
tests_fuzz_fuzz_state_SOURCES += tests/fuzz/standalone.c
tests_fuzz_fuzz_disk_SOURCES += tests/fuzz/standalone.c
tests_fuzz_fuzz_ring_SOURCES += tests/fuzz/standalone.c
tests_fuzz_fuzz_vhost_user_SOURCES += tests/fuzz/standalone.c
TESTS += $(FUZZERS)
endif

# The device in a world of chance, all of it in one thread: vblkd-internals(7), "The simulation".
# Rings and what lies around them are built once more, so that a process can die between two stores.
check_LIBRARIES += tests/sim/libsimvirtio.a
tests_sim_libsimvirtio_a_SOURCES = $(core_virtio_libvirtio_a_SOURCES)
tests_sim_libsimvirtio_a_CPPFLAGS = $(AM_CPPFLAGS) -include $(srcdir)/tests/sim/stores.h
check_PROGRAMS += tests/sim/sim
tests_sim_sim_SOURCES = \
	tests/sim/crash.c tests/sim/crash.h \
	tests/sim/engine.c \
	tests/sim/frontend.c \
	tests/sim/guest.c tests/sim/guest.h tests/sim/guest_inside.h \
	tests/sim/guest_request.c \
	tests/sim/image.c tests/sim/image.h tests/sim/image_inside.h \
	tests/sim/kernel.c tests/sim/kernel.h \
	tests/sim/lanes.c \
	tests/sim/loop.c tests/sim/loop.h \
	tests/sim/model.c tests/sim/model.h \
	tests/sim/process.c tests/sim/process.h \
	tests/sim/sim.c tests/sim/sim.h \
	tests/sim/stores.h \
	tests/sim/world.c
tests_sim_sim_LDADD = core/device/libdevice.a tests/sim/libsimvirtio.a core/driver/libdriver.a \
	core/block/libblock.a core/base/libbase.a
tests_sim_sim_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free \
	-Wl,--wrap=mmap,--wrap=munmap,--wrap=close,--wrap=fcntl,--wrap=readlink,--wrap=epoll_ctl \
	-Wl,--wrap=clock_gettime
TESTS += tests/sim/sim

EXTRA_DIST = $(BARE_SCRIPT) README.md LICENSE CHANGELOG.md tests/e2e/frontend.bats \
	tests/bench/compare tests/bench/discard tests/bench/hostile tests/bench/images.py tests/bench/limits tests/bench/load.py tests/bench/servers.py \
	tests/bench/scale tests/bench/tables.py tests/e2e/powercut.bats tests/e2e/powercut.py \
	tests/fuzz/corpus tests/proofs

# ---- documentation and layers ----
TESTS += tests/docs.sh tests/layers.sh tests/scripts.sh
EXTRA_DIST += cmd/vblkbench.bash cmd/vblkctl.bash cmd/vblkvm.bash tests/e2e/bad-input.bats \
	tests/e2e/batches.bats tests/e2e/bench.bats tests/e2e/client.bats \
	tests/e2e/cache.bats tests/e2e/control.bats tests/e2e/shown.bats tests/e2e/share.bats tests/e2e/devices.bats tests/e2e/discard.bats tests/e2e/fence.bats tests/e2e/formats.bats tests/e2e/uml.bats tests/e2e/log.bats tests/e2e/threads.bats tests/e2e/places.bats \
	tests/e2e/zeroes.bats tests/e2e/hang_thread.py tests/e2e/no_io_uring.py tests/e2e/protocol.bats tests/e2e/protocol_client.py \
	tests/e2e/recover.bats tests/e2e/replace.bats tests/e2e/resize.bats tests/e2e/sandbox.bats tests/e2e/sectors.bats tests/e2e/steered.bats
EXTRA_DIST += tests/e2e/upgrade.bats tests/e2e/upgrade_peer.py
EXTRA_DIST += tests/unit/tap tests/circles.py tests/docs.sh tests/docs.py tests/layers.sh tests/scripts.sh
EXTRA_DIST += tests/e2e/data.bats tests/e2e/slow_fs.py tests/tsan.supp
EXTRA_DIST += tests/nightly/dm.bats tests/e2e/errors.bats tests/e2e/held.bats tests/e2e/huge.bats tests/e2e/hostile.bats tests/e2e/hostile_backend.py
EXTRA_DIST += tests/e2e/block_err.py tests/e2e/block_kick.py tests/e2e/foreign.bats \
	tests/e2e/crowd.py tests/e2e/hand_in.py tests/e2e/lock_file.py tests/e2e/share_much.py tests/e2e/silent_fs.py
EXTRA_DIST += tests/e2e/state.bats tests/e2e/migrate.bats tests/e2e/migrate.py tests/e2e/suspend.py
EXTRA_DIST += tests/e2e/vblkvm.bats tests/e2e/vblkvm_terminal.py
EXTRA_DIST += tests/e2e/fairness.bats tests/e2e/limits.bats tests/e2e/hostile-peers.bats tests/e2e/hostile-text.bats tests/e2e/usage.bats
EXTRA_DIST += .ci/run scripts/check scripts/demo scripts/deps scripts/skipped scripts/sources tests/e2e/firmware.bats \
	tests/e2e/guest.bats tests/e2e/live.bats tests/lib/complete.bash tests/lib/e2e.bash \
	tests/guest/agent tests/guest/agentctl tests/guest/umlrun tests/guest/blkverify.c tests/guest/fetch-kernel \
	tests/guest/init tests/guest/mkinitramfs tests/guest/mknested tests/guest/nested \
	tests/guest/prepare tests/guest/task tests/guest/tsc-khz
