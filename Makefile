# Each target first makes what it needs, so that every one of them works on a fresh clone.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
WORKERS ?= 2

# uv does not read the settings of pip: pass on a mirror, trust the certificates of the system, allow slow networks.
export UV_HTTP_TIMEOUT ?= 180
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/certs/ca-certificates.crt),1,0)
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

# The lock is chosen by the Python version of the environment if it exists, else of the interpreter that will make it.
version := $(shell $(firstword $(wildcard $(VENV)/bin/python) $(PYTHON)) -c 'import sys; print(sys.version_info[0] * 100 + sys.version_info[1])' 2>/dev/null)
LOCK := requirements/requirements$(if $(filter 312,$(version)),-py312).lock.txt
STAMP := $(VENV)/.installed

# Image observations are rendered by OpenGL (EGL and Mesa's driver), or by ray casting without it. The binary of Procgen
# links GL, and MiniWorld needs a display.
FONTS := fonts-noto-color-emoji
FOR_TESTS := $(FONTS) chromium libgl1 libegl1 libgl1-mesa-dri libglu1-mesa

.PHONY: help install quickstart test fast-tests test-all lint format lock clean system-quickstart system-test
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-11s %s\n", $$1, $$2}'

install: $(STAMP)  ## make .venv from the committed lock (Python 3.11 or 3.12; VENV= and PYTHON= choose others)

# The stamp is written last, so an interrupted installation is repeated by the next call.
$(STAMP): $(LOCK) setup.py Makefile
	@test "$(version)" = 311 -o "$(version)" = 312 || { echo "cannot install: $(PYTHON) is not Python 3.11 or 3.12. Run make install PYTHON=python3.12; for other versions see requirements/README.md." >&2; exit 2; }
	@echo "Installing $$(grep -c == $(LOCK)) packages of $(LOCK) into $(VENV)"
	@requirements/make_venv.sh $(PYTHON) $(VENV) "$$(grep '^uv==' $(LOCK))"
	@$(VENV)/bin/uv pip sync --quiet --python $(VENV)/bin/python $(LOCK)
	@$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

system-quickstart:
	@requirements/system_packages.sh $(FONTS)

system-test:
	@requirements/system_packages.sh $(FOR_TESTS)

quickstart: install system-quickstart  ## record episodes, train and score an agent (ARGS="--config.steps=100" changes the config)
	$(VENV)/bin/python -m experiments.quickstart --config=configs/quickstart.py --workdir=runs/quickstart $(ARGS)

# Pyright and import-linter use one core, and pytest has time to begin meanwhile.
test: install system-test  ## lint, and run all tests that are not slow (ARGS= is passed to pytest)
	@$(MAKE) --no-print-directory --jobs=2 --keep-going lint fast-tests

fast-tests: install
	$(VENV)/bin/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-all: lint system-test  ## lint, and run all tests, on programs that are compiled with all optimizations
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: install  ## check style, types and the order of imports between packages (ruff, pyright, import-linter)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python
	$(VENV)/bin/lint-imports

format: install  ## format the code and apply the safe fixes of ruff
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

# Versions in the locks are kept where they still fit; ARGS=--upgrade takes the newest. The platform is that of libtpu.
COMPILE = $(VENV)/bin/uv pip compile --quiet --no-annotate --custom-compile-command "make lock" \
	--python-platform x86_64-manylinux_2_31 --override requirements/overrides.txt requirements/requirements.in $(ARGS)

lock:  ## compile both locks from requirements/requirements.in
	@requirements/make_venv.sh $(PYTHON) $(VENV) "$$(grep '^uv==' $(LOCK))"
	$(COMPILE) --python-version 3.11 --output-file requirements/requirements.lock.txt
	$(COMPILE) --python-version 3.12 --output-file requirements/requirements-py312.lock.txt

clean:  ## remove the environment and the caches of tools, but not runs/ and data/
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './runs/*' -not -path './data/*' -prune -exec rm -rf {} +
