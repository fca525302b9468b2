# SPDX-License-Identifier: GPL-2.0-or-later
# The guest's side of rings; firmware has no more than core/base/base.h.
noinst_LIBRARIES += core/driver/libdriver.a

core_driver_libdriver_a_SOURCES = \
	core/driver/blk_driver.c core/driver/blk_driver.h \
	core/driver/blk_driver_io.c \
	core/driver/ring_driver.c core/driver/ring_driver.h \
	core/driver/ring_driver_packed.c
