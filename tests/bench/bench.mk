# SPDX-License-Identifier: BSD-3-Clause
#
# bench: what it costs, as a table. QUICK=1 for rougher figures, ONLY=counts|rates|native|queues|idle|sizes|appliance for one part.

QUICK ?=
ONLY ?=
bench-load := $(out)/bench/nvme_tcp_load

$(bench-load): tests/bench/nvme_tcp_load.c $(wildcard core/spec/*.h core/base/*.h) | $(setup-ok)
	$(call say,HOSTCC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) $(filter-out -MMD -MP,$(common-flags)) -O2 -o $@ $<

bench: $(bench-load) $(out)/karst $(bzImage) $(initramfs)
	$(Q)$(PYTHON) tests/bench/bench.py --out $(out) $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))
