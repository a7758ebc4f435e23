# make install, quickstart, test, lint: each does what it needs first, so any of them works on a fresh clone.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
WORKERS ?= 2

# The lock brings libtpu, and JAX would go looking for a TPU: say cpu, unless the caller says otherwise.
export JAX_PLATFORMS ?= cpu
# uv does not read pip's settings: hand on a mirror, trust what the system trusts, and be patient with slow networks.
export UV_HTTP_TIMEOUT ?= 180
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/certs/ca-certificates.crt),1,0)
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

# An environment that exists decides which lock fits, else the interpreter that would make it.
version := $(shell $(firstword $(wildcard $(VENV)/bin/python) $(PYTHON)) -c 'import sys; print(sys.version_info[0] * 100 + sys.version_info[1])' 2>/dev/null)
LOCK := requirements/requirements$(if $(filter 312,$(version)),-py312).lock.txt
STAMP := $(VENV)/.installed

# Our pixels are by ray casting, without GL; only Procgen's binary links it (MiniWorld, too, asks for a display).
FONTS := fonts-noto-color-emoji
FOR_TESTS := $(FONTS) chromium libgl1

.PHONY: help install quickstart test test-all lint format lock clean system-quickstart system-test
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-11s %s\n", $$1, $$2}'

install: $(STAMP)  ## makes .venv from the committed lock (VENV=, PYTHON= to choose; Python 3.11 or 3.12)

# Safe to break off and start again at any line; the stamp comes last.
$(STAMP): $(LOCK) setup.py Makefile
	@test "$(version)" = 311 -o "$(version)" = 312 || { echo "the locks are for Python 3.11 and 3.12, and $(PYTHON) is neither: make install PYTHON=python3.12 (other versions: requirements/README.md)" >&2; exit 2; }
	@echo "Installing $$(grep -c == $(LOCK)) packages of $(LOCK) into $(VENV)"
	@requirements/make_venv.sh $(PYTHON) $(VENV) "$$(grep '^uv==' $(LOCK))"
	@$(VENV)/bin/uv pip sync --quiet --python $(VENV)/bin/python $(LOCK)
	@$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

system-quickstart:
	@requirements/system_packages.sh $(FONTS)

system-test:
	@requirements/system_packages.sh $(FOR_TESTS)

quickstart: install system-quickstart  ## from real episodes to a scored agent (ARGS="--config.steps=100" to change it)
	$(VENV)/bin/python -m experiments.quickstart --config=configs/quickstart.py --workdir=runs/quickstart $(ARGS)

test: lint system-test  ## lint, and every test that is not slow (ARGS= goes to pytest)
	$(VENV)/bin/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile $(ARGS)

test-all: lint system-test  ## lint, and every test
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: install  ## ruff, pyright, and which folder may import which
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python
	$(VENV)/bin/lint-imports

format: install  ## ruff's formatter, and the fixes that are safe
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

# Keeps what the locks hold where it still fits; ARGS=--upgrade takes the newest. The platform is that of libtpu.
COMPILE = $(VENV)/bin/uv pip compile --quiet --no-annotate --custom-compile-command "make lock" \
	--python-platform x86_64-manylinux_2_31 --override requirements/overrides.txt requirements/requirements.in $(ARGS)

lock:  ## compiles both locks from requirements/requirements.in
	@requirements/make_venv.sh $(PYTHON) $(VENV) "$$(grep '^uv==' $(LOCK))"
	$(COMPILE) --python-version 3.11 --output-file requirements/requirements.lock.txt
	$(COMPILE) --python-version 3.12 --output-file requirements/requirements-py312.lock.txt

clean:  ## removes the environment and the tools' caches; runs/ and data/ stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './runs/*' -not -path './data/*' -prune -exec rm -rf {} +
