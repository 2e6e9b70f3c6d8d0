# `make demo` and `make test` are all the set-up there is; both make the virtual environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_DB := demo/tagger.db
SECONDS ?= 600
IMAGES ?= 1000000
FILES ?= 100000
# Twice as many as there are processors, since many tests wait for servers.
PROCESSES ?= $(shell $(PYTHON) -c 'import os; print(min(4, 2 * (os.cpu_count() or 1)))')

SAY = echo "Installing into $(VENV); PyTorch is large, this takes a few minutes the first time."

# The CUDA builds of PyTorch take 5 GB; `make demo TORCH=cpu` installs the small ones instead.
ifeq ($(TORCH),cpu)
INSTALL = $(SAY) && $(BIN)/python -m pip install -q uv && $(BIN)/uv pip install -q --python $(BIN)/python --torch-backend cpu
else
INSTALL = $(SAY) && $(BIN)/python -m pip install -q
endif

# Modules are compiled once, as `pip install` has it, whatever the environment says: the tests start hundreds of
# processes, and a tenth of what a command takes would go there.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format bench bench-database bench-scan bench-training bench-wants bench-web bench-worker bench-accuracy bench-calibration bench-cuda ranges snapshot fuzz taxonomy clean

help: ## Show what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Tagger needs Python 3.11 or newer; this is `$(PYTHON) --version`. Try: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	@$(INSTALL) -e .
	@touch $@

# All at once: in two steps, everything would be resolved twice.
$(VENV)/installed-tests: pyproject.toml | $(BIN)/python
	@$(INSTALL) -e '.[test]'
	@touch $(VENV)/installed $@

$(VENV)/installed-bench: pyproject.toml | $(BIN)/python
	@$(INSTALL) -e '.[test,bench]'
	@touch $(VENV)/installed $(VENV)/installed-tests $@

install: $(VENV)/installed ## Install Tagger into .venv

demo: $(VENV)/installed ## Tag the example photos into demo/tagger.db and show the tags
	@$(BIN)/tagger tag examples/photos --db $(DEMO_DB) --show
	@printf '\nTry next:\n'
	@printf '  %s\n' \
		'$(BIN)/tagger search dog --db $(DEMO_DB)' \
		'$(BIN)/tagger search automobile --db $(DEMO_DB)' \
		'$(BIN)/tagger show ocelot.jpg --db $(DEMO_DB)' \
		'$(BIN)/tagger tags --db $(DEMO_DB)' \
		'$(BIN)/tagger serve --db $(DEMO_DB)       # the same in the browser, at http://127.0.0.1:8484' \
		'$(BIN)/tagger tag ~/Pictures             # your own photos, into a database of your own'

test: $(VENV)/installed-tests ## Run all tests (real SQLite and PostgreSQL, no Docker needed)
	@$(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal

lint: $(VENV)/installed-tests ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/installed-tests ## Put the code into its one format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/installed-bench ## Measure beside the hardware's limit and timm, half an hour (ARGS="--only small")
	@$(BIN)/python -m tests.benchmarks.bench $(ARGS)

bench-scan: $(VENV)/installed-tests ## A second look at unchanged files, beside find (FILES=100000)
	@$(BIN)/python -m tests.benchmarks.scan --files $(FILES)

bench-wants: $(VENV)/installed-tests ## Want a million images: enqueuing, passes, writing, bytes (IMAGES=1000000)
	@$(BIN)/python -m tests.benchmarks.wants --images $(IMAGES)

bench-database: $(VENV)/installed-tests ## Search and write on made rows, on both databases (IMAGES=1000000)
	@$(BIN)/python -m tests.benchmarks.database --images $(IMAGES)

bench-web: $(VENV)/installed-tests ## Pages and API over HTTP on made rows, nothing in memory (IMAGES=100000)
	@$(BIN)/python -m tests.benchmarks.web --images $(if $(filter file,$(origin IMAGES)),100000,$(IMAGES))

bench-accuracy: $(VENV)/installed-tests ## Does the fast way cost accuracy (PHOTOS=folder, of folders named by WordNet ids)
	@$(BIN)/python -m tests.benchmarks.accuracy $(PHOTOS) $(ARGS)

bench-calibration: $(VENV)/installed-tests ## How far confidences are off, and temperatures (PHOTOS=folder, as above)
	@$(BIN)/python -m tests.benchmarks.calibration $(PHOTOS) $(ARGS)

bench-training: $(VENV)/installed-bench ## What `tagger train` learns (DATA=folder with caltech-sample, cifar10-sample)
	@$(BIN)/python -m tests.benchmarks.training $(DATA) $(ARGS)

snapshot: $(VENV)/installed ## Write anew what the migrations come to, for new SQLite files
	@$(BIN)/python -c 'from tagger.store import migrate; print(migrate.snapshot(), end="")' > migrations/sqlite.sql

ranges: $(VENV)/installed-tests ## What models need to be computed in int8, for the catalogue (PHOTOS=folder)
	@$(BIN)/python -m tests.benchmarks.ranges $(PHOTOS) $(ARGS)

bench-worker: $(VENV)/installed-tests ## Does a worker grow over 50,000 photos
	@$(BIN)/python -m tests.benchmarks.worker

bench-cuda: $(VENV)/installed-tests ## On a GPU: decoding, forward passes, the whole, what holds it back
	@$(BIN)/python -m tests.benchmarks.cuda $(if $(filter cpu,$(DEVICE)),--device cpu --images 64)

fuzz: $(VENV)/installed-tests ## Feed broken and hostile bytes to the loader (SECONDS=600)
	@$(BIN)/python -m tests.fuzz.fuzz --seconds $(SECONDS)

taxonomy: $(VENV)/installed ## Derive the tags anew from WordNet (Debian: apt-get install wordnet-base)
	@$(BIN)/python -m tagger.data.derive

clean: ## Remove what was made here
	rm -rf $(VENV) demo bench build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
