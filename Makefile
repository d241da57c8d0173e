# SPDX-License-Identifier: BSD-3-Clause
#
# One make for everything: `make help` is the front door.
#
# Nothing here recurses. Every folder with C files is a feature: `src-y += core`, `src-$(CONFIG_X) += drivers/x`.
# All C files are compiled in every build, in both flavours (firmware: musl, static; host: glibc, sanitizers);
# options choose which folders are linked. Parts with rules of their own are the included *.mk files:
# deps/ third-party sources, kernel-min/ Linux, images/ what boots, tests/ what proves it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules --no-builtin-variables
# As many jobs as CPUs, unless -j says otherwise.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

O ?= out
V ?= 0
out := $(O)
Q := $(if $(filter 1,$(V)),,@)
say = @printf '  %-8s %s\n' $(1) $(2)
PYTHON := /usr/bin/python3
# Debian's own tools first: others in PATH may lack Debian's Python modules.
export PATH := /usr/bin:/bin:/usr/sbin:/sbin:$(PATH)
export LC_ALL := C.UTF-8
export PYTHONDONTWRITEBYTECODE := 1
top := $(CURDIR)

.PHONY: all firmware kernel initramfs image run run-uefi run-direct smoke debug check test bench flash source setup \
	clean distclean help size-report lint unit fuzz fuzz-replay compile host
.DEFAULT_GOAL := all

# Goals that need neither a configuration nor packages, and goals that make a configuration.
bare-goals := help clean distclean setup list-defconfigs
config-goals := menuconfig oldconfig olddefconfig savedefconfig listnewconfig allyesconfig allnoconfig
goals := $(or $(MAKECMDGOALS),all)
needs-config := $(filter-out $(bare-goals) $(config-goals) %_defconfig,$(goals))

# Goals that make or remove what the others read come one after the other: make tiny_defconfig run.
first-goals := $(filter clean distclean %config,$(MAKECMDGOALS))
ifneq ($(and $(first-goals),$(filter-out $(first-goals),$(MAKECMDGOALS))),)
.PHONY: one-by-one $(MAKECMDGOALS)
$(MAKECMDGOALS): one-by-one
	@:
one-by-one:
	+@for goal in $(MAKECMDGOALS); do $(MAKE) --no-print-directory $$goal; done
else

include deps/setup.mk
include configs/config.mk

# What is linked, by folder

src-y += boot core core/base
src-$(CONFIG_DRIVER_PCI) += drivers/pci
src-$(CONFIG_DRIVER_NVME) += drivers/nvme
src-$(CONFIG_DRIVER_REMOTE) += drivers/remote
src-$(CONFIG_DRIVER_RAM) += drivers/ram
src-$(CONFIG_DRIVER_NULL) += drivers/null
src-$(CONFIG_DRIVER_URING) += drivers/uring
src-$(CONFIG_DRIVER_SOCK) += drivers/sock
src-$(CONFIG_DRIVER_PORT) += drivers/port
src-$(CONFIG_NVMF_TARGET) += targets/nvmf
src-$(CONFIG_VHOST) += targets/scsi targets/vhost
src-$(CONFIG_BLOBSTORE) += blob

# Files of a linked folder that an option leaves out.
drop-y :=
ifneq ($(CONFIG_NVMF_TCP),y)
drop-y += targets/nvmf/tcp%
endif
ifneq ($(CONFIG_RDMA),y)
drop-y += core/rdma% targets/nvmf/rdma% drivers/remote/rdma%
endif

sources := $(sort $(wildcard $(addsuffix /*.c,boot core core/* drivers/* targets/* blob)) \
	$(wildcard $(addsuffix /*.S,boot core core/* drivers/* targets/* blob)))
headers := $(sort $(wildcard $(addsuffix /*.h,boot core core/* drivers/* targets/* blob)))
# boot/init.c is a program of its own: PID 1.
init-sources := $(filter boot/init%.c,$(sources))
linked-sources := $(filter-out $(init-sources) $(drop-y),$(foreach d,$(src-y),$(filter $(wildcard $(d)/*),$(sources))))

warnings := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Wno-unused-parameter \
	-Wno-missing-field-initializers
common-flags := -std=gnu11 $(warnings) -D_GNU_SOURCE -I. -I$(out)/include -fno-omit-frame-pointer -fno-strict-aliasing \
	-fno-common -g -ffile-prefix-map=$(top)/= -ffile-prefix-map=$(out)/= -MMD -MP

# $(call if-changed,TEXT): the target holds TEXT and is touched only when TEXT is another than last time.
define if-changed
$(shell mkdir -p $(@D))$(file >$@.new,$(1))@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
endef
.PHONY: FORCE

ifneq ($(needs-config),)
include deps/deps.mk
include boot/firmware.mk
include kernel-min/kernel.mk
include images/images.mk
include tests/host.mk
include tests/tests.mk
include tests/bench/bench.mk
endif

all: firmware $(if $(filter y,$(CONFIG_APPLIANCE)),image)

source: $(patsubst %,$(out)/deps/%.src,$(dep-names))
	@echo "All third-party sources are in $(DL_DIR)"

clean:
	$(Q)rm -rf $(out)

distclean: clean
	$(Q)rm -f .config .config.old

endif

#: Karst: make TARGET… [V=1] [O=folder] [-jN]. Without a .config the configuration is qemu_x86_64.
#:
#: Build
#:   all            everything: firmware, kernel, initramfs, disk image (default)
#:   firmware       the static executable, out/karst, and PID 1, out/init
#:   kernel         out/images/bzImage
#:   initramfs      out/images/initramfs: init and the firmware
#:   image          out/images/disk.img: GPT, boots by BIOS and by UEFI
#:   size-report    what takes how much, against the limits
#:   source         fetch all third-party sources, for building without a network
#:   setup          install the Debian packages that are needed (the other targets do it too)
#:   clean          remove the build folder; distclean: and the configuration
#:
#: Configure
#:   menuconfig     choose options; also oldconfig olddefconfig savedefconfig listnewconfig allyesconfig allnoconfig
#:   NAME_defconfig start from configs/NAME_defconfig; list-defconfigs names them
#:
#: Try it (Ctrl-A X leaves)
#:   run            boot disk.img in QEMU by BIOS; NVMe/TCP on localhost, port 4420 (PORT=N)
#:   run-uefi       the same by UEFI
#:   run-direct     kernel and initramfs without the disk's boot loader
#:   debug          run-direct, waiting for gdb on localhost:1234 (GDB=N)
#:   smoke          boot, discover, connect, write, read back, compare, power off: one line
#:   flash          write disk.img to a disk: make flash DISK=/dev/sdX
#:
#: Test
#:   check          unit tests, lint, fuzzer regressions
#:   test           check and the system tests: everything
#:   bench          what it costs: instructions, system calls and allocations per I/O, idle, boot time
#:   fuzz           look for new inputs with libFuzzer (FUZZ_SECONDS=60 each)
help:
	@sed -n 's/^#: \?//p' Makefile
