# SPDX-License-Identifier: GPL-2.0-or-later
# ---- manual pages ----
# The tarball has them built, so that it can be installed without pod2man.
EXTRA_DIST += man/vblk-performance.7.pod man/vblk-reliability.7.pod man/vblkbench.1.pod man/vblkctl.1.pod man/vblkd.8.pod man/vblkd-images.7.pod man/vblkd-internals.7.pod man/vblkd-protocol.7.pod \
	man/vblkd-security.7.pod man/vblkvm.1.pod
MAN_DATE = 2026-11-20
if HAVE_MANUALS
dist_man_MANS = man/vblk-performance.7 man/vblk-reliability.7 man/vblkbench.1 man/vblkctl.1 man/vblkd.8 man/vblkd-images.7 man/vblkd-internals.7 \
	man/vblkd-protocol.7 man/vblkd-security.7 man/vblkvm.1
endif
if HAVE_POD2MAN
MAINTAINERCLEANFILES = $(dist_man_MANS)
build_page = $(AM_V_GEN)$(MKDIR_P) man && page=`basename $@` && \
	$(POD2MAN) --errors=die --name="$${page%.*}" --section="$${page\#\#*.}" \
	--center="vblk" --release="vblk $(VERSION)" --date="$(MAN_DATE)" \
	$(srcdir)/$@.pod $@.tmp && mv -f $@.tmp $@
man/vblk-performance.7: man/vblk-performance.7.pod configure.ac
	$(build_page)
man/vblk-reliability.7: man/vblk-reliability.7.pod configure.ac
	$(build_page)
man/vblkbench.1: man/vblkbench.1.pod configure.ac
	$(build_page)
man/vblkctl.1: man/vblkctl.1.pod configure.ac
	$(build_page)
man/vblkd.8: man/vblkd.8.pod configure.ac
	$(build_page)
man/vblkd-images.7: man/vblkd-images.7.pod configure.ac
	$(build_page)
man/vblkd-internals.7: man/vblkd-internals.7.pod configure.ac
	$(build_page)
man/vblkd-protocol.7: man/vblkd-protocol.7.pod configure.ac
	$(build_page)
man/vblkd-security.7: man/vblkd-security.7.pod configure.ac
	$(build_page)
man/vblkvm.1: man/vblkvm.1.pod configure.ac
	$(build_page)
endif
