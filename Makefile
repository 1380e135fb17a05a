# The front door. Each target installs what it needs; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# Two workers, each a file at a time, in the order of names.
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder
UV := $(shell command -v uv || echo .tools/bin/uv)
RUN := $(UV) run --no-sync

# --inexact: extras that were added by hand stay.
.venv/.synced: pyproject.toml uv.lock .python-version | $(UV)
	$(UV) sync --frozen --inexact
	@touch $@

# Flink is 350 MB, Faust 30, LightGBM 10: for the tests, not for whoever only wants to see it run.
.venv/.engines: .venv/.synced
	$(UV) sync --frozen --inexact --extra flink --extra faust --extra boost
	@touch $@

.venv/.torch: .venv/.synced
	@echo "torch, for the neural network: 2.7 GB to fetch on Linux, 4 GB on disk"
	$(UV) sync --frozen --inexact --extra torch
	@touch $@

# Reached only where uv is not installed.
.tools/bin/uv:
	python3 -m venv .tools && .tools/bin/pip install --quiet uv \
		|| python3 -m pip install --quiet --target .tools uv

.PHONY: demo test torch check format prove bench up down clean help

demo: .venv/.synced ## Score and learn on simulated transactions, in one process, no services
	$(RUN) headrace demo

test: .venv/.engines ## Run the tests and the doctests (PYTEST_ARGS="-k windows -n 2")
	$(RUN) pytest $(PYTEST_ARGS)

torch: .venv/.torch ## Install torch: without it, tests of learning by the network are skipped

check: .venv/.synced ## Lint, formatting and types
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy

format: .venv/.synced ## Rewrite the files as `make check` wants them
	$(RUN) ruff check --fix
	$(RUN) ruff format

prove: .venv/.engines ## Show the promised invariants on a long run
	$(RUN) python -m benchmarks.prove

bench: .venv/.engines .venv/.torch ## Measure, with the rivals in the same table
	$(RUN) python -m benchmarks.run

up: .venv/.synced ## Start Kafka and Redis on this machine, without Docker (docs/stack.md)
	$(RUN) headrace up

down: .venv/.synced ## Stop them
	$(RUN) headrace down

clean: ## Remove the environment, the caches and what runs left behind
	if [ -x .venv/bin/headrace ]; then .venv/bin/headrace down; fi
	rm -rf .venv .tools .hypothesis .mypy_cache .pytest_cache .ruff_cache .headrace build dist out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## This list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  make \1\t/' | expand -t 16
