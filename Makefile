# The commands of this project. `make help` lists them; each installs what it needs into .venv.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules

PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { command -v "$$name"; break; }; done)
UV ?= uv
BIN := .venv/bin
# Runs programs that start servers. They end with this make, however it ends, and so do their servers (servers/lifeline.py).
RUN = SERVERS_END_WITH=$$PPID $(BIN)/python

# Which tests to run, and further options: make test TESTS=tests/unit PYTEST="-x -k fold"
TESTS ?=
PYTEST ?=
# Tests that start no server.
UNIT := tests/unit tests/law/test_oracle.py tests/law/test_breaks.py $(addprefix workers/tests/test_,classify.py encode.py text.py)
# Options of the demo and of the faults; see `make help`.
ONCE ?=
SEED ?=
BROKER ?=
ONLY ?=
LANES ?=

# Each level of set-up leaves a stamp, which is renewed when its list of packages changes.
STAMP := .venv/.installed
PACKAGES := pyproject.toml $(wildcard workers/pyproject.toml)
SOURCES := $(wildcard schemas settings derive broker store consumers publishers cli servers demo testing bench tests workers conftest.py)
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet

.PHONY: help install demo unit test faults check bench contract docs lock clean format

help:  ## list these commands
	@echo 'make COMMAND [VARIABLE=value]'
	@awk -F ':.*##' '/^[a-z]+:.*##/ { printf "  %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo '  PYTHON=… chooses the interpreter (3.11 to 3.13) that .venv is made with.'

install: $(STAMP)-run  ## install .venv/bin/jobtrail with its packages

demo: $(STAMP)-demo  ## see it work: ONCE=1 ends by itself, SEED=n varies it, BROKER=pulsar uses the real broker
	@$(RUN) -m demo $(if $(filter-out 0,$(ONCE)),--once) $(if $(SEED),--seed '$(SEED)') $(if $(BROKER),--broker '$(BROKER)')

test: $(STAMP)-dev  ## run all tests, with a real broker and real databases: TESTS=path PYTEST="options"
	@$(RUN) -m pytest $(PYTEST) $(TESTS)

unit: $(STAMP)-dev  ## run the tests that need no server, in under 20 s
	@JOBTRAIL_TEST_QUICK=1 $(RUN) -m pytest --quiet $(PYTEST) $(UNIT)

faults: $(STAMP)-dev  ## kill, stop, cut and fill at every step, compare every table (an hour): SEED=n, ONLY=pattern, LANES=n
	@$(RUN) -m tests.faults $(if $(SEED),--seed '$(SEED)') $(if $(ONLY),--only '$(ONLY)') $(if $(LANES),--lanes '$(LANES)')

check: $(STAMP)-dev  ## check lint, format, strict types, import layers, generated code
	@echo 'check: lint'
	@$(BIN)/ruff check --quiet .
	@echo 'check: format'
	@$(BIN)/ruff format --check --quiet . || { echo 'not formatted: run `make format`' >&2; $(BIN)/ruff format --check . >&2; exit 1; }
	@echo 'check: types'
	@$(BIN)/mypy $(SOURCES)
	@echo 'check: imports'
	@$(BIN)/lint-imports --no-logo
	@echo 'check: generated code'
	@$(BIN)/python -m schemas.generate --check
	@$(BIN)/python -m settings.document --check
	@echo 'check: the contract against every release of it'
	@$(BIN)/python -m schemas.evolution

format: $(STAMP)-dev  ## sort imports, apply simple fixes, format
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

bench: $(STAMP)-dev  ## run the benchmarks, with a real broker and a durable database: BENCH="--only throughput,scale --json FILE --picture FILE"
	@$(RUN) -m bench $(BENCH)

contract: $(STAMP)-run  ## write the SDK's copies of the contract and of the redaction rules, from schemas/
	@$(BIN)/python -m schemas.generate

docs: $(STAMP)-run  ## write the pages generated from the code: docs/settings.md
	@$(BIN)/python -m settings.document

lock:  ## resolve requirements/*.in into *.txt; the only command that needs `uv` (UV=path)
	@command -v $(UV) >/dev/null || { echo 'make lock needs uv: `pip install uv`, or set UV=/path/to/uv' >&2; exit 2; }
	@cd requirements && \
	compile() { $(UV) pip compile "$$@" --quiet --no-config --universal --python-version 3.11 --generate-hashes --only-binary :all: \
		--no-emit-index-url --no-emit-find-links --no-emit-build-options --custom-compile-command 'make lock'; } && \
	compile dev.in -o dev.txt && \
	for list in build run demo; do compile "$$list.in" -c dev.txt -o "$$list.txt"; done
	@! grep -nE '^-|://|(^|[[:space:]=])/' requirements/*.txt || { echo 'an address or a path got into requirements/' >&2; exit 1; }

clean:  ## remove .venv, build products and caches
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name '*.egg-info' -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------------------------- set-up

.venv/bin/python:
	@test -n '$(PYTHON)' || { echo 'jobtrail needs Python 3.11, 3.12 or 3.13, and found none on PATH: install one, or say make PYTHON=/path/to/python' >&2; exit 2; }
	@'$(PYTHON)' -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "jobtrail needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is $$('$(PYTHON)' --version 2>&1): say make PYTHON=/path/to/another" >&2; exit 2; }
	@'$(PYTHON)' -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo '$(PYTHON) lacks the venv module: install it (Debian, Ubuntu: apt-get install python3-venv)' >&2; exit 2; }
	@echo "set-up: a virtual environment in .venv, with $$('$(PYTHON)' --version)"
	@rm -rf .venv
	@'$(PYTHON)' -m venv .venv

# Only wheels, each checked by its hash. Our own two packages are built by the pinned build backend, without isolation.
$(STAMP)-%: requirements/%.txt requirements/build.txt $(PACKAGES) | .venv/bin/python
	@echo 'set-up: packages of requirements/$*.txt'
	@$(PIP) install --require-hashes --only-binary :all: -r requirements/build.txt -r requirements/$*.txt
	@$(PIP) install --no-deps --no-build-isolation $(patsubst %/pyproject.toml,-e ./%,$(PACKAGES:pyproject.toml=./pyproject.toml))
	@touch $@
