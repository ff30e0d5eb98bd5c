# `make demo` and `make test` each set up everything they need: Python >= 3.11 and a package index are enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
JOBS   ?= 2
ROUNDS ?= 100
LOCKED := requirements/locked.txt
# The exact versions also of what builds the package; newer Pythons, for which they have no wheels, get the newest.
EXACT  := $$($(BIN)/python -c 'import sys; sys.version_info < (3, 15) and print("PIP_CONSTRAINT=$(LOCKED) PIP_BUILD_CONSTRAINT=$(LOCKED)")')
# What test-newest and test-oldest run; continuous integration takes CORE, what depends most on the versions.
TESTS  ?= tests
CORE   := tests/spaces tests/proxies tests/cache tests/benchmarks tests/pipeline tests/cli/test_demo_command.py
# Every test process computes with one thread: with more, the processes get in each other's way.
ONE    := OMP_NUM_THREADS=1

.PHONY: help demo test test-slow test-cluster test-newest test-oldest core-newest core-oldest chaos fuzz lint format docs lock clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo       install and run the main job on a small scale (no data needed); writes prejudge-demo/report.html'
	@echo 'make test       install with the tools of development; lint, type check, fast tests'
	@echo 'make test-newest  the fast tests with the newest versions of everything; test-oldest: with the oldest allowed'
	@echo 'make core-newest, core-oldest  the part of them over spaces, proxies, cache, benchmarks and a demo'
	@echo 'make test-slow  the tests that take minutes'
	@echo 'make test-cluster  several Ray nodes on this machine: some minutes, too'
	@echo 'make chaos ROUNDS=100  long commands that are killed at random moments and started again: some hours'
	@echo 'make fuzz       100,000 broken inputs for every parser and reader: some hours'
	@echo 'make lint       ruff, mypy and import-linter alone   make format   let ruff rewrite the sources'
	@echo 'make docs       build the manual into build/site'
	@echo 'make lock       renew the exact versions that demo and test install'
	@echo 'make clean      remove what these left behind, .venv included'
	@echo 'Another interpreter: make demo PYTHON=python3.13'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "prejudge needs Python >= 3.11, this is %d.%d; try: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml $(LOCKED) | $(BIN)/python
	@echo 'installing into $(VENV) (once; torch is large, this takes some minutes)'
	env $(EXACT) $(PIP) install --quiet -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml $(LOCKED) | $(BIN)/python
	@echo 'installing into $(VENV) (once; torch is large, this takes some minutes)'
	env $(EXACT) $(PIP) install --quiet -e '.[dev]'
	@touch $(VENV)/installed $@

demo: $(VENV)/installed
	$(BIN)/prejudge demo

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(ONE) $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# pytest exits with 5 where no test is marked slow.
test-slow: $(VENV)/installed-dev
	$(ONE) $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m slow || test $$? -eq 5

# One process: the nodes are processes enough.
test-cluster: $(VENV)/installed-dev
	$(ONE) $(BIN)/python -m pytest -m cluster

# A job of its own: what the next releases of dependencies break is seen here, not by those who run `make test`.
test-newest:
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip --disable-pip-version-check install --quiet --upgrade --upgrade-strategy eager -e '.[dev]'
	$(ONE) .venv-newest/bin/python -m pytest -n $(JOBS) --dist worksteal $(TESTS)

# The lower bounds of pyproject.toml, on the oldest Python: make test-oldest PYTHON=python3.11
test-oldest:
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip --disable-pip-version-check install --quiet -c requirements/oldest.txt -e '.[parquet]' \
	  'pyarrow==15.*' pytest pytest-timeout pytest-xdist hypothesis pillow
	$(ONE) .venv-oldest/bin/python -m pytest -n $(JOBS) --dist worksteal $(TESTS)

core-newest core-oldest: core-%:
	$(MAKE) test-$* TESTS="$(CORE)"

# Commands that are killed at random moments, ROUNDS times each, and started again.
chaos: $(VENV)/installed-dev
	PREJUDGE_CHAOS_ROUNDS=$(ROUNDS) $(ONE) $(BIN)/python -m pytest -s -m slow --timeout 0 tests/engine/test_chaos.py tests/engine/test_chaos_learning.py

# What is found is kept in build/fuzz; tests/fuzz/explore.py runs one of the targets under atheris.
fuzz: $(VENV)/installed-dev
	PREJUDGE_FUZZ_INPUTS=100000 $(ONE) $(BIN)/python -m pytest --timeout 0 tests/fuzz

docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# From an environment of the newest versions whose tests pass.
lock: test-newest
	@{ sed -n '/^#/p' $(LOCKED); .venv-newest/bin/python -m pip freeze --all --exclude-editable --exclude pip \
	  | sed -E 's/^(mkdocs-material|pymdown-extensions)==.*/&; python_full_version >= "3.11.5"/'; } > $(LOCKED).new
	mv $(LOCKED).new $(LOCKED)

clean:
	rm -rf $(VENV) .venv-newest .venv-oldest build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis prejudge-demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
