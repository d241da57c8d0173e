# SPDX-License-Identifier: BSD-3-Clause
#
# The host flavour: glibc, ASan and UBSan, debug. Every source is compiled; $(out)/host/libkarst.a holds all but the
# programs' main files, with *_plain.c in the place of *_eal.c. $(out)/host/karst is the hosted program with sanitizers.

HOSTCC ?= gcc
FUZZCC ?= clang
sanitize := -fsanitize=address,undefined -fno-sanitize-recover=undefined
host-flags = $(common-flags) -O1 $(sanitize) -fsanitize-address-use-after-scope
host-libs := -lcmocka -lpthread -lm
fuzz-flags = $(common-flags) -O1 $(sanitize) -Wno-missing-prototypes -Wno-unknown-warning-option

host-obj = $(patsubst %,$(out)/host/obj/%.o,$(basename $(1)))
eal-sources := $(filter %_eal.c core/rdma_verbs%.c,$(sources))
host-sources := $(filter-out $(eal-sources) $(init-sources) boot/main.c,$(sources))
# Compiled so that they cannot rot, not linked.
host-extra-sources := $(eal-sources) $(init-sources) $(filter boot/main.c,$(sources))
dpdk-host-flags := -include rte_config.h -march=corei7 -DALLOW_INTERNAL_API -DALLOW_EXPERIMENTAL_API -isystem /usr/include/dpdk \
	-isystem /usr/include/x86_64-linux-gnu/dpdk

$(out)/host/flags: FORCE
	$(call if-changed,$(HOSTCC) $(host-flags))

$(out)/host/obj/%.o: %.c $(out)/host/flags | $(setup-ok)
	$(call say,HOSTCC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) $(host-flags) $(if $(filter %_eal.c,$<),$(dpdk-host-flags)) -c -o $@ $<

$(out)/host/obj/%.o: %.S $(out)/host/flags | $(setup-ok)
	$(call say,HOSTAS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) $(host-flags) -c -o $@ $<

$(out)/host/obj/gen/build.o: $(out)/gen/build.S $(out)/host/flags
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) $(host-flags) -c -o $@ $<

host-objects := $(call host-obj,$(host-sources)) $(out)/host/obj/gen/build.o
host-extra-objects := $(call host-obj,$(host-extra-sources))

$(out)/host/objects.list: FORCE
	$(call if-changed,$(host-objects))

$(out)/host/libkarst.a: $(host-objects) $(out)/host/objects.list
	$(call say,HOSTAR,$@)
	$(Q)rm -f $@ && ar rcsD $@ $(host-objects)

# Doubles shared by tests: every C file beside the tests that is not one.
unit-sources := $(wildcard tests/unit/test_*.c)
unit-support := $(filter-out $(unit-sources),$(wildcard tests/unit/*.c))
unit-tests := $(patsubst tests/unit/%.c,$(out)/host/unit/%,$(unit-sources))

$(unit-tests): $(out)/host/unit/%: $(out)/host/obj/tests/unit/%.o $(call host-obj,$(unit-support)) $(out)/host/libkarst.a
	$(call say,HOSTLD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) $(sanitize) -o $@ $(filter %.o,$^) $(out)/host/libkarst.a $(host-libs)

ifneq ($(wildcard boot/main.c),)
$(out)/host/karst: $(call host-obj,boot/main.c) $(host-objects)
	$(call say,HOSTLD,$@)
	$(Q)$(HOSTCC) $(sanitize) -o $@ $^ -lpthread -lm
host: $(out)/host/karst
endif

# Every C file of the tree, linked or not, and each header by itself.
header-checks := $(patsubst %,$(out)/host/headers/%.ok,$(headers))

$(out)/host/headers/%.h.ok: %.h $(out)/host/flags | $(setup-ok)
	$(Q)mkdir -p $(@D)
	$(Q)printf '#include "%s"\n' $< | $(HOSTCC) $(filter-out -g -MMD -MP,$(host-flags)) -MMD -MP -MF $(@:.ok=.d) -MT $@ \
		-fsyntax-only -x c - && touch $@

compile: $(host-objects) $(host-extra-objects) $(header-checks)
host: $(out)/host/libkarst.a compile

# Fuzzing: with clang's libFuzzer for looking (`make fuzz`), with gcc for replaying the seeds in `make check`.
fuzz-sources := $(wildcard tests/fuzz/fuzz_*.c)
fuzz-support := $(filter-out $(fuzz-sources) tests/fuzz/replay.c,$(wildcard tests/fuzz/*.c))
fuzz-replays := $(patsubst tests/fuzz/%.c,$(out)/host/replay/%,$(fuzz-sources))
fuzzers := $(patsubst tests/fuzz/%.c,$(out)/fuzz/%,$(fuzz-sources))

$(out)/host/obj/tests/fuzz/%.o: tests/fuzz/%.c $(out)/host/flags | $(setup-ok)
	$(call say,HOSTCC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) $(host-flags) -Wno-missing-prototypes -c -o $@ $<

# The doubles of the unit tests, for those fuzzers that use them.
$(out)/host/libunit.a: $(call host-obj,$(unit-support))
	$(Q)rm -f $@ && ar rcsD $@ $^

fuzz-libs = -Wl,--start-group $(out)/$(1)/libunit.a $(out)/$(1)/libkarst.a -Wl,--end-group $(host-libs)

$(fuzz-replays): $(out)/host/replay/%: $(out)/host/obj/tests/fuzz/%.o $(call host-obj,tests/fuzz/replay.c $(fuzz-support)) \
		$(out)/host/libunit.a $(out)/host/libkarst.a
	$(call say,HOSTLD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(HOSTCC) $(sanitize) -o $@ $(filter %.o,$^) $(call fuzz-libs,host)

fuzz-obj = $(patsubst %,$(out)/fuzz/obj/%.o,$(basename $(1)))
$(out)/fuzz/flags: FORCE
	$(call if-changed,$(FUZZCC) $(fuzz-flags))

$(out)/fuzz/obj/%.o: %.c $(out)/fuzz/flags | $(setup-ok)
	$(call say,FUZZCC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(FUZZCC) $(fuzz-flags) -fsanitize=fuzzer-no-link -c -o $@ $<

$(out)/fuzz/obj/%.o: %.S $(out)/fuzz/flags | $(setup-ok)
	$(Q)mkdir -p $(@D)
	$(Q)$(FUZZCC) $(fuzz-flags) -c -o $@ $<

$(out)/fuzz/obj/gen/build.o: $(out)/gen/build.S
	$(Q)mkdir -p $(@D)
	$(Q)$(FUZZCC) -c -o $@ $<

fuzz-objects := $(call fuzz-obj,$(host-sources)) $(out)/fuzz/obj/gen/build.o
$(out)/fuzz/libkarst.a: $(fuzz-objects)
	$(Q)rm -f $@ && ar rcsD $@ $^

$(out)/fuzz/libunit.a: $(call fuzz-obj,$(unit-support))
	$(Q)rm -f $@ && ar rcsD $@ $^

$(fuzzers): $(out)/fuzz/%: $(out)/fuzz/obj/tests/fuzz/%.o $(call fuzz-obj,$(fuzz-support)) $(out)/fuzz/libunit.a \
		$(out)/fuzz/libkarst.a
	$(call say,FUZZLD,$@)
	$(Q)$(FUZZCC) -fsanitize=address,undefined,fuzzer -o $@ $(filter %.o,$^) $(call fuzz-libs,fuzz)

-include $(patsubst %.o,%.d,$(host-objects) $(host-extra-objects) $(call host-obj,$(unit-sources) $(unit-support) \
	$(fuzz-sources) $(fuzz-support) tests/fuzz/replay.c)) $(header-checks:.ok=.d)
-include $(patsubst %.o,%.d,$(fuzz-objects) $(call fuzz-obj,$(fuzz-sources) $(fuzz-support) $(unit-support)))
