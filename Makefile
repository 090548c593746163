# Every target sets up what it needs, once: .venv, from constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs clean

help: ## show this
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 10

demo: .venv/.core ## make a synthetic brain block, find its nuclei, compare with the truth (two minutes)
	rm -rf demo
	$(BIN)/chunkflow demo nuclei demo

test: .venv/.all ## run all tests, two at a time
	$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

check: .venv/.all ## format, lint, types, direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.all ## figures beside those of the peers, in one run
	$(BIN)/python -m benchmarks

docs: .venv/.all ## write docs/tasks/ from the tasks' own declarations
	$(BIN)/python -m cli.docs_pages

clean: ## delete the environment and what the demo made
	rm -rf .venv demo light-sheet

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("chunkflow needs Python 3.11, 3.12 or 3.13; set PYTHON=") if not (3, 11) <= sys.version_info[:2] <= (3, 13) else None'
	$(PYTHON) -m venv .venv

.venv/.core: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e .
	touch $@

.venv/.all: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[active,cnn,correct,dev,formats,gcp,microscopes,onnx,service]'
	touch $@ .venv/.core
