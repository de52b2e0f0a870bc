# Every target sets up what it needs: a fresh machine wants only Python 3.11+ and make.
#   make train ARGS="--backend numpy --epochs 1"     make test PYTHON=python3.13
PYTHON ?= python3
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
BIN := $(VENV)/bin
ARGS ?=
COVERAGE := COVERAGE_FILE=$(CURDIR)/build/coverage/data $(BIN)/coverage
COVERED := tests/kernels tests/cnn

.PHONY: help train test crosscheck conformance conformance-environment conformance-full coverage \
	kills bench bench-full bench-compare peers check readme clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(VENV)/.base: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.base
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(VENV)/.bench: pyproject.toml $(VENV)/.base
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

$(VENV)/.peers: pyproject.toml $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev,peers]'
	@touch $@

$(VENV)/.conformance: pyproject.toml $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev,conformance]'
	@touch $@

train: $(VENV)/.base  ## train the MNIST CNN on the embedded digits; ARGS="..." are passed on
	$(BIN)/python -m cnn train $(ARGS)

test: $(VENV)/.dev  ## all tests, on as many processes as there are cores
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

crosscheck: $(VENV)/.base  ## the fast backends against the naive reference; ARGS="--cases 3000"
	$(BIN)/python -m kernels check --backend numpy $(ARGS)
	$(BIN)/python -m kernels check --backend numba $(ARGS)

conformance-environment: $(VENV)/.conformance

conformance: $(VENV)/.conformance  ## ONNX's and PyTorch's own tests, and a tenth of the random cases
	$(BIN)/python -m pytest tests/conformance --table results/conformance.md $(ARGS)
	$(BIN)/python -m pytest tests/robustness -m long -n auto

conformance-full: $(VENV)/.conformance  ## the same with all random cases
	$(BIN)/python -m pytest tests/conformance --table results/conformance-full.md --all-cases $(ARGS)

kills: $(VENV)/.dev  ## kill 200 trainings at random, resume them, compare bits; ARGS="--kills 20"
	$(BIN)/python -m tests.robustness.kill_and_resume $(ARGS)

coverage: $(VENV)/.dev  ## tests with and without compilation: 95 % of kernels, 90 % of cnn, or it fails
	rm -rf build/coverage && mkdir -p build/coverage
	NUMBA_CACHE_DIR=$(CURDIR)/build/coverage/numba $(COVERAGE) run -m pytest -q -m "not slow" $(COVERED)
	NUMBA_DISABLE_JIT=1 $(COVERAGE) run -m pytest -q -m "not slow and not compiled" \
		-W ignore::RuntimeWarning $(COVERED)  # NumPy warns of NaN, compiled code does not
	$(COVERAGE) combine --quiet
	$(COVERAGE) report --skip-covered --show-missing --include 'kernels/*' --fail-under 95
	$(COVERAGE) report --skip-covered --show-missing --include 'cnn/*' --fail-under 90

bench: $(VENV)/.bench  ## time the backends (at most 5 minutes); ARGS="--case 'mnist-*'", or "--help"
	$(BIN)/python -m bench run $(ARGS)

bench-full: $(VENV)/.bench  ## time them on all cases; `make bench` says how long that takes
	$(BIN)/python -m bench run --suite full $(ARGS)

bench-compare: $(VENV)/.bench  ## time them again and show the difference to the last run
	$(BIN)/python -m bench run $(ARGS)
	$(BIN)/python -m bench compare

peers: $(VENV)/.peers  ## install PyTorch and ONNX Runtime, which benchmarks then take in

check: $(VENV)/.dev  ## what to run before each commit: format, lint, types, the tests that take seconds
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -m "not slow" $(ARGS)

readme: $(VENV)/.peers  ## measure what README.md claims, beside PyTorch, and write it there
	$(BIN)/python -m bench readme $(ARGS)

clean:  ## remove environments, caches and build products (runs/ and results/ stay)
	rm -rf .venv* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
