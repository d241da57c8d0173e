# SPDX-License-Identifier: BSD-3-Clause
#
# Configuration: Kconfig files + .config -> $(out)/config.mk (for make) and $(out)/include/karst/autoconf.h (for
# core/config.c and boot/modules.c). Without a .config the default is qemu_x86_64. KCONFIG_CONFIG names another file.

kconfigs := Kconfig $(wildcard */Kconfig */*/Kconfig)
KCONFIG_CONFIG ?= .config
config-file := $(or $(wildcard $(KCONFIG_CONFIG)),$(if $(filter .config,$(KCONFIG_CONFIG)),configs/qemu_x86_64_defconfig))
ifneq ($(needs-config),)
$(if $(config-file),,$(error KCONFIG_CONFIG=$(KCONFIG_CONFIG): no such file))
endif
export KCONFIG_CONFIG
export srctree := $(top)
kconfig = $(PYTHON) -m

.PHONY: $(config-goals) list-defconfigs

menuconfig oldconfig olddefconfig listnewconfig: | $(setup-ok)
	$(Q)[ -f $(KCONFIG_CONFIG) ] || $(kconfig) defconfig --kconfig Kconfig configs/qemu_x86_64_defconfig
	$(Q)$(kconfig) $@ Kconfig

savedefconfig: | $(setup-ok)
	$(Q)KCONFIG_CONFIG=$(config-file) $(kconfig) savedefconfig --kconfig Kconfig --out defconfig
	@echo "wrote defconfig"

allyesconfig allnoconfig: | $(setup-ok)
	$(Q)$(kconfig) $@ Kconfig

%_defconfig: configs/%_defconfig | $(setup-ok)
	$(Q)$(kconfig) defconfig --kconfig Kconfig $<
	@echo "$(KCONFIG_CONFIG) is now $(notdir $<)"

list-defconfigs:
	@cd configs && for f in *_defconfig; do echo "$$f"; done

ifneq ($(needs-config),)
# Another file than last time is a change too.
ifneq ($(config-file),$(file <$(out)/config.from))
$(shell mkdir -p $(out) && rm -f $(out)/config.mk && printf %s '$(config-file)' > $(out)/config.from)
endif

# Kconfiglib only warns about values out of range and options that do not exist: here they are errors.
$(out)/config.mk: $(config-file) $(kconfigs) configs/config.mk | $(setup-ok)
	$(call say,CONFIG,$(config-file))
	$(Q)mkdir -p $(out)/include/karst
	$(Q)KCONFIG_CONFIG=$(config-file) KCONFIG_WARN_UNDEF_ASSIGN=y $(kconfig) genconfig \
		--header-path $(out)/include/karst/autoconf.h --config-out $@ Kconfig 2>$@.err || { cat $@.err >&2; exit 1; }
	$(Q)if [ -s $@.err ]; then cat $@.err >&2; echo "$(config-file): fix the values above" >&2; rm -f $@; exit 1; fi
	$(Q)touch $@

include $(out)/config.mk
endif

unquote = $(subst ",,$(1))
startup-script := $(call unquote,$(CONFIG_STARTUP_SCRIPT))
config-name := $(basename $(notdir $(startup-script)))
