# SPDX-License-Identifier: BSD-3-Clause
#
# What boots: the initramfs (init and karst, stripped), the disk image, and QEMU to try them in.

initramfs := $(out)/images/initramfs
disk-image := $(out)/images/disk.img
esp-mib := 48
cmdline = console=ttyS0,$(CONFIG_CONSOLE_BAUD) quiet iommu=pt $(call unquote,$(CONFIG_KERNEL_CMDLINE))

$(out)/images/%.stripped: $(out)/%
	$(Q)mkdir -p $(@D)
	$(Q)strip -s -R .comment -o $@ $<

$(initramfs): $(out)/images/init.stripped $(out)/images/karst.stripped images/mkinitramfs.py
	$(call say,CPIO,$@)
	$(Q)$(PYTHON) images/mkinitramfs.py $@.cpio /init=$(out)/images/init.stripped /bin/karst=$(out)/images/karst.stripped
	$(Q)zstd -q -f -T1 -12 $@.cpio -o $@ && rm $@.cpio

# GRUB: one self-contained image for each kind of firmware; both read grub.cfg from the EFI system partition.
grub-modules := part_gpt fat normal linux serial terminal configfile test echo reboot halt sleep

$(out)/images/grub-pc.img: images/images.mk | $(setup-ok)
	$(Q)mkdir -p $(@D)
	$(Q)grub-mkimage -O i386-pc -p '(,gpt2)/grub' -o $@ biosdisk $(grub-modules)

$(out)/images/grub-efi.img: images/images.mk | $(setup-ok)
	$(Q)mkdir -p $(@D)
	$(Q)grub-mkimage -O x86_64-efi -p /grub -o $@ $(grub-modules)

define grub-text
$(subst @BAUD@,$(CONFIG_CONSOLE_BAUD),$(subst @TIMEOUT@,$(CONFIG_MENU_SECONDS),$(subst @CMDLINE@,$(cmdline),$(file <boot/grub.cfg.in))))
endef
$(out)/images/grub.cfg: FORCE
	$(call if-changed,$(grub-text))

$(out)/images/esp.img: images/esp.sh $(bzImage) $(initramfs) $(out)/images/grub-efi.img $(out)/images/grub.cfg
	$(call say,FAT,$@)
	$(Q)images/esp.sh $@ $(esp-mib) EFI/BOOT/BOOTX64.EFI=$(out)/images/grub-efi.img grub/grub.cfg=$(out)/images/grub.cfg \
		karst/bzImage=$(bzImage) karst/initramfs=$(initramfs)

$(disk-image): images/mkdisk.py $(out)/images/esp.img $(out)/images/grub-pc.img
	$(call say,GPT,$@)
	$(Q)$(PYTHON) images/mkdisk.py --size-mib $(CONFIG_IMAGE_SIZE_MIB) --boot-img /usr/lib/grub/i386-pc/boot.img \
		--core-img $(out)/images/grub-pc.img --esp $(out)/images/esp.img $@

# For whoever boots the kernel without the disk's boot menu.
$(out)/images/cmdline: FORCE
	$(call if-changed,$(cmdline))

initramfs: $(initramfs)
image: $(disk-image) $(out)/images/cmdline

# Trying it: images/qemu.py has all options.
PORT ?= 4420
GDB ?= 1234
qemu = $(PYTHON) images/qemu.py --out $(out) --memory $(CONFIG_QEMU_MEMORY_MIB) --port $(PORT) $(if $(ACCEL),--accel $(ACCEL))

run: image
	@$(qemu) --boot bios
run-uefi: image
	@$(qemu) --boot uefi
run-direct: $(bzImage) $(initramfs) $(out)/images/cmdline
	@$(qemu) --boot direct
debug: $(bzImage) $(initramfs) $(out)/images/cmdline
	@echo "Waiting for gdb: gdb $(out)/karst -ex 'target remote localhost:$(GDB)'"
	@$(qemu) --boot direct --gdb $(GDB)
smoke: image
	@$(PYTHON) images/smoke.py --out $(out) --memory $(CONFIG_QEMU_MEMORY_MIB) $(if $(ACCEL),--accel $(ACCEL))

flash: image
	@images/flash.sh $(disk-image) "$(DISK)" "$(FORCE)"

size-report: image
	@images/size-report.sh $(out)
