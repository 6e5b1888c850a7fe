# Headroom. `make` alone explains the targets.

# The first that runs, for a name can be there and lead nowhere, as those of version managers do.
PYTHON ?= $(shell for name in python3.12 python3.11 python3; do \
    if $$name -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; \
    then echo $$name; exit; fi; done; echo python3)
BIN := .venv/bin
INSTALLED := .venv/.installed
CDK := infra/.venv/bin/python
CDK_INSTALLED := infra/.venv/.installed
# Those with a job that can start on the managed service.
CAPABILITIES := $(patsubst jobs/%/managed.py,%,$(wildcard jobs/*/managed.py))

.DEFAULT_GOAL := help

.PHONY: help
help: ## Explain the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: replay
replay: $(INSTALLED) ## Set up, and replay the recording that ships with the project
	$(BIN)/headroom replay tests/recordings/conversations.jsonl.gz --config examples/conversations.toml

.PHONY: test
test: $(INSTALLED) ## Set up, and run all tests
	$(BIN)/pytest

.PHONY: faults
faults: $(INSTALLED) ## Kill, cut and refuse everything on real servers, and write docs/reliability.md (some minutes)
	$(BIN)/python -m tests.faults

.PHONY: test-containers
test-containers: $(INSTALLED) ## The loop's tests on containers of Valkey and an AWS emulator (needs Docker, else skips)
	HEADROOM_CONTAINERS=1 $(BIN)/pytest -rs tests/containers

.PHONY: check
check: $(INSTALLED) ## Lint, formatting and strict types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

.PHONY: bench
bench: $(INSTALLED) ## Measure replay beside other engines, on 2 million records made on the spot
	$(BIN)/python -m bench

.PHONY: bench-usage
bench-usage: $(INSTALLED) ## Measure the usage ledger: building it, its size, and its meters on a month
	$(BIN)/python -m bench.usage

.PHONY: bench-live
bench-live: $(INSTALLED) ## Measure from the write in Kinesis to the key in Valkey, and each part of the way
	$(BIN)/python -m bench.live

.PHONY: bench-kinesis
bench-kinesis: $(INSTALLED) ## Measure how many records a second the Python Kinesis source reads
	$(BIN)/python -m bench.kinesis_source

.PHONY: infra
infra: $(CDK_INSTALLED) ## Set up the CDK, which needs Node, in infra/.venv

.PHONY: packages
packages: $(INSTALLED) ## Build the packages of all capabilities and of the lambdas
	for name in $(CAPABILITIES) lambdas; do $(BIN)/headroom package $$name --out packages || exit; done

.PHONY: synth
synth: $(CDK_INSTALLED) packages ## Write CloudFormation templates to infra/cdk.out, without an AWS account
	$(CDK) -m infra.app $(wildcard infra/deployment.toml) --out infra/cdk.out
	$(BIN)/cfn-lint infra/cdk.out/*.template.json

.PHONY: policies
policies: $(INSTALLED) ## Print every policy in the templates
	@$(BIN)/python -m infra.policies infra/cdk.out

.PHONY: bench-spot
bench-spot: $(INSTALLED) ## Measure the Spot job and its actuators: a storm, API calls, kills, a simulated week
	$(BIN)/python -m bench.spot

.PHONY: faults-spot
faults-spot: $(INSTALLED) ## Kill the Spot swap and refuse it at each of its calls, kill apply, and count what is left behind
	$(BIN)/python -m bench.spot.kills
	HEADROOM_EVERY_CALL=1 $(BIN)/pytest tests/lambdas/test_spot_deleted_groups.py tests/lambdas/test_spot_refusals.py

.PHONY: install
install: $(INSTALLED) ## Only set up

.PHONY: lock
lock: ## Resolve all dependencies anew (needs uv)
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-emit-index-url --no-emit-find-links --quiet --output-file requirements.lock
	uv pip compile infra/requirements.in --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-emit-index-url --no-emit-find-links --quiet --output-file infra/requirements.lock

.PHONY: clean
clean: ## Remove everything that the targets made
	rm -rf .venv infra/.venv infra/cdk.out packages .bench .faults headroom-out headroom-live headroom-state .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 13) else "Headroom needs Python 3.11 or 3.12; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...")'
	@echo "Setting up .venv: Flink and its dependencies are about 1 GB, the first time takes some minutes"
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(CDK_INSTALLED): infra/requirements.lock
	@command -v node > /dev/null || { echo "The CDK needs Node; install it first" >&2; exit 1; }
	$(PYTHON) -m venv --clear infra/.venv
	infra/.venv/bin/pip install --disable-pip-version-check --quiet --require-hashes --requirement infra/requirements.lock
	@touch $@
