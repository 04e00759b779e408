# A fresh machine needs python3 (3.11 or later), make and git; everything else goes into $(VENV).
#   make sweep   set up, count every grid, stage and attention, print the table, write $(REPORT)/
#   make test    set up, run the tests, the suites, the linter and the type checker
#   make bench   set up, print the speed claims
PYTHON ?= python3
VENV ?= .venv
REPORT ?= report
# Without a pin pip takes the newest torch, with gigabytes of CUDA packages on some systems. Any from 2.11 on will do:
#   make test TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
BASE := $(VENV)/.base-installed
DEV := $(VENV)/.dev-installed

.DEFAULT_GOAL := sweep
.PHONY: sweep test bench clean

sweep: $(BASE)
	$(BIN)/python -m pytest suites/ -k "vision or prefill or decode" --ocrsweep-analytic-only --ocrsweep-report $(REPORT)

test: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests suites -n auto --maxprocesses 8

bench: $(DEV)
	$(BIN)/python bench

clean:
	rm -rf $(VENV) $(REPORT)

# The stamps are newer than what they were made from, so a second run installs nothing.
$(BASE): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(DEV): $(BASE)
	$(PIP) $(TORCH)
	$(PIP) --editable ".[vendor,report,dev]"
	touch $@
