# `make help` lists the targets. Nothing is installed twice: see the stamps.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
RUN := $(PY) -m unified_laws
DEMO ?= demo
SWEEP ?= demo
SETUP := $(VENV)/.setup-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
SETUP_DEV := $(SETUP)-dev
# On CI the slow tests run too.
SELECT := $(if $(CI),,-m "not slow")

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test lint types unit clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

setup: $(SETUP) ## make .venv with what running needs

setup-dev: $(SETUP_DEV) ## the same, with what testing needs

$(SETUP):
	$(PYTHON) -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info < (3, 14)) and "unified_laws needs Python 3.11 to 3.13; say make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(SETUP_DEV): $(SETUP)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(SETUP) ## train compressed Llamas on real text, fit the law, draw the page: about ten minutes
	$(RUN).sweep sweep=$(SWEEP) action=launch runs_dir=$(DEMO)/runs
	$(RUN).collect runs_dir=$(DEMO)/runs out=$(DEMO)/runs.csv
	$(RUN).fit runs=$(DEMO)/runs.csv out=$(DEMO)
	$(RUN).report runs=$(DEMO)/runs.csv laws=$(DEMO)/laws.json out=$(DEMO)

test: lint types unit ## everything CI runs

lint: $(SETUP_DEV) ## format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(SETUP_DEV) ## mypy --strict
	$(BIN)/mypy

unit: $(SETUP_DEV) ## the tests
	$(PY) -m pytest -n auto --dist worksteal $(SELECT)

clean: ## remove what make made, except runs and the demo
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .cache
