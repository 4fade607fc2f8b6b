# Each target sets up what it needs, and skips what is done. `make help` lists them.
#   make run CONFIG=examples/omop.yaml DATA=<folder> BRAND=<name>

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?=
DATA ?=
BRAND ?=
PORT ?= 3000
STAGE ?=

ifneq (,$(wildcard .env))
include .env
export
endif

# One state folder holds one source's world: each configuration gets its own.
CHOSEN := $(or $(CONFIG),$(E2I_CONFIG))
STATE := $(if $(E2I_STATE_DIR),$(E2I_STATE_DIR),.e2i$(if $(CHOSEN),-$(basename $(notdir $(CHOSEN)))))
# A DAGSTER_HOME of the user's own is theirs: nothing is written into it.
HOME_FILE := $(if $(DAGSTER_HOME),,$(abspath $(STATE))/dagster/dagster.yaml)
export E2I_STATE_DIR := $(abspath $(STATE))
export DAGSTER_HOME ?= $(E2I_STATE_DIR)/dagster
ifneq (,$(CONFIG))
export E2I_CONFIG := $(abspath $(CONFIG))
endif
ifneq (,$(DATA))
# a URL (s3://...) is no path
export E2I_DATA := $(if $(findstring ://,$(DATA)),$(DATA),$(abspath $(DATA)))
endif
# nothing of ours or of our tools phones home
export DAGSTER_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1

.DEFAULT_GOAL := help
.PHONY: help run test test-all bench dev serve mlflow summary lint format check lock setup services clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.product $(if $(STAGE),$(VENV)/.$(STAGE)) $(HOME_FILE)  ## the whole graph for one brand, then where to look (CONFIG=, DATA=, BRAND=, STAGE=causal)
	@$(BIN)/e2i run $(if $(BRAND),--brand $(BRAND)) $(if $(STAGE),--stage $(STAGE))

test: $(VENV)/.development  ## the tests, a worker per core
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-all: $(VENV)/.development  ## the tests, slow and exhaustive variants too
	$(BIN)/python -m pytest -m "slow or not slow"

bench: $(VENV)/.development  ## hold the product against its bars (BAR=<one of them>, QUICK=1 for small sizes)
	@$(BIN)/python -m benchmarks $(if $(BAR),--bar $(BAR)) $(if $(QUICK),--quick)

dev: $(VENV)/.product $(HOME_FILE)  ## the Dagster UI with the code location and the daemon (PORT=)
	@$(BIN)/e2i dev --port $(PORT)

serve: $(VENV)/.product  ## start the deployed model of a brand (BRAND=, PORT=)
	@$(BIN)/e2i serve --port $(PORT) $(if $(BRAND),--brand $(BRAND))

mlflow: $(VENV)/.product  ## MLflow's UI on the state folder
	@echo "MLflow answers on http://127.0.0.1:5000 as soon as it is up. Stop it with Ctrl-C."
	@LITELLM_LOCAL_MODEL_COST_MAP=True $(BIN)/mlflow ui --workers 1 --host 127.0.0.1 --port 5000 \
		--backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///$(E2I_STATE_DIR)/mlflow/mlflow.db}"

summary: $(VENV)/.product  ## where the last run's results are (BRAND=)
	@$(BIN)/e2i summary $(if $(BRAND),--brand $(BRAND))

lint: $(VENV)/.development  ## linters, import rules, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

format: $(VENV)/.development  ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.uv  ## resolve the requirements anew
	$(BIN)/uv pip compile --quiet pyproject.toml --universal --all-extras --generate-hashes --python-version 3.11 \
		--no-annotate --no-emit-index-url --custom-compile-command "make lock" --output-file requirements.lock

setup: $(VENV)/.development  ## create the environment only

services:  ## install the servers that tests start (PostgreSQL, Redis), where they are not there
	@.ci/install-services

clean:  ## remove the environment and this configuration's state folder
	rm -rf $(VENV) "$(E2I_STATE_DIR)"

$(abspath $(STATE))/dagster/dagster.yaml: dagster.yaml
	@mkdir -p "$(@D)" && sed 's|config: {}|config: {base_dir: "$(@D)"}|' dagster.yaml > "$@.$$$$" && mv "$@.$$$$" "$@" \
		|| { echo "The state folder $(STATE) cannot be written. Set E2I_STATE_DIR to a folder that this user may write."; exit 1; }

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Python 3.11, 3.12 or 3.13 is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# uv is installed by pip from its own lines of the lock, hashes checked; uv then checks those of all the others.
$(VENV)/.uv: $(VENV)/bin/python
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@awk '/^[a-z]/{keep = /^uv==/} keep' requirements.lock > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(VENV)/uv.txt
	@touch $@

INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.lock

$(VENV)/.product: $(VENV)/.uv requirements.lock pyproject.toml
	@echo "Installing into $(VENV): one to three minutes the first time."
	@$(INSTALL) hatchling editables
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@

# the extra of a stage that is not part of the default run
$(VENV)/.causal: $(VENV)/.product
	@$(INSTALL) --no-build-isolation --editable ".[causal]"
	@touch $@

$(VENV)/.development: $(VENV)/.product
	@$(INSTALL) --no-build-isolation --editable ".[dev]"
	@touch $@
