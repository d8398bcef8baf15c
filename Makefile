# What a developer does. `make help` lists it.
# Everything lives in .venv; a fresh Debian or Ubuntu machine needs only Python 3.11 or newer, make and apt.

SHELL := /bin/sh
# The first that runs and is new enough; a name on PATH alone may be an empty shell (pyenv's shims).
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
MINUTES ?= 30
MODULE ?=
COUNT ?= 1000000
SECONDS ?= 90
KEEP ?=
QUICK ?=
# Most tests wait for browsers and servers, so more of them than there are cores; those of check compute.
WORKERS ?= 5
CHECK_WORKERS ?= 2
TESTS := tests/unit tests/property tests/integration tests/faults
PYTEST_ARGS ?=
BENCH_ARGS ?=

# Byte code is kept, whatever the shell says: the tests start hundreds of processes, and each would compile everything.
unexport PYTHONDONTWRITEBYTECODE
# Hypothesis would load trio into every worker, for a hook that nothing here uses.
export HYPOTHESIS_NO_PLUGINS := 1

.PHONY: help demo check test long lint bench page soak fuzz mutation consent windows screenshots notebook tools schema setup system clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-11s %s\n", $$1, $$2}'

demo: setup system ## Run simulated site, real Chrome, daemon and client, and compare what they have (SECONDS=90, KEEP=1 until Ctrl-C)
	@$(BIN)/fluxcap demo --seconds $(SECONDS) $(if $(KEEP),--keep)

test: setup system ## Run the tests, all but what shows the same again for longer
	@$(BIN)/python -m tests.support.side_by_side $(WORKERS) $(TESTS) -- -m 'not long' $(PYTEST_ARGS)

long: setup system ## Run the tests that make test leaves out, and the property tests with every example
	@FULL_TESTS=1 $(BIN)/python -m tests.support.side_by_side $(WORKERS) $(TESTS) -- -m long $(PYTEST_ARGS)

check: setup ## Check style and types, and run the quick tests: unit and property, with fewer examples, without the costly ones
	@QUICK_TESTS=1 $(BIN)/python -m tests.support.side_by_side $(CHECK_WORKERS) tests/unit tests/property \
	  --beside "$(MAKE) -s --no-print-directory lint" -- \
	  -m 'not slow and not costly and not browser' $(PYTEST_ARGS)

lint: setup ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@mkdir -p .types/fluxcap && for part in capture bridge schemas; do ln -sfn ../../$$part .types/fluxcap/$$part; done
	@for file in fluxcap/*; do ln -sfn ../../$$file .types/fluxcap/; done; rm -f .types/fluxcap/__pycache__
	@MYPYPATH=.types $(BIN)/mypy -p fluxcap

bench: setup system ## Measure, each figure beside its yardstick in the same run (BENCH_ARGS=--quick)
	@$(BIN)/python -m tests.bench.rivals
	@$(BIN)/python -m tests.bench.report $(BENCH_ARGS)

page: setup system ## Measure what an open page costs the daemon over an hour (MINUTES=60)
	@$(BIN)/python tests/bench/open_page.py --minutes $(if $(filter file,$(origin MINUTES)),60,$(MINUTES))

# Every script of the folder (the browser storm lasts so many minutes, and writes tests/soak/report.md), and the slow
# faults; one that fails does not keep the others from running.
soak: setup system ## Long runs under every fault, with a report (MINUTES=30)
	@failed=0; for script in tests/soak/*.py; do \
	  echo "$$script"; MINUTES=$(MINUTES) $(BIN)/python $$script || failed=1; \
	done; \
	FULL_TESTS=1 $(BIN)/python -m pytest -m 'slow or long' tests/faults tests/property $(PYTEST_ARGS) || failed=1; exit $$failed

fuzz: setup ## Feed a million mutated inputs (COUNT=1000000)
	@failed=0; for script in tests/fuzz/fuzz_*.py; do \
	  echo "$$script"; $(BIN)/python $$script --count $(COUNT) || failed=1; \
	done; exit $$failed

mutation: setup ## Try whether the tests notice small changes of the pure core (MODULE=tape)
	@$(BIN)/python -m tests.mutation.run $(MODULE)

consent: setup system ## Read a browser by its user's consent, with the real dialog on a virtual screen
	@missing=""; command -v Xvfb >/dev/null || missing="xvfb"; command -v xdotool >/dev/null || missing="$$missing xdotool"; \
	if [ -n "$$missing" ]; then ./tests/support/install-system.sh $$missing; fi
	@$(BIN)/python -m pytest tests/consent $(PYTEST_ARGS)

# With QUICK=1 what takes some minutes; where Wine cannot be had, a sentence says so and nothing has failed.
WINDOWS_QUICK := tests/unit/bridge/system tests/unit/bridge/store tests/unit/bridge/export tests/unit/capture/csvfiles \
  tests/unit/capture/runtime tests/unit/capture/tools tests/unit/capture/daemon tests/unit/capture/recording

windows: setup system ## Run tests, the live path and every command on Windows' own Python, through Wine (QUICK=1)
	@tests/windows/build.sh .windows || { code=$$?; [ "$$code" = 77 ] && [ -n "$(QUICK)" ] && exit 0; exit $$code; }; \
	failed=0; $(BIN)/python -m tests.windows.live .windows $(if $(QUICK),--quick) || failed=1; \
	$(BIN)/python -m tests.windows.units .windows $(if $(QUICK),--minutes 2 $(WINDOWS_QUICK)) || failed=1; exit $$failed

screenshots: setup system ## Make the pictures of the documents again
	@$(BIN)/python -m tests.support.make_screenshots

notebook: setup ## Execute the notebook of the documents anew, in an environment of its own
	@mkdir -p .tools; test -e .tools/notebook/bin/python || $(PYTHON) -m venv .tools/notebook
	@.tools/notebook/bin/python -m pip install -q --disable-pip-version-check -e . -r tests/support/notebook.txt -c constraints.txt
	@.tools/notebook/bin/python -m tests.support.make_notebook

# Heavy packages, each in an environment of its own, so that none is needed for anything else.
tools: setup ## Read our exports back with freqtrade, nautilus_trader, backtrader and vectorbt, and run the recipes
	@mkdir -p .tools; for name in freqtrade nautilus_trader backtrader vectorbt; do \
	  test -e .tools/$$name/bin/python || $(PYTHON) -m venv .tools/$$name; \
	  .tools/$$name/bin/python -m pip install -q --disable-pip-version-check $$name pandas || exit 1; \
	done; .tools/nautilus_trader/bin/python -m pip install -q --disable-pip-version-check -e .
	@$(BIN)/python -m pytest -q -rs tests/integration/packaging/test_other_programs.py $(PYTEST_ARGS)

schema: setup system ## Generate the wire code anew from schemas/market_data.fbs
	@$(BIN)/python -m fluxcap.schemas.generate

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "fluxcap needs Python 3.11 or newer; install it, or say make PYTHON=/path/to/python."; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { \
	  v=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	  echo "Installing $$v …"; ./tests/support/install-system.sh $$v && $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing fluxcap into $(VENV) …"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

# Chromium for demo and tests, flatc for the schema, a NATS server and libfaketime for tests: installed only where they
# are missing.
system:
	@set -e; missing=""; \
	{ command -v chromium || command -v chromium-browser || command -v google-chrome || command -v google-chrome-stable; } >/dev/null || missing="$$missing chromium"; \
	command -v chromedriver >/dev/null || missing="$$missing chromium-driver"; \
	command -v flatc >/dev/null || missing="$$missing flatbuffers-compiler"; \
	PATH="$$PATH:/usr/sbin" command -v nats-server >/dev/null || missing="$$missing nats-server"; \
	ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing="$$missing libfaketime"; \
	if [ -n "$$missing" ]; then ./tests/support/install-system.sh $$missing; fi

clean: ## Remove what was installed and cached here
	@rm -rf $(VENV) .windows .mutation .types .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
