# Two targets matter: `make demo` and `make test`. Both set up everything they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ENGINES ?= vllm
DEMO_ARGS ?=
TEST_ARGS ?=
GPU_PYTHON ?= python3
GPU_ARGS ?=
BENCH_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test unit lint types contracts check lock sample screenshots endurance bench gpu-check clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.installed ## Install logdrift and its development tools into .venv

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "logdrift needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -r requirements/dev.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## Capture the small model with real engines and open the explorer (ENGINES="vllm sglang")
	@$(BIN)/logdrift demo --engines "$(ENGINES)" $(DEMO_ARGS)

test: setup ## Run every test, real engines included
	@$(BIN)/logdrift env create transformers vllm sglang
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

unit: setup ## Run the tests that start no engine
	@$(BIN)/python -m pytest -m "not engine" $(TEST_ARGS)

endurance: setup ## Break everything on purpose, in full (hours)
	@$(BIN)/python -m endurance all

bench: setup ## Measure every ratio beside its peer, in one table (alone on the machine)
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

gpu-check: ## Try on a GPU what no CPU can show, in 8 minutes (GPU_PYTHON: has torch)
	@$(GPU_PYTHON) -m benchmarks.gpu_check $(GPU_ARGS)

lint: setup ## Check style and formatting
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup ## Check types, strictly
	@$(BIN)/mypy

contracts: setup ## Check which part may import which
	@$(BIN)/lint-imports

check: lint types contracts ## Lint, types and import contracts

lock: setup ## Lock today's versions of the development set
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header \
		--no-emit-find-links pyproject.toml --group dev -o requirements/dev.txt

sample: setup ## Capture the shipped sample sessions again, with real engines
	@$(BIN)/python sessions/make_sample.py && $(BIN)/python sessions/make_temperature.py

screenshots: setup ## Draw the pictures of the documentation again
	@$(BIN)/python docs/make_screenshots.py

clean: ## Remove .venv and caches of the tools (engine environments stay in the cache folder)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
