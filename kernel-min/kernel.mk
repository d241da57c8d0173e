# SPDX-License-Identifier: BSD-3-Clause
#
# Linux: Debian's linux-source-6.12, configured from the fragments that CONFIG_KERNEL_FRAGMENTS names. Built kernels
# are cached by the hash of source, fragments and compiler. When a newer 6.12 has replaced the pinned one on the
# mirror, it is taken, and said so.

linux-file := linux-source-6.12_6.12.117-1~deb12u1_all.deb
linux-sha256 := e849faf31ca3555757f3a8877cb01af92122f744f75d1f3102734651c4e14703
linux-series := linux-source-6\.12_6\.12\.[0-9]+-[0-9]+(~deb12u[0-9]+)?_all\.deb

$(out)/deps/linux.src: kernel-min/kernel.mk deps/fetch.py | $(setup-ok)
	$(Q)mkdir -p $(@D)
	$(Q)deps/fetch.py --apt $(out)/apt --dl $(DL_DIR) deb linux-source-6.12 '$(linux-file)' $(linux-sha256) '$(linux-series)' > $@.new
	$(Q)mv $@.new $@

dep-names += linux
kernel-fragments := $(patsubst %,kernel-min/%.config,$(call unquote,$(CONFIG_KERNEL_FRAGMENTS)) $(if $(filter y,$(CONFIG_RDMA)),rdma))
bzImage := $(out)/images/bzImage

$(out)/images/kernel.fragments: FORCE
	$(call if-changed,$(kernel-fragments))

$(bzImage): $(kernel-fragments) $(out)/images/kernel.fragments kernel-min/build.sh $(out)/deps/linux.src
	$(Q)kernel-min/build.sh $(BUILT_DIR) "$$(cat $(out)/deps/linux.src)" $@ $(kernel-fragments)

kernel: $(bzImage)
