# A fresh machine needs python3 (3.11 or later), make and git; everything else goes into $(VENV).
#   make sweep   set up, count every grid, stage and attention, print the table, write $(REPORT)/
#   make quick   set up, run the linter, the pure tests, the laws and the three counting suites: under a minute
#   make test    set up, run all that a change needs: linter, type checker, all tests and suites but the slow ones
#   make slow    set up, run the slow tests, small campaigns among them, and each property on many random cases
#   make long    set up, run what takes minutes more: every grid of each model at full size, the commands of long pages
#   make bench   set up, print the speed claims
#   make engine  set up, make an environment with a real vLLM for CPUs (3 minutes, 3.5 GB) and run the tests of it
#   make gate    set up, prove the gate for times red and green; needs a GPU with recorded times
#   make fuzz    set up, damage the input of every parser, 100,000 cases each; takes an hour
#   make kill    set up, kill updates and reports at random moments and look at what they leave; takes half an hour
#   make faults  set up, let every system call of a write fail in its turn, and cut the power; takes an hour
#   make mutants set up, see whether the tests of the pure modules notice each small change of their code; takes hours
#   make matrix  set up, run all tests on Python 3.11 to 3.13 with the oldest and newest libraries; takes an hour
#   make hosts   set up, time a sweep on two hosts in network namespaces and kill a worker; as root
#   make docs    set up, write the pages about the recorded times anew
#   make workflows      set up, look for what is unsafe or wrong in workflows, issue forms and CITATION.cff
#   make site           set up, make the documentation's site in build/site; a broken link fails
#   make release-check  set up, build wheel and sdist, look into them, run the wheel in an empty environment
#   make materials      set up, list what the package is made of: build/materials.cdx.json (CycloneDX)
#   make audit          set up, ask whether a locked package has a known hole; needs the network
#   make lock           set up, lock the development tools anew, with hashes
PYTHON ?= python3
VENV ?= .venv
REPORT ?= report
# Any torch from 2.11 on will do; TORCH=torch takes what pip prefers. TORCH may hold pip's options too: where only a
# CPU is needed, a build for it saves gigabytes of CUDA packages.
TORCH ?= torch==2.13.0
COUNTING := suites/test_vision.py suites/test_prefill.py suites/test_decode.py
# What the gate's self-test runs: 12 points of every stage.
GATE ?= suites -k "(vision or prefill or decode) and flash" --ocrsweep-grids=1x1,1x2,2x1,1x3

# LOCKED=yes installs what dev/release/lock.txt says, by hash. torch is not in it: TORCH says which build is wanted.
LOCKED ?=

# Of pytest-xdist: more than eight workers wait for each other. A worker begins with half of the tests, module by module,
# so that what a module's tests share is made by one worker, and takes from the other when it is done.
WORKERS ?= -n auto --maxprocesses 8 --dist worksteal

# Without bytecode each pytest that a test starts would compile pytest's plugins anew: 0.3 s of CPU time a process.
unexport PYTHONDONTWRITEBYTECODE

# Where `make engine` makes its environment, which stays: it is made once.
ENGINE ?= .venv-vllm

# For dev/campaigns/matrix.py: --quick, or --vendor 3.11 for the vendor's model too.
MATRIX ?=

BIN := $(VENV)/bin
# Bytecode is written where it is first needed: compiling all of torch and transformers takes half of the installation.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
BASE := $(VENV)/.base-installed
DEV := $(VENV)/.dev-installed

.DEFAULT_GOAL := sweep
.PHONY: sweep quick test slow long bench engine gate fuzz kill faults mutants matrix hosts docs clean
.PHONY: workflows site release-check materials audit lock

sweep: $(BASE)
	$(BIN)/python -m pytest suites/ -k "vision or prefill or decode" --ocrsweep-analytic-only --ocrsweep-report $(REPORT)

quick: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest tests/unit suites/test_laws.py $(COUNTING) -m "not (slow or long)" --ocrsweep-analytic-only $(WORKERS)

test: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests suites -m "not (slow or long)" $(WORKERS)

# Hypothesis marks the tests of properties: `make test` tries each on a few cases, this on many.
slow: $(DEV)
	$(BIN)/python -m pytest tests suites -m "(slow or hypothesis) and not long" --hypothesis-profile many $(WORKERS)

long: $(DEV)
	$(BIN)/python -m pytest tests suites -m long $(WORKERS)

bench: $(DEV)
	$(BIN)/python dev/bench

engine: $(DEV)
	nice -n 10 $(BIN)/python tests/engines/cpu_vllm/environment.py $(ENGINE)
	OCRSWEEP_VLLM_PYTHON=$(abspath $(ENGINE))/bin/python $(BIN)/python -m pytest tests/engines

gate: $(DEV)
	$(BIN)/python dev/bench/gate.py --runs 20 --slowdown 0 2 3 -- $(GATE)

fuzz: $(DEV)
	$(PIP) "atheris>=3"
	nice -n 10 $(BIN)/python dev/campaigns/fuzz.py

kill: $(BASE)
	nice -n 10 $(BIN)/python dev/campaigns/kill.py

faults: $(DEV)
	nice -n 10 $(BIN)/python dev/campaigns/faults.py --every 1

mutants: $(DEV)
	$(PIP) "mutmut>=3.8,<3.9"
	nice $(BIN)/python dev/campaigns/mutants.py

matrix: $(BASE)
	$(PIP) uv
	nice -n 10 $(BIN)/python dev/campaigns/matrix.py $(MATRIX)

hosts: $(DEV)
	$(BIN)/python dev/campaigns/hosts.py

docs: $(DEV)
	{ echo "# Times recorded on an NVIDIA H200"; echo; $(BIN)/python dev/docs/times_table.py; } > docs/h200.md
	$(BIN)/python dev/profiles/kernel_table.py > docs/vllm-kernels.md
	$(BIN)/python dev/docs/time_chart.py time docs/h200.svg
	$(BIN)/python dev/docs/screenshot.py docs/report.png  # needs a Chromium: without one it stays as it is

workflows: $(DEV)
	$(BIN)/zizmor --no-progress .github
	$(BIN)/python -m pytest tests/project/test_workflows.py -k schema -m slow

site: $(BASE)
	$(PIP) --editable ".[site]"
	$(BIN)/python dev/docs/web_site.py build

release-check: $(BASE)
	$(PIP) --editable ".[release]"
	$(BIN)/python dev/release/check.py

materials: $(BASE)
	$(PIP) --editable ".[release]"
	mkdir -p build
	$(BIN)/cyclonedx-py requirements dev/release/lock.txt --pyproject pyproject.toml --output-reproducible \
		--output-file build/materials.cdx.json

audit: $(BASE)
	$(PIP) pip-audit
	$(BIN)/pip-audit --strict --requirement dev/release/lock.txt --require-hashes --disable-pip

lock: $(BASE)
	$(PIP) uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade --generate-hashes \
		--no-emit-index-url --no-annotate --override dev/release/no-torch.txt --quiet --output-file dev/release/lock.txt

clean:
	rm -rf $(VENV) $(REPORT) build dist

# The stamps are newer than what they were made from, so a second run installs nothing.
$(BASE): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable ".[report]"
	touch $@

$(DEV): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(if $(LOCKED),$(PIP) --no-deps --require-hashes --requirement dev/release/lock.txt)
	$(PIP) $(TORCH) --editable ".[vendor,report,columns,dev,site]"
	touch $(BASE) $@
