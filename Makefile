# evalpool's commands. Each works on a machine that has only python3, make and a package index.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed-dev
DEMO   := $(VENV)/.installed-demo
DOCS   := $(VENV)/.installed-docs

.PHONY: demo test test-versions lint bench docs clean

demo: $(DEMO)  ## tune a classifier on real data with two worker processes
	$(BIN)/python examples/digits.py

test: lint  ## everything: style, types, all tests
	$(BIN)/python -m pytest tests $(PYTEST_ARGS)

test-versions:  ## the tests that need no cluster, on every Python from 3.10 that pyenv or the PATH offers
	$(PYTHON) tests/versions.py $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)  ## side by side with the raw engines and the peers; ARGS="--only records" for one
	$(BIN)/python -m pip install -q -r benchmarks/requirements.txt
	$(BIN)/python benchmarks/run.py $(ARGS)

docs: $(DOCS)  ## the site, in build/docs; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going -b html -d build/doctrees docs build/docs
	@echo "The site is in build/docs/index.html"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e ".[dev]"
	touch $@

# A machine that has the development install needs no second one for the demo.
$(DEMO): setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e ".[demo]"
	touch $@

$(DOCS): setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) .venv-* build dist demo-results .mypy_cache .ruff_cache .pytest_cache
