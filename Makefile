# One command each; all work on a fresh machine with Python 3.11 or newer and nothing else.
#   make demo    install, then run the shipped scenario and write runs/demo
#   make test    install with the test tools, then run every test
#   make lint    ruff, check only
#   make types   mypy, strict on the public surface
#   make lock    pin every dependency with its hashes in requirements.lock (Python 3.11)
#   make bench   short benchmarks (BENCH=benchmarks/test_adl.py: only these)
#   make bench-save  the same, kept as the baseline of this machine in .benchmarks
#   make bench-compare  the same beside the baseline; fails where a median grew by SLOWER (30%)
#   make library  every shipped scenario, what it should show beside what it shows
#   make mutants deliberate faults, one at a time in a copy: which tests kill them
#   make drill   kill -9, torn and altered journals and snapshots
#   make hostile 20,000 mutations of a sound file of every public format, in two processes
#   make campaign  a million random commands through core and rulebook, 20 million audited
#   make audit   known vulnerabilities of the locked dependencies (asks the advisory database)
#   make versions  the same digests from every Python found (PYTHONS="..." names them)
# VENV=path uses another virtual environment, PYTHON=path another interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SCENARIO ?= scenarios/2020-03-12-black-thursday.toml
OUT ?= runs/demo
BENCH ?= benchmarks
SLOWER ?= 30%
BENCH_RUN = $(BIN)/python -m pytest $(BENCH) --benchmark-enable --benchmark-only \
	--benchmark-min-rounds=3 --benchmark-max-time=1 --benchmark-columns=min,median,ops,rounds

.PHONY: demo test lint types lock bench bench-save bench-compare drill hostile campaign audit versions mutants clean library

demo: $(VENV)/.installed
	@echo "The first run compiles the kernels once; it says how long that took."
	$(BIN)/crashtape run $(SCENARIO) --out $(OUT)

test: $(VENV)/.installed-test
	$(BIN)/crashtape compile
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

lock: $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-tools
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --strip-extras \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--extra dev --extra dask --output-file requirements.lock pyproject.toml
	sed -i '/^# WARNING: /,/^    # via/d' requirements.lock

bench: $(VENV)/.installed-test
	$(BENCH_RUN)

bench-save: $(VENV)/.installed-test
	$(BENCH_RUN) --benchmark-save=baseline

bench-compare: $(VENV)/.installed-test
	$(BENCH_RUN) --benchmark-compare --benchmark-compare-fail=median:$(SLOWER)

drill: $(VENV)/.installed-test
	$(BIN)/crashtape compile
	$(BIN)/python tests/drill.py

hostile: $(VENV)/.installed-test
	$(BIN)/crashtape compile
	$(BIN)/python tests/hostile.py

campaign: $(VENV)/.installed-test
	$(BIN)/crashtape compile
	$(BIN)/crashtape verify fuzz --seed 0 --commands 1000000 --workers 2
	$(BIN)/crashtape verify fuzz --seed 0 --commands 20000000 --workers 2 --compiled-only

audit: $(VENV)/.installed-dev
	$(BIN)/python tests/vulnerabilities.py

versions: $(VENV)/.installed-test
	$(BIN)/python tests/versions.py $(PYTHONS)

library: $(VENV)/.installed-test
	$(BIN)/crashtape compile
	$(BIN)/python tests/library.py

mutants: $(VENV)/.installed-test
	$(BIN)/python tests/mutants.py

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .benchmarks
	find engine tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; try make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed-test $(VENV)/.installed
