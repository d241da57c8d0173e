# SPDX-License-Identifier: BSD-3-Clause
#
# The firmware flavour: musl, static, optimized. $(out)/karst is the firmware, $(out)/init is PID 1.
# Every source is compiled; what an option leaves out is only not linked.

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
