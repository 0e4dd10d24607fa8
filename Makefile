# Two commands do everything on a fresh machine with Python 3.11+, git and make:
#   make quickstart   sets up, trains a small grid on embedded data, writes a report
#   make test         sets up, runs the tests
# `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
READY := $(VENV)/.ready
QUICKSTART_RESULTS ?= results/quickstart
TEST_WORKERS ?= 3

.PHONY: help setup quickstart test test-all check format bench lock image image-cuda clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup: $(READY) ## make the virtual environment with the locked dependencies

$(UV):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(READY): $(UV) pyproject.toml requirements.lock
	VIRTUAL_ENV=$(abspath $(VENV)) $(UV) pip install --quiet --compile-bytecode --require-hashes -r requirements.lock
	VIRTUAL_ENV=$(abspath $(VENV)) $(UV) pip install --quiet --no-deps --editable .
	$(BIN)/python -m compileall -q sweep models data trials analysis
	@touch $@

quickstart: $(READY) ## train the quickstart study on embedded data and write its report
	$(BIN)/sweep run quickstart --results $(QUICKSTART_RESULTS)
	$(BIN)/sweep report quickstart --results $(QUICKSTART_RESULTS)

test: $(READY) ## the tests that every change must pass (minutes)
	$(BIN)/python -m pytest -m "not slow" -n $(TEST_WORKERS) --dist loadfile $(PYTEST_ARGS)

test-all: $(READY) ## every test, the slow ones too
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(READY) ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## rewrite the code in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## benchmarks; writes tables under tests/benchmarks
	$(BIN)/python -m tests.benchmarks

lock: $(UV) ## resolve the dependencies again
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --group dev pyproject.toml -o requirements.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --extra s3 --constraints requirements.lock \
		pyproject.toml -o docker/requirements.lock
	echo "hatchling>=1.25" | $(UV) pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header - -o docker/build.lock

image: ## build the image for nodes without a GPU (Docker)
	docker build --file docker/Dockerfile --target cpu --tag distillation-sweep:cpu .

image-cuda: ## build the image for nodes with GPUs
	docker build --file docker/Dockerfile --target cuda --tag distillation-sweep:cuda .

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
