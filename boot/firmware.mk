# SPDX-License-Identifier: BSD-3-Clause
#
# The firmware flavour: musl, static, optimized. $(out)/karst is the firmware, $(out)/init is PID 1.
# Every source is compiled; what an option leaves out is only not linked. Both keep their symbols for gdb and
# callgrind; the initramfs gets stripped copies.

# Version, date, configuration and startup script, in one object that nothing else depends on.
git-version := $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),1767225600)
export SOURCE_DATE_EPOCH

define build-text
.section .rodata
.globl build_version, build_date, build_config, build_script, build_script_len
build_version: .asciz "$(git-version)"
build_date: .asciz "$(shell date -u -d @$(SOURCE_DATE_EPOCH) +%Y-%m-%dT%H:%M:%SZ)"
build_config: .asciz "$(config-name)"
build_script: .incbin "$(startup-script)"
build_script_end: .byte 0
.balign 8
build_script_len: .quad build_script_end - build_script
.section .note.GNU-stack,"",@progbits
endef

$(out)/gen/build.S: FORCE $(startup-script)
	$(call if-changed,$(build-text))
	$(Q)if [ $(startup-script) -nt $@ ]; then touch $@; fi

FWCC = $(out)/deps/musl/bin/musl-gcc
fw-flags = $(common-flags) -O2 -ffunction-sections -fdata-sections -fno-pie -fno-asynchronous-unwind-tables \
	-fno-canonical-system-headers -ffile-prefix-map=$(BUILT_DIR)/=
# The processor is checked by code that runs on any of them.
fw-march = $(if $(filter boot/init% boot/cpu%,$(1)),-march=x86-64,-march=x86-64-v2)
fw-dpdk-flags := -isystem $(out)/deps/dpdk/include -include rte_config.h -DALLOW_INTERNAL_API -DALLOW_EXPERIMENTAL_API
# The providers that libibverbs is told of, and so are linked.
rdma-providers-y :=
rdma-providers-$(CONFIG_RDMA_RXE) += rxe
rdma-providers-$(CONFIG_RDMA_SIW) += siw
rdma-providers-$(CONFIG_RDMA_MLX5) += mlx5
rdma-providers-$(CONFIG_RDMA_MLX4) += mlx4
rdma-providers-$(CONFIG_RDMA_BNXT_RE) += bnxt_re
rdma-providers-$(CONFIG_RDMA_IRDMA) += irdma
rdma-providers-$(CONFIG_RDMA_EFA) += efa
comma := ,
space := $(subst ,, )
fw-rdma-flags := -isystem $(out)/deps/rdma-core/include \
	-DRDMA_STATIC_PROVIDERS=$(subst $(space),$(comma),$(or $(strip $(rdma-providers-y)),none))
fw-extra = $(if $(filter %_eal.c,$(1)),$(fw-dpdk-flags)) $(if $(filter core/rdma_verbs%,$(1)),$(fw-rdma-flags))
fw-deps := $(patsubst %,$(out)/deps/%.ok,musl dpdk $(if $(filter y,$(CONFIG_RDMA)),rdma-core))

fw-obj = $(patsubst %,$(out)/fw/%.o,$(basename $(1)))
plain-sources := $(filter %_plain.c,$(sources))
fw-linked := $(call fw-obj,$(filter-out $(plain-sources),$(linked-sources))) $(out)/fw/gen/build.o
# Sources that need verbs are compiled when rdma-core is there to be compiled against.
fw-compiled := $(call fw-obj,$(filter-out $(if $(filter y,$(CONFIG_RDMA)),,core/rdma_verbs%.c),$(sources)))
init-objects := $(call fw-obj,$(init-sources))

$(out)/fw/flags: FORCE
	$(call if-changed,$(fw-flags))

$(out)/fw/rdma.flags: FORCE
	$(call if-changed,$(fw-rdma-flags))

$(call fw-obj,$(filter core/rdma_verbs%,$(sources))): $(out)/fw/rdma.flags

$(out)/fw/%.o: %.c $(out)/fw/flags $(fw-deps)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(FWCC) $(fw-flags) $(call fw-march,$<) $(call fw-extra,$<) -c -o $@ $<

$(out)/fw/%.o: %.S $(out)/fw/flags $(fw-deps)
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(FWCC) $(fw-flags) -c -o $@ $<

$(out)/fw/gen/build.o: $(out)/gen/build.S $(fw-deps)
	$(Q)mkdir -p $(@D)
	$(Q)$(FWCC) -g0 -c -o $@ $<

# musl's default thread stack is 128 KiB, less than DPDK's threads use.
fw-link-flags := -static -no-pie -Wl,--gc-sections -Wl,-z,stack-size=2097152 -Wl,-z,noexecstack -Wl,-z,relro -Wl,-z,now \
	-Wl,--build-id=none -Wl,--as-needed
pkg-config-path = $(out)/deps/dpdk/lib/pkgconfig:$(out)/deps/rdma-core/lib/pkgconfig:$(out)/deps/libnl/lib/pkgconfig
fw-libs = $(shell PKG_CONFIG_PATH= PKG_CONFIG_LIBDIR=$(pkg-config-path) pkg-config --static --libs libdpdk \
	$(if $(filter y,$(CONFIG_RDMA)),librdmacm libibverbs) | sed 's/-Wl,--export-dynamic//g; s/-Wl,-Bdynamic//g')

$(out)/fw/link.list: FORCE
	$(call if-changed,$(fw-link-flags) $(fw-linked))

$(out)/karst: $(fw-linked) $(fw-compiled) $(out)/fw/link.list
	$(call say,LD,$@)
	$(Q)$(FWCC) $(fw-link-flags) -o $@ $(fw-linked) -Wl,--start-group $(fw-libs) -Wl,--end-group

$(out)/init: $(init-objects) $(out)/fw/flags
	$(call say,LD,$@)
	$(Q)$(FWCC) -static -no-pie -Wl,--gc-sections -Wl,--build-id=none -Wl,-z,noexecstack -o $@ $(init-objects)

firmware: $(out)/karst $(out)/init

-include $(patsubst %.o,%.d,$(fw-compiled))
