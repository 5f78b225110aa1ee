# What people and CI run: `make demo` shows the service, `make test` checks it. `make help` lists the rest.

PYTHON ?= python3
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# What a lock does not name with its hash is refused; the locks hold whole closures, so that pip adds nothing.
LOCKED := --no-deps --require-hashes

.DEFAULT_GOAL := test
.PHONY: demo serve test test-clients openapi lint torture fuzz bench-quick lock bom audit clean help

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

demo: .venv/compiled.stamp  ## Upload the bundled example, search it, print recall
	$(BIN)/qinco-server demo

serve: .venv/compiled.stamp  ## Serve on port 6333 until Ctrl-C
	$(BIN)/qinco-server serve

test: lint .venv/compiled.stamp  ## Lint, then run all tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

# The newest and the two minors before it; tests/clients runs once with each, the service comes from .venv.
CLIENTS := 1.18.0 1.19.1 1.20.0

test-clients: $(CLIENTS:%=.venv/clients/%.stamp)  ## Drive the service with stock clients, each in an environment of its own
	for version in $(CLIENTS); do \
		CLIENT_EXAMPLES=60 QINCO_PYTHON=$(CURDIR)/$(BIN)/python .venv/clients/$$version/bin/python -m pytest tests/clients -c /dev/null \
			--rootdir=$(CURDIR) -q || exit 1; \
	done

.venv/clients/%.stamp: .venv/runtime.stamp requirements/clients.txt
	$(BIN)/python -m venv .venv/clients/$*
	.venv/clients/$*/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/clients.txt qdrant-client==$*
	@touch $@

lint: .venv/dev.stamp  ## Ruff, mypy and the import contract
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

torture: .venv/dev.stamp  ## Kills, power cuts, damage: for minutes, going on from where it was
	$(BIN)/python -m tests.torture

fuzz: .venv/fuzz.stamp  ## Bytes made up by atheris for what reads strangers' files, for minutes; corpora and counts grow
	$(BIN)/python -m tests.fuzz

openapi: .venv/dev.stamp  ## Freeze the HTTP calls in docs/openapi.json, after changing them
	$(BIN)/python -m service.openapi > docs/openapi.json

bench-quick: .venv/compiled.stamp  ## Measure the bundled example; fail where a ratio is a fifth worse than recorded
	$(BIN)/python -m benchmarks.service_quick

# Numba compiles a function anew when its own file changes, not when that of a function it calls does.
.venv/compiled.stamp: .venv/runtime.stamp $(shell grep -rl --include='*.py' njit model index_store)
	@find model index_store -name '*.nb[ci]' -delete
	@touch $@

lock: .venv/runtime.stamp  ## Write the hashes of all pins into requirements/*.lock, after changing a pin
	$(BIN)/python requirements/lock.py

bom: .venv/supply-chain/stamp  ## Write bills of materials (CycloneDX) for CPU and CUDA into build/
	@mkdir -p build
	for device in cpu cuda; do \
		.venv/supply-chain/bin/cyclonedx-py requirements requirements/$$device.lock --pyproject pyproject.toml \
			--mc-type application --output-reproducible --output-file build/$$device.cdx.json || exit 1; \
	done

audit: .venv/supply-chain/stamp  ## Look all locked packages up in the database of known vulnerabilities
	.venv/supply-chain/bin/python requirements/audit.py

clean:  ## Remove the virtual environment and all caches
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; try: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

# PyTorch first and alone: its CPU build has an index of its own, a tenth of the size of the default build.
# Where no source in reach has it, pip takes the default build.
.venv/torch.stamp: .venv/python.stamp requirements/torch-cpu.lock requirements/torch.lock
	$(PIP) $(LOCKED) --retries 1 --extra-index-url $(TORCH_INDEX) -r requirements/torch-cpu.lock || \
		$(PIP) $(LOCKED) -r requirements/torch.lock
	@touch $@

# Only the default build cannot be imported without the CUDA packages.
.venv/runtime.stamp: .venv/torch.stamp requirements/base.lock requirements/cpu.lock requirements/torch-cuda.lock pyproject.toml
	$(PIP) $(LOCKED) -r requirements/cpu.lock
	$(BIN)/python -c "import torch" 2> /dev/null || $(PIP) $(LOCKED) -r requirements/torch-cuda.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@echo "Compiling the kernels, once: about half a minute"
	@$(BIN)/python -c 'from index_store.warming import warm; warm()'
	@touch $@

.venv/dev.stamp: .venv/runtime.stamp requirements/dev.lock
	$(PIP) $(LOCKED) -r requirements/dev.lock
	@touch $@

# Python 3.11 to 3.13 alone have a wheel of it.
.venv/fuzz.stamp: .venv/dev.stamp requirements/fuzz.lock
	$(PIP) $(LOCKED) -r requirements/fuzz.lock
	@touch $@

.venv/supply-chain/stamp: requirements/supply-chain.lock | .venv/python.stamp
	$(PYTHON) -m venv .venv/supply-chain
	.venv/supply-chain/bin/python -m pip install --quiet --disable-pip-version-check $(LOCKED) -r requirements/supply-chain.lock
	@touch $@
