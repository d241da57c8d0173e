# SPDX-License-Identifier: BSD-3-Clause
#
# check: unit tests, lint, regressions of the fuzzers. test: check and the system tests.

export ASAN_OPTIONS ?= abort_on_error=0:detect_leaks=1:detect_stack_use_after_return=0:strict_string_checks=1
export UBSAN_OPTIONS ?= print_stacktrace=1
FUZZ_SECONDS ?= 60

check: lint unit fuzz-replay
	@echo "check: all passed"

# Everything: `make system-test SYSTEM_TESTS=tests/system/test_boot.py` runs a part, PYTEST_ARGS="-k name -x" one test.
SYSTEM_TESTS ?= tests/system
PYTEST_ARGS ?=
system-run = $(Q)KARST_OUT=$(abspath $(out)) DL_DIR=$(abspath $(DL_DIR)) $(PYTHON) -m pytest -c tests/system/pytest.ini \
	--rootdir tests/system $(SYSTEM_TESTS) $(PYTEST_ARGS)

test: check image $(out)/karst $(out)/host/karst
	$(system-run)

system-test: image $(out)/karst $(out)/host/karst
	$(system-run)

.PHONY: system-test

lint: compile
	$(Q)$(PYTHON) tests/lint/lint.py
	$(Q)$(PYTHON) tests/lint/test_lint.py -q

unit: $(unit-tests) compile
	$(Q)$(PYTHON) tests/run.py unit $(unit-tests)

fuzz-replay: $(fuzz-replays)
	$(Q)$(PYTHON) tests/run.py --seeds tests/fuzz/seeds fuzz-replay $(fuzz-replays)

fuzz: $(fuzzers)
	$(Q)for f in $(fuzzers); do name=$$(basename $$f); mkdir -p $(out)/fuzz/corpus/$$name; \
		echo "$$name: $(FUZZ_SECONDS) s"; \
		$$f -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -artifact_prefix=$(out)/fuzz/ \
			$(out)/fuzz/corpus/$$name $$(find tests/fuzz/seeds/$${name#fuzz_} -maxdepth 0 2>/dev/null) 2>$(out)/fuzz/$$name.log \
			|| { tail -40 $(out)/fuzz/$$name.log; exit 1; }; \
		grep number_of_executed $(out)/fuzz/$$name.log; done
