# SPDX-License-Identifier: GPL-2.0-or-later
# The programs.
vblkd_SOURCES = cmd/vblkd.c
vblkd_LDADD = cmd/common/libcommon.a $(BACK_END) $(JANSSON_LIBS) $(UV_LIBS) $(AIO_LIBS) $(SECCOMP_LIBS)

vblkctl_SOURCES = \
	cmd/ctl/args.c cmd/ctl/args.h \
	cmd/ctl/attach.c cmd/ctl/attach.h \
	cmd/ctl/daemon.c cmd/ctl/daemon.h \
	cmd/ctl/fixed.c cmd/ctl/fixed.h \
	cmd/ctl/held.c cmd/ctl/held.h \
	cmd/ctl/help.c cmd/ctl/help.h \
	cmd/ctl/hint.c cmd/ctl/hint.h \
	cmd/ctl/image.c cmd/ctl/image.h \
	cmd/ctl/list.c cmd/ctl/list.h \
	cmd/ctl/medium.c cmd/ctl/medium.h \
	cmd/ctl/options.c cmd/ctl/options.h \
	cmd/ctl/print.c cmd/ctl/print.h \
	cmd/ctl/rates.c cmd/ctl/rates.h \
	cmd/ctl/allocate.c cmd/ctl/allocate.h \
	cmd/ctl/rows.c cmd/ctl/rows.h \
	cmd/ctl/resize.c cmd/ctl/resize.h \
	cmd/ctl/set.c cmd/ctl/set.h \
	cmd/ctl/shape.c cmd/ctl/shape.h \
	cmd/ctl/show.c cmd/ctl/show.h \
	cmd/ctl/stats.c cmd/ctl/stats.h \
	cmd/ctl/table.c \
	cmd/ctl/upgrade.c cmd/ctl/upgrade.h \
	cmd/ctl/value.c cmd/ctl/value.h \
	cmd/vblkctl.c
vblkctl_LDADD = cmd/common/libcommon.a daemon/libdaemon.a core/block/libblock.a core/base/libbase.a $(JANSSON_LIBS)

# bash looks for files with the names of the programs.
install-data-local:
	$(MKDIR_P) "$(DESTDIR)$(bashcompletiondir)"
	$(INSTALL_DATA) $(srcdir)/cmd/vblkbench.bash "$(DESTDIR)$(bashcompletiondir)/vblkbench"
	$(INSTALL_DATA) $(srcdir)/cmd/vblkctl.bash "$(DESTDIR)$(bashcompletiondir)/vblkctl"
	$(INSTALL_DATA) $(srcdir)/cmd/vblkvm.bash "$(DESTDIR)$(bashcompletiondir)/vblkvm"
uninstall-local:
	rm -f "$(DESTDIR)$(bashcompletiondir)/vblkbench" \
		"$(DESTDIR)$(bashcompletiondir)/vblkctl" "$(DESTDIR)$(bashcompletiondir)/vblkvm"

# What a processor meets, which a unit test drives as well.
VM_MACHINE = \
	cmd/vm/console.c cmd/vm/console.h \
	cmd/vm/disk.c cmd/vm/disk.h \
	cmd/vm/disk_used.c cmd/vm/disk_used.h \
	cmd/vm/disk_wires.c cmd/vm/disk_wires.h \
	cmd/vm/layout.h \
	cmd/vm/machine.c cmd/vm/machine.h \
	cmd/vm/options.c cmd/vm/options.h \
	cmd/vm/ports.c cmd/vm/ports.h \
	cmd/vm/ram.c cmd/vm/ram.h \
	cmd/vm/serial.c cmd/vm/serial.h

vblkvm_SOURCES = \
	cmd/vm/acpi.c cmd/vm/acpi.h \
	cmd/vm/aml.c cmd/vm/aml.h \
	cmd/vm/boot.c cmd/vm/boot.h \
	cmd/vm/cpu.c cmd/vm/cpu.h \
	cmd/vm/ending.c cmd/vm/ending.h \
	cmd/vm/vcpu.c cmd/vm/vcpu.h \
	cmd/vm/vm.c cmd/vm/vm.h \
	cmd/vblkvm.c \
	$(VM_MACHINE)
vblkvm_LDADD = cmd/common/libcommon.a daemon/libdaemon.a transports/vmm/libvmm.a $(FRONT_END) $(JANSSON_LIBS) -lpthread

vblkbench_SOURCES = \
	cmd/bench/ask.c cmd/bench/ask.h \
	cmd/bench/front.c cmd/bench/front.h \
	cmd/bench/hist.c cmd/bench/hist.h \
	cmd/bench/load.c cmd/bench/load.h cmd/bench/load_run.c cmd/bench/load_run.h \
	cmd/bench/options.c cmd/bench/options.h \
	cmd/bench/progress.c cmd/bench/progress.h \
	cmd/bench/report.c cmd/bench/report.h \
	cmd/bench/shared.c cmd/bench/shared.h \
	cmd/bench/verify.c cmd/bench/verify.h \
	cmd/vblkbench.c
vblkbench_LDADD = cmd/common/libcommon.a daemon/libdaemon.a $(FRONT_END) $(JANSSON_LIBS)
