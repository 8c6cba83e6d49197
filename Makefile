# The only commands of this project. Needed: make and Python 3.11 or newer.

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:

# Tests start hundreds of processes: each compiles everything again where this is set. `make clean` removes what is kept.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
RUN_READY := $(VENV)/.run-installed
DEV_READY := $(VENV)/.dev-installed
# PYTHON, CHROMIUM, PYTEST_ARGS, BENCH, LOCK_ARGS and those named below may be given: make test PYTEST_ARGS="-k retry"

.PHONY: help run test test-browser lint bench faults kafka migrate lock clean chromium

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 - /p' Makefile

run: $(RUN_READY) ## start everything in one process, on a database of its own
	@exec $(BIN)/carillon run

# Two at a time: much of a test is waiting. What shares a service or a cluster is in one file, and so in one process.
test: lint ## lint, then every test that needs no browser (PYTEST_ARGS="-n 0" in one process, KAFKA_BROKERS=host:port)
	$(if $(KAFKA_BROKERS),KAFKA_BROKERS="$(KAFKA_BROKERS)") $(BIN)/pytest --ignore=tests/browser -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-browser: chromium $(DEV_READY) ## the tests of the pages, in Chromium
	CHROMIUM="$(CHROMIUM)" $(BIN)/pytest tests/browser $(PYTEST_ARGS)

lint: $(DEV_READY) ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(DEV_READY) ## measure, all or what BENCH names, with its options
	@exec $(BIN)/python -m bench $(BENCH)

faults: $(DEV_READY) ## break everything while messages are on their way (SCENARIO=name SEED=7 LONG=1 JSON=file)
	@exec $(BIN)/python -m tests.faults $(SCENARIO) $(if $(SEED),--seed $(SEED)) $(if $(LONG),--long) $(if $(JSON),--json $(JSON))

kafka: $(DEV_READY) ## Apache Kafka on this machine, for the tests (KAFKA_PORT=9092; needs Java 17 and Maven)
	@exec $(BIN)/python -m tests.kafka $(if $(KAFKA_PORT),--port $(KAFKA_PORT))

migrate: $(RUN_READY) ## bring the schema of DATABASE_URL up to date
	@exec $(BIN)/carillon migrate

# The run and server locks are bound to the versions of the dev lock: what is tested is what runs.
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(LOCK_ARGS)

lock: $(DEV_READY) ## resolve the dependencies again (LOCK_ARGS=--upgrade for newer ones)
	$(COMPILE) --extra embedded --group dev --output-file requirements/dev.lock
	$(COMPILE) --extra embedded --group editable --constraints requirements/dev.lock --output-file requirements/run.lock
	$(COMPILE) --group build --constraints requirements/dev.lock --output-file requirements/server.lock

clean: ## remove what make and the tools made; the data in .carillon stays
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests bench -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# The interpreter of the environment: made again when the Python it points to is gone.
$(BIN)/python:
	@for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; \
	done; \
	if [ -z "$$python" ]; then \
		echo "Carillon needs Python 3.11 or newer: install it, or name it with PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$$python has no venv or ensurepip: install it (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; \
	fi; \
	"$$python" -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }

define install
	@echo "Installing requirements/$(1).lock into $(VENV), about a minute the first time"
	@$(PIP) install --only-binary=:all: --require-hashes --requirement requirements/$(1).lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(2)
endef

$(RUN_READY): $(BIN)/python requirements/run.lock pyproject.toml
	$(call install,run,$@)

# The dev lock holds all of the run lock.
$(DEV_READY): $(BIN)/python requirements/dev.lock requirements/run.lock pyproject.toml
	$(call install,dev,$@ $(RUN_READY))

CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

chromium:
	@if ! command -v "$(CHROMIUM)" >/dev/null; then \
		echo "No Chromium found: install it (Debian: apt install chromium), or name it with CHROMIUM=/path/to/chromium" >&2; exit 1; \
	fi
