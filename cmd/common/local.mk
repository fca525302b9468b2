# SPDX-License-Identifier: GPL-2.0-or-later
# What several programs share.
noinst_LIBRARIES += cmd/common/libcommon.a

cmd_common_libcommon_a_SOURCES = \
	cmd/common/answer.c cmd/common/answer.h \
	cmd/common/argv.c cmd/common/argv.h \
	cmd/common/command.h \
	cmd/common/lookup.c cmd/common/lookup.h \
	cmd/common/rpc.c cmd/common/rpc.h \
	cmd/common/size.c cmd/common/size.h
