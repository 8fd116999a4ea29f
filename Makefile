# The commands of this project. Works from any folder: `make -C path`, `make -f path/Makefile`.
ROOT := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
BIN := .venv/bin
RUN := cd '$(ROOT)' &&
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
# Tests on all cores, up to four; those that share a stack stay together (tests/conftest.py). ARGS=-n0 turns it off.
PARALLEL := -n logical --maxprocesses 4 --dist loadscope --no-loadscope-reorder
MAKEFLAGS += --no-print-directory

.PHONY: help setup venv demo up down test unit compat chaos lint types layers bench audit lock

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' '$(ROOT)/Makefile'

setup: ## .venv with the locked packages, and the Debian packages of the embedded stack
	@$(RUN) scripts/setup --stack

venv:
	@$(RUN) scripts/setup

demo: setup ## the whole story on real servers, live (ARGS=--keep leaves it running)
	@$(RUN) $(BIN)/softman demo $(ARGS)

up: setup ## start the embedded stack with workers
	@$(RUN) $(BIN)/softman up $(ARGS)

down: venv ## stop it
	@$(RUN) $(BIN)/softman down $(ARGS)

test: setup lint types layers ## everything: lint, types, layers and all tests, on the real servers
	@$(RUN) SOFTMAN_REQUIRE_STACK=1 $(BIN)/pytest $(PARALLEL) $(ARGS)

unit: venv ## the quick unit tests, which need no servers (under a minute; make test runs all)
	@$(RUN) $(BIN)/pytest $(PARALLEL) -m 'not stack and not compat and not slow' tests/unit $(ARGS)

compat: setup ## tests against the official CernVM-FS tools on the PATH
	@$(RUN) SOFTMAN_REQUIRE_STACK=1 $(BIN)/pytest -m compat tests/compat $(ARGS)

chaos: setup ## every kind of fault under load, for minutes (SOFTMAN_CHAOS_SEED repeats the choice)
	@$(RUN) export SOFTMAN_CHAOS_SEED=$${SOFTMAN_CHAOS_SEED:-$$RANDOM}; \
	  SOFTMAN_REQUIRE_STACK=1 $(BIN)/pytest tests/chaos -s -k whole $(ARGS)

lint: venv ## ruff: rules and format
	@$(RUN) $(BIN)/ruff check && $(BIN)/ruff format --check

types: venv ## mypy --strict
	@$(RUN) $(BIN)/mypy

layers: venv ## who may import whom
	@$(RUN) $(BIN)/lint-imports --no-logo

bench: setup ## timings, one JSON object a line: name, value, unit, and peer and ratio where there is one
	@$(RUN) found=no; for script in bench/*.py; do \
	  [[ -e $$script ]] || continue; found=yes; $(BIN)/python "$$script"; \
	done; [[ $$found == yes ]] || { echo 'no benchmarks in bench/' >&2; exit 1; }

audit: venv ## known vulnerabilities of what softman runs on (asks PyPI; what it could not look up fails, too)
	@$(RUN) $(BIN)/uv tool run pip-audit --strict --disable-pip --require-hashes -r requirements/run.txt $(ARGS)

lock: venv ## pin the dependencies of pyproject.toml anew (UPGRADE=1 takes newer versions)
	@$(RUN) for part in run dev; do \
	  group=; [[ $$part == run ]] || group='--group dev'; \
	  $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
	    $(if $(UPGRADE),--upgrade) $$group pyproject.toml -o requirements/$$part.txt; \
	done
	@$(RUN) $(BIN)/pytest -q tests/unit/test_requirements.py
