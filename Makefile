# Everything below sets itself up: only Python 3.11 or later, make and a package index are needed.
# The first Python that is new enough, whatever it is called here.
PYTHON ?= $(shell for each in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done || echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.edgenode-set-up

.PHONY: setup demo test check clean
setup: $(STAMP)

# pip before 25.1 does not know --group, which installs the development tools.
$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "edgenode needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Name another with: make setup PYTHON=python3.11")'
	@echo "Setting up $(VENV): this takes a minute or two, the first time only."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[engine,coordinator,ocr]" --group dev
	touch $@

demo: setup
	@$(BIN)/python scripts/demo.py

# Most tests wait for processes and connections, so more of them than there are cores run side by side.
test: setup
	$(BIN)/python -m pytest -n 4 --dist loadfile

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint proto
	$(BIN)/buf format --diff --exit-code proto

clean:
	rm -rf $(VENV) .venv-protos .demo .cache
