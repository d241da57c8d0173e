# SPDX-License-Identifier: BSD-3-Clause
#
# Third-party sources: fetched through apt by fetch.py, pinned by hash, kept in DL_DIR; built by built.sh, each in a
# folder of its own that is found again by the hash of everything it depends on, so that a second build folder, a
# second clone and CI reuse it. $(out)/deps/NAME links to what was built, $(out)/deps/NAME.src says from what.

karst-cache := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/karst
DL_DIR ?= $(karst-cache)/dl
BUILT_DIR ?= $(karst-cache)/built
dep-names :=

# $(call dep,NAME,KIND,PACKAGE,FILE,SHA256,SERIES[,OTHER PARTS IT IS BUILT WITH])
define dep-rules
dep-names += $(1)
$(out)/deps/$(1).src: deps/$(1).mk deps/fetch.py | $(setup-ok)
	$(Q)mkdir -p $$(@D)
	$(Q)deps/fetch.py --apt $(out)/apt --dl $(DL_DIR) $(2) $(3) $(4) $(5) '$(6)' > $$@.new
	$(Q)mv $$@.new $$@

$(out)/deps/$(1).ok: deps/$(1).sh deps/built.sh $(out)/deps/$(1).src $(foreach d,$(7),$(out)/deps/$(d).ok) \
		$$(wildcard deps/$(1)/*)
	$(Q)deps/built.sh $(1) $(BUILT_DIR) $(out)/deps $(7)
	$(Q)touch $$@
endef
dep = $(eval $(dep-rules))

include deps/musl.mk deps/libnl.mk deps/rdma-core.mk deps/dpdk.mk

