PYTHON ?= python
# One thread for each process of the tests: more would wait for each other.
PYTEST = OMP_NUM_THREADS=1 $(PYTHON) -m pytest
WORKERS ?= 2
# What `make test-fast` runs, and how one file of tests is run: make test-fast TESTS=tests/gate/test_paired.py WORKERS=0
TESTS ?= tests
NOT_SLOW = not slow and not full_size and not timing and not nightly
# All tests on a GPU; "gpu and not slow" leaves out what compiles for a minute.
GPU_TESTS ?= gpu

.PHONY: setup check docs lint types test test-fast nightly hostile fuzz mutate lowest test-lowest test-package timing bench gpu gpu-report gpu-rates gpu-session reports schema operations

setup: ## install the package with everything that development needs
	$(PYTHON) -m pip install -e ".[dev]"

check: lint types test ## what CI runs

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:
	$(PYTHON) -m mypy

test:
	$(PYTEST) --numprocesses $(WORKERS) --dist worksteal

# Plugins that take a second to import, and that no test needs: hypothesis itself is imported by its tests.
LIGHT = -p no:hypothesispytest -p no:anyio

test-fast: ## while you work: the tests that are neither slow nor medium; their bytecode is kept for the next time
	PYTHONDONTWRITEBYTECODE= $(PYTEST) --numprocesses $(WORKERS) --dist worksteal $(LIGHT) -m "not medium and $(NOT_SLOW)" $(TESTS)

# Needs `pip install mutmut`.
mutate: ## plant single faults in what makes numbers, and count those that the tests see, without the slow ones
	OMP_NUM_THREADS=1 $(PYTHON) -m mutmut run --max-children $(WORKERS)
	$(PYTHON) -m mutmut export-cicd-stats
	cat mutants/mutmut-cicd-stats.json

lowest: ## rewrite constraints/lowest.txt after a change of pyproject.toml
	$(PYTHON) .ci/lowest.py

test-lowest: ## the tests that are not slow, where old versions of dependencies are installed; these may warn
	$(PYTEST) -W default -m "$(NOT_SLOW)"

test-package: ## install PACKAGE, a wheel or a source distribution, into a new environment and run it elsewhere
	.ci/try-package $(PACKAGE)

timing: ## what compares a time with a limit; nothing else may run beside it
	$(PYTEST) -m timing --ignore=tests/benchmarks

bench: ## compare decoders and scoring by turns, and write docs/reference/performance.md; nothing else may run beside it
	$(PYTHON) -m pytest tests/benchmarks -m timing --benchmark-enable --benchmark-only --benchmark-json=.bench.json
	$(PYTHON) tests/benchmarks/page.py .bench.json docs/reference

nightly: ## the tests that take a minute or more, or do at length what another does briefly
	$(PYTEST) --numprocesses $(WORKERS) --dist worksteal -m nightly

KILLS = tests/evaluation/test_run.py::test_kills_at_random_moments_change_no_bit
hostile: ## twenty times the hostile inputs of `make test`, at random, and five times the kills; nightly
	SSDD_BENCH_HOSTILE=20 $(PYTEST) tests/hostile $(KILLS) --numprocesses $(WORKERS)

# Needs `pip install atheris`; READER: image, tar, parquet, npz, result, manifest or weights.
READER ?= tar
SECONDS ?= 60
fuzz: ## fuzz a reader, guided by coverage: make fuzz READER=npz SECONDS=600
	PYTHONPATH=tests/support $(PYTHON) tests/hostile/fuzz.py $(READER) $(SECONDS) .fuzz

gpu: ## the tests that need a GPU, minutes of one; SSDD_BENCH_GPU_TESTS_ON_CPU=1 tries them on a CPU, with small networks
	$(PYTHON) -m pytest -o addopts="--import-mode=importlib -ra" -W default -m "$(GPU_TESTS)" tests/gpu

gpu-report: ## decoding speed of every size on one GPU, in less than six minutes: runs/gpu-report.json and .md
	$(PYTHON) tests/gpu/report.py --out runs/gpu-report

gpu-session: ## what one GPU is asked beside the report, the most wanted first, in MINUTES: runs/gpu-session
	PYTHON=$(PYTHON) tests/gpu/session.sh $(MINUTES)

MINUTES ?= 8
# Of training: make gpu-rates PHOTOS=folder
PHOTOS ?= sample
gpu-rates: ## kernels of attention by size of grid, and the training of a recipe in crops a second, on one GPU
	$(PYTHON) tests/gpu/rates.py attention --out runs/gpu-attention.json
	$(PYTHON) tests/gpu/rates.py training --data $(PHOTOS) --out runs/gpu-training.json

reports: ## rebuild the committed reports and README's table from the committed results; a test tells when they are stale
	$(PYTHON) -m ssdd_bench report results/mini results/generation --by-tag --link-samples --out reports --insert README.md

operations: ## count the operations of all recipes anew, for train --plan; takes minutes
	$(PYTHON) -c "from ssdd_bench.train.operations import write_known; write_known()"

schema: ## write ssdd_bench/results/result.schema.json anew; a test tells when it is stale
	$(PYTHON) -c "from ssdd_bench.results.json_schema import write_schema; write_schema()"

docs: ## build the site into build/site; `python -m mkdocs serve` shows it while you write
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict
