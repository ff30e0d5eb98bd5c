# `make demo` and `make test` each set up everything they need: Python >= 3.11 and a package index are enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
JOBS   ?= 2
# Every test process computes with one thread: with more, the processes get in each other's way.
ONE    := OMP_NUM_THREADS=1

.PHONY: help demo test test-slow test-cluster fuzz lint format docs clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo       install and run the main job on a small scale (no data needed); writes prejudge-demo/report.html'
	@echo 'make test       install with the tools of development; lint, type check, fast tests'
	@echo 'make test-slow  the tests that take minutes'
	@echo 'make test-cluster  several Ray nodes on this machine: some minutes, too'
	@echo 'make fuzz       100,000 broken inputs for every parser and reader: some hours'
	@echo 'make lint       ruff and mypy alone          make format   let ruff rewrite the sources'
	@echo 'make docs       build the manual into build/site'
	@echo 'make clean      remove what these left behind, .venv included'
	@echo 'Another interpreter: make demo PYTHON=python3.13'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "prejudge needs Python >= 3.11, this is %d.%d; try: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	@echo 'installing into $(VENV) (once; torch is large, this takes some minutes)'
	$(PIP) install --quiet -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/python
	@echo 'installing into $(VENV) (once; torch is large, this takes some minutes)'
	$(PIP) install --quiet -e '.[dev]'
	@touch $(VENV)/installed $@

demo: $(VENV)/installed
	$(BIN)/prejudge demo

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(ONE) $(BIN)/python -m pytest -n $(JOBS)

# pytest exits with 5 where no test is marked slow.
test-slow: $(VENV)/installed-dev
	$(ONE) $(BIN)/python -m pytest -n $(JOBS) -m slow || test $$? -eq 5

# One process: the nodes are processes enough.
test-cluster: $(VENV)/installed-dev
	$(ONE) $(BIN)/python -m pytest -m cluster

# What is found is kept in build/fuzz; tests/fuzz/explore.py runs one of the targets under atheris.
fuzz: $(VENV)/installed-dev
	PREJUDGE_FUZZ_INPUTS=100000 $(ONE) $(BIN)/python -m pytest --timeout 0 tests/fuzz

docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis prejudge-demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
