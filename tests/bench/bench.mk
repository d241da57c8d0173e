# SPDX-License-Identifier: BSD-3-Clause
#
# bench: what it costs, as a table. QUICK=1 for rougher figures, ONLY=counts (or another part, see bench.py) for one.

QUICK ?=
ONLY ?=
bench-load := $(out)/bench/nvme_tcp_load

$(bench-load): tests/bench/nvme_tcp_load.c $(wildcard core/spec/*.h core/base/*.h) | $(setup-ok)
	$(call say,HOSTCC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) $(filter-out -MMD -MP,$(common-flags)) -O2 -o $@ $<

vhost-load := $(out)/bench/vhost_load
vhost-load-sources := $(addprefix tests/bench/vhost_,load.c front.c ring.c)

$(vhost-load): $(vhost-load-sources) $(wildcard tests/bench/*.h core/spec/*.h core/base/*.h) | $(setup-ok)
	$(call say,HOSTCC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) $(filter-out -MMD -MP,$(common-flags)) -O2 -o $@ $(vhost-load-sources)

bench: $(bench-load) $(vhost-load) $(out)/karst $(bzImage) $(initramfs)
	$(Q)$(PYTHON) tests/bench/bench.py --out $(out) $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))
