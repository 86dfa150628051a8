PYTHON ?= python

.PHONY: setup check lint types test

setup: ## install the package with everything that development needs
	$(PYTHON) -m pip install -e ".[dev]"

check: lint types test ## what CI runs

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest
