# SPDX-License-Identifier: GPL-2.0-or-later
# What all rooms stand on; libc, and libuv in mailbox and watch.
noinst_LIBRARIES += core/base/libbase.a

core_base_libbase_a_SOURCES = \
	core/base/base.h \
	core/base/bucket.c core/base/bucket.h \
	core/base/chore.c core/base/chore.h \
	core/base/cpus.c core/base/cpus.h \
	core/base/err.c core/base/err.h \
	core/base/errand.c core/base/errand.h \
	core/base/fds.c core/base/fds.h \
	core/base/file_lock.c core/base/file_lock.h \
	core/base/features.c core/base/features.h \
	core/base/foreign.c core/base/foreign.h \
	core/base/fs_kind.c core/base/fs_kind.h \
	core/base/glance.c core/base/glance.h \
	core/base/holder.c core/base/holder.h \
	core/base/iov.c core/base/iov.h \
	core/base/log.c core/base/log.h \
	core/base/log_writer.c core/base/log_writer.h \
	core/base/mailbox.c core/base/mailbox.h \
	core/base/names.c core/base/names.h \
	core/base/param.c core/base/param.h \
	core/base/message.h \
	core/base/parcel.c core/base/parcel.h \
	core/base/porter.c core/base/porter.h \
	core/base/ringer.c core/base/ringer.h \
	core/base/slots.c core/base/slots.h \
	core/base/stats.c core/base/stats.h \
	core/base/std_fds.c core/base/std_fds.h \
	core/base/sysfs.c core/base/sysfs.h \
	core/base/text.c core/base/text.h \
	core/base/thread.c core/base/thread.h \
	core/base/trial.c core/base/trial.h \
	core/base/watch.c core/base/watch.h \
	core/base/zeroes.c core/base/zeroes.h
