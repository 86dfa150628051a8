PYTHON ?= python

.PHONY: setup check lint types test reports

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

reports: ## rebuild the committed reports and README's table from the committed results; a test tells when they are stale
	$(PYTHON) -m ssdd_bench report results/mini results/generation --by-tag --out reports --insert README.md
