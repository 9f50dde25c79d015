# Every target sets itself up in .venv from nothing but Python 3.11 or later and make.
# Rules: versions come from constraints.txt; a stamp is written last, so that a second call starts at once; a
# set-up that was cut short leaves .venv/unfinished behind and is begun anew.

.DEFAULT_GOAL := help
.PHONY: help run test test-bluez check lock clean
.DELETE_ON_ERROR:

PYTHON ?= python3 python3.13 python3.12 python3.11
ARGS ?=

remedy := fasciwatch needs Python 3.11 or later with venv: apt install python3-venv (or name one: make PYTHON=/path/to/python3)
sound := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
# The first sound one; Debian splits ensurepip off into python3-venv. A pyenv shim may exist and not run.
python = $(or $(firstword $(shell for p in $(PYTHON); do "$$p" -c '$(sound)' 2>/dev/null && echo "$$p"; done)),$(error $(remedy)))
pip = .venv/bin/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt
# Whether a terminal's Ctrl-C would reach us: not so without a terminal, or in the background.
foreground = .venv/bin/python -ISc 'import os, sys; sys.exit(os.tcgetpgrp(0) != os.getpgrp())' 2>/dev/null

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile

# make answers Ctrl-C with failure, however well its child ended. So where we have the terminal, the program gets
# it to itself by job control, and make never hears of it; Ctrl-Z, which nobody could take back, is off.
run: .venv/run ## an emulated wearable on a virtual radio, on a page in the browser
	@$(foreground) || exec .venv/bin/fasciwatch demo --page $(ARGS); \
	trap '' TSTP; set -m; .venv/bin/fasciwatch demo --page $(ARGS); exit $$?

# All at once, as many at a time as there are cores: most wait for a radio, a server or a browser. What is chosen runs alone.
# They start a hundred processes, which need not be compiled anew each, whatever else is asked for here.
# Many watch real seconds: what fails beside the others (exit 1; a crash is another) has to pass alone, and is told.
test: export PYTHONDONTWRITEBYTECODE =
test: pytest = .venv/bin/python -m pytest
test: .venv/dev ## the tests; ARGS='-k name' chooses, ARGS='-m long' runs the long ones
	@$(if $(ARGS),$(pytest) $(ARGS),$(pytest) --cache-clear -n auto --dist loadfile || { test $$? = 1 \
	&& echo 'Once more, alone: what failed beside the others' && $(pytest) --last-failed --last-failed-no-failures none; })

test-bluez: .venv/dev ## the collector against real BlueZ, in an emulated computer: Debian, minutes
	@tests/bluez/run

check: .venv/dev ## lint, format, types, import contracts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

lock: PYTHON = python3.11 # the oldest we support: what it can run, newer ones can
lock: ## write constraints.txt anew from the ranges in pyproject.toml
	@set -e; new=$$(mktemp -d); trap 'rm -rf "$$new"' EXIT; \
	$(python) -m venv "$$new"; pip="$$new/bin/python -m pip --quiet"; \
	$$pip install --upgrade pip; \
	$$pip install '.[brainflow,cohort,demo,keyring,lsl,xdf]' --group dev; \
	sed '/^[^#]/d' constraints.txt > "$$new/constraints"; \
	$$pip freeze --all --exclude fasciwatch --exclude setuptools >> "$$new/constraints"; \
	cp "$$new/constraints" constraints.txt
	@git diff --stat constraints.txt

clean: ## back to a fresh clone
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -prune -exec rm -rf {} +

define install
@echo 'Setting up .venv (once, a minute or two)'
@test ! -e .venv/unfinished && .venv/bin/python -c '$(sound)' 2>/dev/null || rm -rf .venv
@mkdir -p .venv && touch .venv/unfinished
@test -e .venv/bin/python || $(python) -m venv .venv
@$(pip) pip
@$(pip) --build-constraint constraints.txt $(1)
@touch $(2) && rm .venv/unfinished
endef

inputs := pyproject.toml constraints.txt .venv/bin/python

# Missing, or a link to a Python that is gone: set up anew.
.venv/bin/python: ;

.venv/run: $(inputs)
	$(call install,--editable '.[demo]',.venv/run)

.venv/dev: $(inputs) # holds all that run needs
	$(call install,--editable '.[brainflow$(,)cohort$(,)demo$(,)keyring$(,)lsl$(,)xdf]' --group dev,.venv/run .venv/dev)

, := ,
