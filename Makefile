# Each target sets up what it needs in $(VENV) and then does its job; set-up is skipped while pyproject.toml is unchanged.

PYTHON ?= python3
VENV ?= .venv
LOWER ?= .venv-lower
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PRECIOUS: %/bin/python
.PHONY: help demo test lint types layers docs bench test-lower clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-plot ## the main job on a real scan; pictures and files go to demo-output/
	$(BIN)/python examples/demo.py

test: lint types layers ## everything that must pass: lint, types, layers, tests with coverage
	$(BIN)/python -m pytest -n auto --cov

lint: $(VENV)/.installed-test ## ruff, rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test ## mypy, strict
	$(BIN)/mypy

layers: $(VENV)/.installed-test ## import-linter: imports point down only
	$(BIN)/lint-imports

docs: $(VENV)/.installed-docs ## the pages, with their examples run, in docs/_build/html
	$(BIN)/sphinx-build --fail-on-warning --keep-going --jobs auto docs docs/_build/html

bench: $(VENV)/.installed-bench ## side by side with peers
	$(BIN)/python -m benchmarks

# Old releases warn about newer neighbours, so here a warning is no error.
test-lower: $(LOWER)/.installed ## the tests on the lowest releases that pyproject.toml allows
	$(LOWER)/bin/python -m pytest -n auto -W default

clean: ## remove what was made, except the environments
	rm -rf demo-output dist docs/_build .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## remove the environments too
	rm -rf $(VENV) $(LOWER)

%/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("xarray-ngff needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $* || { rm -rf $*; exit 1; }

$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

$(LOWER)/.installed: pyproject.toml constraints/lower.txt | $(LOWER)/bin/python
	$(LOWER)/bin/python -m pip install --quiet --constraint constraints/lower.txt --editable '.[test]'
	@touch $@
