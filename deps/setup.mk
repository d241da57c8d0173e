# SPDX-License-Identifier: BSD-3-Clause
#
# The Debian packages that building and testing need: deps/packages.txt. Whatever needs them depends on
# $(setup-ok), which installs what is missing; it is checked again when the list changes.

setup-ok := $(out)/.setup-$(firstword $(shell sha256sum < deps/packages.txt))

$(setup-ok):
	$(Q)deps/setup.sh deps/packages.txt
	$(Q)mkdir -p $(@D) && rm -f $(out)/.setup-* && touch $@

setup:
	$(Q)deps/setup.sh deps/packages.txt
	@echo "All packages that Karst needs are installed."
