# The commands of the house. `make demo` and `make test` set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.ready-run
DEV_STAMP := $(VENV)/.ready-dev
BENCH_STAMP := $(VENV)/.ready-bench
SETUP_INPUTS := pyproject.toml constraints.txt tools/setup.py
PYTEST_ARGS ?= -n 2 --dist loadfile

# One thread a numeric task, as the workers do: two test processes on two cores stay two.
export OMP_NUM_THREADS ?= 1

.NOTPARALLEL: # the summary of the tests stays the last line, with -j too
.PHONY: help demo test lint types docs unit bench soak redteam clean

help: ## list these commands
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile

demo: $(RUN_STAMP) ## set up, then real circuits on five nodes, with a liar and a crash; each answer is checked
	@$(BIN)/qcommons demo
	@echo "Now your own circuits: source $(BIN)/activate, then qcommons run examples/bell.qasm"

test: lint types docs unit ## set up, then every check: style, types, floors, documentation, tests

lint: $(DEV_STAMP) ## style, formatting and the floors of the house
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/lint-imports --no-logo --no-cache

types: $(DEV_STAMP) ## static types, strict
	$(BIN)/mypy

docs: $(DEV_STAMP) ## build the documentation into site/, a warning is an error
	$(BIN)/mkdocs build --strict --quiet

unit: $(DEV_STAMP) ## the tests alone; PYTEST_ARGS="-k bell" to choose
	$(BIN)/python -m pytest $(PYTEST_ARGS)

bench: $(BENCH_STAMP) ## measure every claim beside its reference (about an hour; an idle machine)
	$(BIN)/python -m bench; claims=$$?; $(BIN)/python -m bench.choice && exit $$claims

soak: $(RUN_STAMP) ## 100,000 small worlds of nodes under faults (hours; SEEDS=1000 for fewer; goes on where it was)
	$(BIN)/python -m qcommons.world.soak --seeds $(or $(SEEDS),100000) --state .soak

redteam: $(RUN_STAMP) ## each liar of the zoo against each check: how often caught; writes what quotes state (minutes)
	$(BIN)/python -m qcommons.world.redteam --write src/qcommons/verify/detection.json

clean: ## remove the environment and everything built
	rm -rf $(VENV) site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN_STAMP): $(SETUP_INPUTS)
	@$(PYTHON) tools/setup.py run

$(DEV_STAMP): $(SETUP_INPUTS)
	@$(PYTHON) tools/setup.py dev

$(BENCH_STAMP): $(SETUP_INPUTS)
	@$(PYTHON) tools/setup.py bench
